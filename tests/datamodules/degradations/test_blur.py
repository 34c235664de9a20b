import hashlib
import json
import math
import re
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from datamodules.degradations.blur import (
    CutGaussianBlur,
    GaussianBlur,
    MotionBlur,
    gaussian_blur,
    line_kernel,
    motion_blur,
    released_radius,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "blur.json"
LINE = line_kernel(15, 0.7, 0.4)


def ramp(height=16, width=17):
    return (np.arange(height * width * 3) * 37 % 256).astype(np.uint8).reshape(height, width, 3)


def fractions(image):
    return image.astype(np.float32) / 255


def noise(height=96, width=101):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def correlated(image, kernel):
    planes = [
        ndimage.correlate(image[..., c].astype(float), kernel, mode="mirror") for c in (0, 1, 2)
    ]
    return np.stack(planes, -1)


def moments(kernel):
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    mean = np.array([(kernel * x).sum(), (kernel * y).sum()])
    spread = np.array([(kernel * x * x).sum(), (kernel * y * y).sum()]) - mean**2
    return mean, spread, (kernel * x * y).sum() - mean.prod()


@pytest.mark.parametrize(("size", "angle"), [*product([3, 11, 21], [0, 0.3, math.pi / 4, 2, 5])])
def test_a_line_sums_to_one_and_is_as_long_and_as_slanted_as_asked(size, angle):
    kernel = line_kernel(size, angle, 0)
    assert kernel.shape == (size, size)
    assert kernel.sum() == pytest.approx(1)
    mean, (across, down), both = moments(kernel)
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    if size > 3:
        assert across + down == pytest.approx((size**2 - 1) / 12, rel=0.12)
        # The main axis of the second moments: at `angle` clockwise from the vertical.
        tilt = 0.5 * math.atan2(-2 * both, down - across)
        assert math.remainder(tilt - angle, math.pi) == pytest.approx(0, abs=0.03)


def test_the_upright_line_has_the_weights_in_one_column_falling_from_first_to_last():
    kernel = line_kernel(5, 0, 1)
    assert np.count_nonzero(np.delete(kernel, 2, axis=1)) == 0
    np.testing.assert_allclose(kernel[:, 2], np.array([4, 3, 2, 1, 0]) / 10)
    np.testing.assert_allclose(line_kernel(5, 0, 0)[:, 2], 0.2)
    np.testing.assert_allclose(line_kernel(5, math.pi, 1), line_kernel(5, 0, -1), atol=1e-12)
    np.testing.assert_allclose(line_kernel(5, math.pi / 2, 1), np.rot90(kernel, -1), atol=1e-12)


@pytest.mark.parametrize(("angle", "direction"), [*product([0.4, 1.9, 4.5], [-1, -0.3, 0.8])])
def test_the_line_is_an_upright_one_turned_by_linear_interpolation(angle, direction):
    upright = np.zeros((15, 15))
    upright[:, 7] = np.linspace((1 + direction) / 2, (1 - direction) / 2, 15)
    turn = cv2.getRotationMatrix2D((7, 7), -math.degrees(angle), 1)
    turned = cv2.warpAffine(upright, turn, (15, 15), flags=cv2.INTER_LINEAR)
    found = line_kernel(15, angle, direction)
    # OpenCV may place its samples on a grid of 1/32 pixel.
    np.testing.assert_allclose(found, turned / turned.sum(), atol=0.005)


@pytest.mark.parametrize("size", [11, 15, 21])
@pytest.mark.parametrize("angle", [0, 0.4, math.pi / 4, 1.2, math.pi / 2, 3])
def test_motion_blur_is_the_correlation_with_the_kernel(size, angle):
    kernel = line_kernel(size, angle, 0.5)
    image = noise()
    exact = correlated(image, kernel)
    float_error = 255 * motion_blur(fractions(image), kernel) - exact
    assert np.abs(float_error).max() < 1e-4
    # 8 bits: a half for the last rounding, the rest for weights rounded to 1/256, on pure noise.
    error = motion_blur(image, kernel) - exact
    assert np.abs(error).max() < 5
    assert np.sqrt((error**2).mean()) < 1
    assert abs(error.mean()) < 0.1


def test_on_a_smooth_picture_the_rounded_weights_cost_less_than_the_last_rounding():
    y, x = np.mgrid[:96, :101]
    image = np.stack([x + y, 128 + 90 * np.sin(x / 9), 128 + 90 * np.cos(y / 7)], -1)
    image = np.rint(image).astype(np.uint8)
    error = motion_blur(image, LINE) - correlated(image, LINE)
    assert np.sqrt((error**2).mean()) < 1.05 / math.sqrt(12)


def test_in_8_bits_whole_weights_give_the_exact_sum_rounded_once():
    kernel = np.zeros((9, 13))
    kernel[np.arange(9), np.arange(9) + 2] = np.array([1, 60, 3, 4, 100, 6, 7, 8, 67]) / 256
    image = noise()
    exact = np.rint(correlated(image, kernel))
    assert np.array_equal(motion_blur(image, kernel), exact)
    white = np.full((30, 31, 3), 255, np.uint8)
    assert np.array_equal(motion_blur(white, kernel), white)
    assert not motion_blur(np.zeros_like(white), kernel).any()


def test_a_dense_kernel_is_not_rounded():
    kernel = np.full((21, 21), 1 / 441)
    error = motion_blur(noise(), kernel) - correlated(noise(), kernel)
    assert np.abs(error).max() < 0.5001


@pytest.mark.parametrize("sigma", [0.8, 3, 5.5])
def test_gaussian_blur_is_the_sum_weighted_by_the_gaussian(sigma):
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    image = noise()
    exact = correlated(image, np.outer(weights, weights) / weights.sum() ** 2)
    assert np.abs(255 * gaussian_blur(fractions(image), sigma) - exact).max() < 1e-4
    error = gaussian_blur(image, sigma) - exact
    assert np.abs(error).max() < 2
    assert np.sqrt((error**2).mean()) < 0.5


def test_the_radius_cuts_the_gaussian():
    dot = np.zeros((41, 41, 3), np.float32)
    dot[20, 20] = 1
    blurred = gaussian_blur(dot, 8, released_radius(8))[..., 0].astype(float)
    ys, xs = np.nonzero(blurred)
    assert (np.ptp(ys), np.ptp(xs)) == (20, 20)
    _, spread, _ = moments(blurred)
    assert math.sqrt(spread[0]) == pytest.approx(5.4, abs=0.05)


@pytest.mark.parametrize(
    ("sigma", "radius"), [(1, 2), (2.5, 4), (3, 4), (4, 5), (4.99, 7), (5, 6), (6, 7), (8, 10)]
)
def test_the_released_pipeline_cuts_close(sigma, radius):
    assert released_radius(sigma) == radius


BLURS = {
    "motion": lambda image: motion_blur(image, LINE),
    "Gaussian": lambda image: gaussian_blur(image, 3.5),
    "cut Gaussian": lambda image: gaussian_blur(image, 7, 9),
}


@pytest.mark.parametrize("shape", [(16, 17), (1, 1), (2, 5), (40, 3)])
@pytest.mark.parametrize("name", BLURS)
def test_shape_and_type_stay_the_input_is_left_alone_and_white_stays_white(name, shape):
    for image in (ramp(*shape), fractions(ramp(*shape))):
        before = image.copy()
        blurred = BLURS[name](image)
        assert (blurred.shape, blurred.dtype) == (image.shape, image.dtype)
        assert np.array_equal(image, before)
        assert blurred.min() >= 0
        assert blurred.max() <= before.max() * (1 + 1e-6)
        white = np.full_like(image, 255 if image.dtype == np.uint8 else 1)
        np.testing.assert_allclose(BLURS[name](white), white, rtol=1e-6)


def test_motion_blur_mirrors_without_repeating_the_border():
    image = ramp()
    kernel = np.zeros((3, 9))
    kernel[1, 0] = 1  # looks four pixels to the left
    mirrored = np.concatenate([image[:, 4:0:-1], image], axis=1)[:, :17]
    assert np.array_equal(motion_blur(image, kernel), mirrored)


def test_the_drawn_line_is_told_and_replays_the_picture():
    degraded = MotionBlur(10, 20)(ramp(), np.random.default_rng(2))
    (step,) = degraded.steps
    kernel = line_kernel(**step.parameters)
    assert np.array_equal(degraded.image, motion_blur(ramp(), kernel))
    assert (step.kind, step.name) == ("blur", "motion blur")
    assert json.loads(json.dumps(dict(step.parameters))) == step.parameters


@pytest.mark.parametrize("kind", [GaussianBlur, CutGaussianBlur])
def test_the_drawn_sigma_is_told_and_replays_the_picture(kind):
    degraded = kind(3, 8)(ramp(), np.random.default_rng(2))
    (step,) = degraded.steps
    assert np.array_equal(degraded.image, gaussian_blur(ramp(), **step.parameters))
    assert 3 <= step.parameters["sigma"] <= 8
    assert (step.kind, step.name) == ("blur", "Gaussian blur")


def test_lengths_are_odd_and_angles_and_directions_fill_their_ranges():
    tiny, generator = ramp(1, 1), np.random.default_rng(0)
    drawn = [MotionBlur(10, 20)(tiny, generator).steps[0].parameters for _ in range(2000)]
    sizes = np.array([each["size"] for each in drawn])
    assert sorted(set(sizes)) == [11, 13, 15, 17, 19, 21]
    # 20 alone becomes 21; each other length has two draws that lead to it.
    assert (sizes == 21).mean() == pytest.approx(1 / 11, abs=0.02)
    assert (sizes == 11).mean() == pytest.approx(2 / 11, abs=0.03)
    for key, low, high in (("angle", 0, 2 * math.pi), ("direction", -1, 1)):
        values = (np.array([each[key] for each in drawn]) - low) / (high - low)
        assert np.abs(np.sort(values) - np.linspace(0, 1, values.size)).max() < 0.04


def test_kernels_that_would_change_the_light_or_shift_the_picture_are_refused():
    with pytest.raises(ValueError, match="two odd sides, got shape"):
        motion_blur(ramp(), np.full((4, 5), 1 / 20))
    with pytest.raises(ValueError, match="divide it by its sum"):
        motion_blur(ramp(), np.full((3, 3), 1.0))
    with pytest.raises(ValueError, match="no negative weight"):
        motion_blur(ramp(), np.array([[-0.5, 1, 0.5]]))


@pytest.mark.parametrize(("size", "direction"), [(4, 0), (1, 0), (5, 1.5)])
def test_lines_that_cannot_be_are_refused(size, direction):
    with pytest.raises(ValueError, match="got"):
        line_kernel(size, 0, direction)


def test_blurs_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="sigma must be positive, in pixels, got 0"):
        gaussian_blur(ramp(), 0)
    with pytest.raises(ValueError, match="sigma must be positive"):
        released_radius(-1)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        gaussian_blur(ramp(), 1, 0)
    with pytest.raises(ValueError, match=re.escape("2 <= shortest <= longest must hold")):
        MotionBlur(20, 10)
    for kind in (GaussianBlur, CutGaussianBlur):
        with pytest.raises(ValueError, match="0 < low <= high must hold"):
            kind(0, 3)


@pytest.mark.parametrize("name", BLURS)
def test_what_is_no_picture_is_refused(name):
    with pytest.raises(ValueError, match="a picture must be"):
        BLURS[name](ramp().astype(np.float64))


@pytest.mark.parametrize("name", BLURS)
def test_the_bytes_are_those_of_the_golden_file(name):
    blurred = BLURS[name](ramp(48, 49))
    assert hashlib.sha256(blurred.tobytes()).hexdigest() == json.loads(GOLDEN.read_text())[name]
