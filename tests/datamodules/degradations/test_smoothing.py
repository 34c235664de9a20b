import numpy as np
import pytest

from datamodules.degradations.smoothing import (
    changed,
    check_mask,
    clarity,
    from_middle,
    skin_mask,
    smooth,
    smooth_where,
)

F255 = np.float32(255)
LIGHT = (226, 184, 164)
BROWN = (150, 105, 82)
DARK = (88, 58, 46)
SKINS = (LIGHT, BROWN, DARK)
OTHERS = {
    "grey": (128, 128, 128),
    "white": (250, 250, 250),
    "black": (4, 3, 3),
    "blue": (70, 100, 180),
    "green": (90, 140, 80),
    "red": (200, 30, 40),
}


def noisy(level: float, sigma: float, size: int = 64) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, (size, size, 3))
    return np.clip(level + noise, 0, 1).astype(np.float32)


def step(low: float, high: float, size: int = 40) -> np.ndarray:
    image = np.full((size, size, 3), low, np.float32)
    image[:, size // 2 :] = high
    return image


def levels(unit: np.ndarray) -> np.ndarray:
    return np.rint(255 * unit).astype(np.uint8)


def of_colour(colour: tuple[int, int, int], height: int = 48, width: int = 40) -> np.ndarray:
    return np.tile(np.array(colour, np.uint8), (height, width, 1))


def by_loops(plane: np.ndarray, radius: int, edge: float) -> np.ndarray:
    """He, Sun and Tang's Algorithm 1 with the picture as its guide, window by window."""
    height, width = plane.shape
    padded = np.pad(plane.astype(np.float64), 2 * radius, mode="reflect")
    a, b = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            top, left = y + radius, x + radius
            window = padded[top : top + 2 * radius + 1, left : left + 2 * radius + 1]
            a[y, x] = window.var() / (window.var() + edge**2)
            b[y, x] = window.mean() * (1 - a[y, x])
    a, b = np.pad(a, radius, mode="reflect"), np.pad(b, radius, mode="reflect")
    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            part = np.s_[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            found[y, x] = a[part].mean() * plane[y, x] + b[part].mean()
    return found


def test_smoothing_is_the_guided_filter_of_each_channel_by_itself():
    image = np.random.default_rng(1).random((13, 16, 3)).astype(np.float32)
    found = smooth(image, 2, 0.2)
    for c in range(3):
        assert np.abs(found[..., c] - by_loops(image[..., c], 2, 0.2)).max() < 1e-5
    eight = levels(image)
    assert np.array_equal(smooth(eight, 2, 0.2), levels(smooth(eight / F255, 2, 0.2)))


def test_a_flat_picture_stays_as_it_is():
    for level in (0, 1, 77, 255):
        flat = np.full((20, 23, 3), level, np.uint8)
        assert np.array_equal(smooth(flat, 3, 0.05), flat)
        assert np.array_equal(clarity(flat, 3, 0.05, 0.5), flat)


@pytest.mark.parametrize(("sigma", "kept"), [(0.01, 0.03), (0.05, 0.5), (0.2, 0.9)])
def test_the_share_of_a_swing_that_stays_is_that_of_its_variance(sigma, kept):
    image = noisy(0.5, sigma, 128)
    ratio = smooth(image, 8, 0.05).std() / image.std()
    assert ratio == pytest.approx(sigma**2 / (sigma**2 + 0.05**2), abs=0.05)
    assert ratio == pytest.approx(kept, abs=0.1)


def test_a_strong_edge_stays_where_noise_of_a_tenth_of_it_goes():
    edged = step(0.2, 0.8) + noisy(0, 0.02, 40) - noisy(0, 0.02, 40).mean()
    edged = np.clip(edged, 0, 1)
    smoothed = smooth(edged, 3, 0.06)
    rise = smoothed[:, 20].mean() - smoothed[:, 19].mean()
    assert rise > 0.55
    assert smoothed[:, :12].std() < 0.3 * edged[:, :12].std()


def test_smoothing_under_a_mask_leaves_the_rest_alone_and_counts_the_share():
    image = levels(noisy(0.5, 0.04))
    mask = np.zeros((64, 64), np.float32)
    mask[:, 32:] = 1
    half = smooth_where(image, mask, 3, 0.1, 1)
    assert np.array_equal(half[:, :32], image[:, :32])
    assert np.array_equal(half[:, 32:], smooth(image, 3, 0.1)[:, 32:])
    assert np.array_equal(smooth_where(image, mask, 3, 0.1, 0), image)
    unit = image / F255
    part = smooth_where(unit, mask, 3, 0.1, 0.25) - unit
    whole = smooth_where(unit, mask, 3, 0.1, 1) - unit
    assert np.abs(part - 0.25 * whole).max() < 1e-6


def test_clarity_is_undone_by_no_amount_and_raises_swings_but_makes_no_halo_at_edges():
    image = noisy(0.5, 0.03)
    assert np.array_equal(clarity(image, 4, 0.1, 0), image)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    raised = clarity(image, 8, 0.3, 0.5) - image
    assert np.abs(raised - raised[..., :1]).max() < 1e-6  # one step for all channels
    assert np.corrcoef(raised[..., 0].ravel(), grey.ravel())[0, 1] > 0.98
    assert raised[..., 0].std() / grey.std() == pytest.approx(0.5, abs=0.05)
    assert np.abs(clarity(step(0.2, 0.8), 4, 0.05, 0.5) - step(0.2, 0.8)).max() < 0.02


@pytest.mark.parametrize("skin", SKINS)
@pytest.mark.parametrize("name", OTHERS)
def test_skin_of_every_tone_is_told_from_what_has_other_colours(skin, name):
    image = of_colour(skin)
    image[:, 28:] = OTHERS[name]
    for form in (image, image / F255):
        mask = skin_mask(form, 2)
        assert mask.shape == (48, 40)
        assert mask.dtype == np.float32
        assert mask[:, :24].min() > 0.99
        assert mask[:, 32:].max() == 0


@pytest.mark.parametrize("skin", SKINS)
def test_hair_is_what_is_much_darker_than_the_skin_of_the_same_picture(skin):
    image = of_colour(skin)
    image[:12] = (0.25 * np.array(skin)).astype(np.uint8)
    mask = skin_mask(image, 1)
    assert mask[14:].min() > 0.99
    assert mask[:10].max() < 0.01


def test_a_dark_face_in_the_middle_counts_before_a_wall_of_the_colour_of_skin():
    image = of_colour((200, 160, 144), 60, 60)
    image[10:50, 15:45] = DARK
    assert skin_mask(image, 1)[13:47, 18:42].min() > 0.9


def test_a_picture_without_skin_has_an_empty_mask():
    for colour in OTHERS.values():
        assert not skin_mask(of_colour(colour), 1).any()


def test_middles_of_pixels_lie_between_the_edges():
    assert from_middle(4).tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert from_middle(1).tolist() == [0]


def test_a_change_is_rounded_once_and_held_to_the_range():
    image = of_colour((10, 100, 250))
    assert np.array_equal(changed(image, lambda unit: unit + 6.4 / 255)[0, 0], [16, 106, 255])
    assert changed(image / F255, lambda unit: unit - 0.5).min() == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: smooth(of_colour(DARK), 0, 0.1), "radius must be 1 pixel or more"),
        (lambda: smooth(of_colour(DARK), 1, 0), "edge positive, got 1 and 0"),
        (lambda: smooth(of_colour(DARK)[..., 0], 1, 1), "a picture must be"),
        (lambda: clarity(of_colour(DARK), 1, 1, -1), "amount must be 0 or more, got -1"),
        (lambda: clarity(of_colour(DARK), 0, 1, 1), "radius must be 1"),
        (lambda: skin_mask(of_colour(DARK), 0), "1 pixel or more, got 0"),
        (lambda: skin_mask(np.zeros((4, 4, 3)), 1), "a picture must be"),
        (
            lambda: smooth_where(of_colour(DARK), np.ones((48, 40), np.float32), 1, 1, 2),
            r"amount must be in \[0, 1\], got 2",
        ),
        (
            lambda: smooth_where(of_colour(DARK), np.ones((4, 4), np.float32), 1, 1, 1),
            r"of the picture's size \(48, 40\), got 1 to 1 of \(4, 4\)",
        ),
        (
            lambda: check_mask(np.full((48, 40), 1.5, np.float32), of_colour(DARK)),
            r"a mask must be in \[0, 1\] .* got 1\.5",
        ),
        (lambda: changed(np.zeros((4, 4, 3)), lambda unit: unit), "a picture must be"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
