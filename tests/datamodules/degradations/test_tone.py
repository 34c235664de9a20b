import numpy as np
import pytest

from datamodules.degradations.tone import brighten, cast, contrast, fade, vignette, whiten

F255 = np.float32(255)
ENDS = np.array([0, 255])


def ramp() -> np.ndarray:
    """All values there are, in all channels."""
    return np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 16, 3))


CURVES = {
    "brighten": lambda image: brighten(image, 0.3),
    "darken": lambda image: brighten(image, -0.3),
    "contrast": lambda image: contrast(image, 0.5),
    "flatten": lambda image: contrast(image, -0.5),
    "fade": lambda image: fade(image, 0.1),
    "cast": lambda image: cast(image, (0.1, 0, -0.1), (-0.1, 0, 0.1)),
}


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_keeps_the_order_of_values_and_8_bits_are_the_rounded_floats(name):
    floats = CURVES[name](ramp() / F255)
    assert floats.dtype == np.float32
    assert (np.diff(floats[:, 0], axis=0) >= 0).all()
    assert np.array_equal(CURVES[name](ramp()), np.rint(255 * floats))


@pytest.mark.parametrize("amount", [-0.4, 0.25, 1.0])
def test_brightening_is_its_curve_and_is_undone_by_the_inverse_one(amount):
    x = ramp() / F255
    assert brighten(x, amount) == pytest.approx(x * (1 + amount) / (1 + amount * x), abs=1e-6)
    undone = brighten(brighten(x, amount), 1 / (1 + amount) - 1)
    assert undone == pytest.approx(x, abs=1e-6)
    assert np.array_equal(brighten(ramp(), amount)[ENDS], ramp()[ENDS])


def test_whitening_raises_brightness_under_the_mask_and_nowhere_else():
    image = np.random.default_rng(0).integers(1, 255, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:24] = 1
    white = whiten(image, mask, 0.3)
    inside = mask > 0
    assert np.array_equal(white[~inside], image[~inside])
    assert np.array_equal(white[inside], brighten(image, 0.3)[inside])
    raised = white.astype(float).sum(2) - image.sum(2, dtype=float)
    assert (raised[inside] > 0).mean() > 0.99
    half = whiten(image / F255, mask / 2, 0.3) - image / F255
    assert half == pytest.approx((whiten(image / F255, mask, 0.3) - image / F255) / 2, abs=1e-6)


def test_contrast_leaves_black_grey_and_white_and_parts_or_joins_the_rest():
    x = np.repeat(np.array([0, 0.25, 0.5, 0.75, 1], np.float32), 6).reshape(5, 2, 3)
    more, less = contrast(x, 1)[:, 0, 0], contrast(x, -1)[:, 0, 0]
    assert more == pytest.approx([0, 0.15625, 0.5, 0.84375, 1])
    assert less == pytest.approx([0, 0.34375, 0.5, 0.65625, 1])
    assert np.array_equal(contrast(x, 0), x)


def test_fading_lifts_black_and_keeps_white():
    faded = fade(ramp() / F255, 0.2)[:, 0, 0]
    assert (faded[0], faded[-1]) == pytest.approx((0.2, 1))
    assert np.diff(faded) == pytest.approx(0.8 / 255, abs=1e-6)


def test_a_cast_colours_shadows_and_lights_apart():
    found = cast(ramp() / F255, (0.1, 0, 0), (0, 0, -0.2))
    assert found[0, 0] == pytest.approx([0.1, 0, 0], abs=1e-6)
    assert found[-1, 0] == pytest.approx([1, 1, 0.8], abs=1e-6)
    x = 51 / 255
    assert found[51, 0] == pytest.approx([x + 0.1 * (1 - x) ** 2, x, x - 0.2 * x**2], abs=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (33, 80), (1, 1)])
def test_a_vignette_darkens_the_corners_alike_and_leaves_the_middle(shape):
    white = np.ones((*shape, 3), np.float32)
    dark = vignette(white, 0.4)
    assert np.array_equal(dark, dark[::-1])
    assert np.array_equal(dark, dark[:, ::-1])
    height, width = shape
    assert dark[height // 2, width // 2].min() > 0.999
    y, x = (1 - height) / height, (1 - width) / width
    assert dark[0, 0] == pytest.approx(1 - 0.4 * ((y * y + x * x) / 2) ** 2, abs=1e-6)
    assert np.array_equal(vignette(white, 0), white)


PLAIN = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: brighten(PLAIN, -1), "above -1, got -1"),
        (lambda: whiten(PLAIN, np.ones((4, 4), np.float32), -1), "above -1, got -1"),
        (lambda: whiten(PLAIN, np.ones((4, 5), np.float32), 0.1), "a mask must be"),
        (lambda: contrast(PLAIN, 2), r"in \[-1, 1\], got 2"),
        (lambda: fade(PLAIN, -0.1), r"in \[0, 1\], got -0\.1"),
        (lambda: vignette(PLAIN, 1.1), r"in \[0, 1\], got 1\.1"),
        (lambda: cast(PLAIN, (0, 0), (0, 0, 0)), r"three numbers in .*, got \(0, 0\)"),
        (lambda: cast(PLAIN, (0, 0, 0), (0, 0, 0.6)), r"three numbers in .*, got \(0, 0, 0\.6\)"),
        *(
            (lambda curve=curve: curve(np.zeros((4, 4, 3))), "a picture must be")
            for curve in (*CURVES.values(), lambda image: vignette(image, 0.1))
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
