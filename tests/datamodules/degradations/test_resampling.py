import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.degradations.resampling import Downsampled, Mosaic, Resampled, mosaic, resample

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "resampling.json"
WORKS = {
    "a quarter": lambda image: resample(image, 1 / 4),
    "a seventh": lambda image: resample(image, 0.14),
    "mosaic": lambda image: mosaic(image, 16),
}


def ramp(height=16, width=17):
    return (np.arange(height * width * 3) * 37 % 256).astype(np.uint8).reshape(height, width, 3)


def fractions(image):
    return image.astype(np.float32) / 255


def cubic(distance):
    """Keys' cubic with a = -0.75."""
    d, a = np.abs(distance), -0.75
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def cubic_matrix(small, large):
    matrix = np.zeros((large, small))
    for row in range(large):
        place = (row + 0.5) * small / large - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[row, np.clip(tap, 0, small - 1)] += cubic(place - tap)
    return matrix


def area_matrix(large, small):
    edges = np.linspace(0, large, small + 1)
    starts = np.maximum(edges[:-1, None], np.arange(large))
    ends = np.minimum(edges[1:, None], np.arange(large) + 1)
    return np.clip(ends - starts, 0, None) * small / large


def by_matrices(image, scale):
    height, width = image.shape[:2]
    h, w = round(scale * height), round(scale * width)
    rows = cubic_matrix(h, height) @ area_matrix(height, h)
    columns = cubic_matrix(w, width) @ area_matrix(width, w)
    return np.einsum("ab,bcd,ec->aed", rows, image, columns)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 8, 0.17])
def test_resampling_is_area_means_down_and_keys_cubic_up(scale):
    image = np.random.default_rng(0).random((64, 72, 3), np.float32)
    expected = np.clip(by_matrices(image.astype(float), scale), 0, 1)
    np.testing.assert_allclose(resample(image, scale), expected, atol=2e-5)


def test_in_8_bits_the_picture_is_rounded_at_both_sizes():
    image = np.random.default_rng(0).integers(0, 256, (64, 72, 3), dtype=np.uint8)
    rows, columns = area_matrix(64, 16), area_matrix(72, 18)
    small = np.rint(np.einsum("ab,bcd,ec->aed", rows, image.astype(float), columns))
    large = np.einsum("ab,bcd,ec->aed", cubic_matrix(16, 64), small, cubic_matrix(18, 72))
    # Half-way cases of the means, 1/32 of a level here and there, then the cubic's own rounding.
    error = resample(image, 1 / 4) - np.clip(large, 0, 255)
    assert np.abs(error).max() < 2
    assert np.sqrt((error**2).mean()) < 0.5


def test_a_picture_at_its_own_resolution_stays_as_it_is():
    assert np.array_equal(resample(ramp(), 1), ramp())


def test_what_the_cubic_overshoots_is_cut_off():
    edge = np.zeros((32, 32, 3), np.float32)
    edge[:, 16:] = 1
    blurred = resample(edge, 1 / 4)
    assert (blurred.min(), blurred.max()) == (0, 1)
    assert by_matrices(edge, 1 / 4).max() > 1.05


@pytest.mark.parametrize("shape", [(32, 48), (33, 50), (5, 7), (16, 17)])
def test_a_mosaic_is_the_mean_of_each_block_cut_to_whole_levels(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected, exact = image.copy(), fractions(image)
    for y in range(0, shape[0], 16):
        for x in range(0, shape[1], 16):
            block = np.s_[y : y + 16, x : x + 16]
            expected[block] = np.floor(image[block].mean((0, 1), dtype=float))
            exact[block] = fractions(image)[block].mean((0, 1), dtype=float)
    assert np.array_equal(mosaic(image, 16), expected)
    np.testing.assert_allclose(mosaic(fractions(image), 16), exact, rtol=1e-6)


def test_a_mosaic_of_a_mosaic_is_the_same():
    once = mosaic(ramp(40, 37), 16)
    assert np.array_equal(mosaic(once, 16), once)
    assert np.array_equal(mosaic(ramp(), 1), ramp())


@pytest.mark.parametrize("shape", [(16, 17), (1, 1), (2, 5), (40, 3)])
@pytest.mark.parametrize("name", WORKS)
def test_shape_and_type_stay_the_input_is_left_alone_and_white_stays_white(name, shape):
    for image in (ramp(*shape), fractions(ramp(*shape))):
        before = image.copy()
        coarse = WORKS[name](image)
        assert (coarse.shape, coarse.dtype) == (image.shape, image.dtype)
        assert np.array_equal(image, before)
        assert coarse.min() >= 0
        white = np.full_like(image, 255 if image.dtype == np.uint8 else 1)
        np.testing.assert_allclose(WORKS[name](white), white, rtol=1e-6)


def test_the_switch_of_opencv_is_left_as_it_was():
    for used in (True, False):
        cv2.ipp.setUseIPP(used)
        settled = cv2.ipp.useIPP()  # stays False in a build without it
        resample(ramp(), 0.5)
        assert cv2.ipp.useIPP() == settled
    cv2.ipp.setUseIPP(True)


def test_the_scale_is_told_and_replays_the_picture():
    degraded = Resampled(1 / 8, 1 / 4)(ramp(64, 64), np.random.default_rng(4))
    (step,) = degraded.steps
    assert (step.kind, step.name) == ("other", "resampling")
    assert 1 / 8 <= step.parameters["scale"] <= 1 / 4
    assert np.array_equal(degraded.image, resample(ramp(64, 64), **step.parameters))


def test_fixed_ones_draw_nothing():
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    down, blocks = (work(ramp(64, 64), generator) for work in (Downsampled(4), Mosaic(16)))
    assert generator.bit_generator.state == before
    assert np.array_equal(down.image, resample(ramp(64, 64), 1 / 4))
    assert np.array_equal(blocks.image, mosaic(ramp(64, 64), 16))
    assert [str(down), str(blocks)] == ["resampling scale 0.25", "mosaic block 16"]


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_scales_outside_0_to_1_are_refused(wrong):
    with pytest.raises(ValueError, match=re.escape(f"scale must be in (0, 1], got {wrong}")):
        resample(ramp(), wrong)


def test_settings_that_make_no_sense_are_refused():
    for make in (lambda: mosaic(ramp(), 0), lambda: Mosaic(0)):
        with pytest.raises(ValueError, match="block must be at least 1 pixel, got 0"):
            make()
    with pytest.raises(ValueError, match=re.escape("factor must be at least 1, got 0.5")):
        Downsampled(0.5)
    for wrong in ((0.5, 0.2), (0, 0.5), (0.5, 2)):
        with pytest.raises(ValueError, match="0 < low <= high <= 1 must hold"):
            Resampled(*wrong)


@pytest.mark.parametrize("name", WORKS)
def test_what_is_no_picture_is_refused(name):
    with pytest.raises(ValueError, match="a picture must be"):
        WORKS[name](ramp().astype(np.float64))


@pytest.mark.parametrize("name", WORKS)
def test_the_bytes_are_those_of_the_golden_file(name):
    coarse = WORKS[name](ramp(48, 49))
    assert hashlib.sha256(coarse.tobytes()).hexdigest() == json.loads(GOLDEN.read_text())[name]
