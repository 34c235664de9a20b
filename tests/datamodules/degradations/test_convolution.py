import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.signal import convolve2d

from datamodules.degradations.convolution import convolve, convolve_inside


def picture(height: int = 40, width: int = 33) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def kernel(height: int = 7, width: int = 5, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).random((height, width))
    return values / values.sum()


def by_scipy(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    edge = [(side // 2, side // 2) for side in values.shape]
    around = np.pad(image.astype(np.float64), [*edge, (0, 0)], mode="reflect")
    return np.stack([convolve2d(around[..., c], values, mode="valid") for c in range(3)], axis=2)


@pytest.mark.parametrize("size", [(40, 33), (16, 17), (64, 61)])
@pytest.mark.parametrize("sides", [(7, 5), (1, 9), (31, 29), (1, 1)])
def test_it_is_the_convolution_of_the_mirrored_picture(
    size: tuple[int, int], sides: tuple[int, int]
):
    image, values = picture(*size), kernel(*sides)
    expected = by_scipy(image, values)
    assert np.abs(convolve(image, values) - expected).max() < 0.5 + 1e-5
    unit = image.astype(np.float32) / 255
    assert np.abs(convolve(unit, values) - by_scipy(unit, values)).max() < 1e-7
    assert convolve(unit, values).dtype == np.float32


def test_a_bright_point_becomes_the_kernel_as_it_is():
    image = np.zeros((21, 21, 3), np.float32)
    image[10, 10] = 1
    assert convolve(image, kernel())[7:14, 8:13, 1] == pytest.approx(kernel(), abs=1e-7)


def test_the_input_is_left_as_it_is_and_no_result_is_overwritten_by_the_next():
    image = picture()
    before, first = image.copy(), convolve_inside(image[..., 0], kernel())
    kept = first.copy()
    convolve_inside(image[..., 1], kernel(seed=2))
    assert np.array_equal(image, before)
    assert np.array_equal(first, kept)


def test_threads_do_not_mix_their_pictures():
    images = [np.roll(picture(), k, axis=0) for k in range(40)]
    alone = [convolve(image, kernel()) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: convolve(image, kernel()), images))
    assert np.array_equal(together, alone)


def test_inside_is_only_where_all_of_the_kernel_overlaps():
    plane = picture()[..., 0]
    expected = convolve2d(plane.astype(np.float64), kernel(), mode="valid")
    assert convolve_inside(plane, kernel()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sides", [(2, 3), (3, 2)])
def test_a_kernel_with_an_even_side_is_refused(sides: tuple[int, int]):
    with pytest.raises(ValueError, match="must have odd sides"):
        convolve(picture(), kernel(*sides))


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="no negative weight, got 1 x 3 with -1 as its least"):
        convolve(picture(), np.array([[-1.0, 3, -1]]))


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="a picture must be"):
        convolve(picture()[..., 0], kernel())


def test_a_kernel_larger_than_the_plane_is_refused():
    with pytest.raises(ValueError, match=re.escape("of 7 x 5 does not fit into a plane of 6 x 9")):
        convolve_inside(np.zeros((6, 9)), kernel())
