import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import convolve2d

from datamodules.degradations.kernels import (
    KernelBank,
    blurred,
    draw_gaussian,
    gaussian_by_deviation,
    gaussian_kernel,
    motion_kernel,
)
from datamodules.degradations.trajectory import HandShake, motion_kernels

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "kernels.json"
LAW = HandShake()


def covariance(kernel: np.ndarray) -> np.ndarray:
    half = len(kernel) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-12)
    assert (kernel * y).sum() == pytest.approx(0, abs=1e-12)
    mixed = (kernel * x * y).sum()
    return np.array([[(kernel * x * x).sum(), mixed], [mixed, (kernel * y * y).sum()]])


def checksum(kernel: np.ndarray) -> str:
    return hashlib.sha256(np.rint(kernel * 2**24).astype("<i8").tobytes()).hexdigest()


@pytest.mark.parametrize("shape", [(40, 50), (16, 17), (7, 9)])
def test_blur_is_the_convolution_of_the_mirrored_picture(shape: tuple[int, int]):
    light = np.random.default_rng(0).random((*shape, 3))
    kernel = motion_kernel(LAW, 0, 0).values
    half = len(kernel) // 2
    padded = np.pad(light, ((half, half), (half, half), (0, 0)), mode="reflect")
    expected = [convolve2d(padded[..., c], kernel, mode="valid") for c in range(3)]
    assert np.abs(blurred(light, kernel) - np.stack(expected, 2)).max() < 1e-12


def test_a_bright_point_becomes_the_kernel_as_it_is():
    kernel = motion_kernel(LAW, 0, 1).values
    light = np.zeros((61, 61, 3))
    light[30, 30] = 1
    half = len(kernel) // 2
    seen = blurred(light, kernel)[30 - half : 31 + half, 30 - half : 31 + half, 0]
    assert seen == pytest.approx(kernel, abs=1e-12)
    assert np.abs(kernel - kernel[::-1, ::-1]).max() > 0.01


def test_a_picture_of_one_colour_stays_and_the_input_is_left_as_it_is():
    light = np.full((20, 21, 3), 0.3)
    before = light.copy()
    assert blurred(light, motion_kernel(LAW, 0, 2).values) == pytest.approx(0.3, abs=1e-12)
    assert np.array_equal(light, before)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
@pytest.mark.parametrize(("major", "minor"), [(4.0, 1.0), (2.0, 2.0), (3.0, 0.8)])
def test_a_gaussian_kernel_has_its_variances_along_its_axes(
    angle: float, major: float, minor: float
):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    kernel = gaussian_kernel(31, angle, major, minor)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    expected = turn @ np.diag([major, minor]) @ turn.T
    assert covariance(kernel) == pytest.approx(expected, abs=0.01)


def test_gaussians_given_by_deviation_have_it():
    kernel = gaussian_by_deviation(0.7, 3.0, 1.0)
    assert kernel.values.shape == (25, 25)
    assert np.linalg.eigvalsh(covariance(kernel.values)) == pytest.approx([1, 9], rel=0.01)
    assert kernel.parameters["sigma"] == 3.0


def test_drawn_gaussians_have_uniform_variances():
    generator = np.random.default_rng(1)
    drawn = [draw_gaussian(generator) for _ in range(3000)]
    first = np.array([kernel.parameters["sigma"] for kernel in drawn]) ** 2
    second = np.array([kernel.parameters["sigma across"] for kernel in drawn]) ** 2
    angles = np.array([kernel.parameters["angle"] for kernel in drawn])
    assert {kernel.values.shape for kernel in drawn} == {(15, 15)}
    for values, mean, bounds in (
        (first, (0.1 + 12) / 2, (0.1, 12)),
        ((second - 0.1) / (first - 0.1), 0.5, (0, 1)),
        (angles, np.pi / 2, (0, np.pi)),
    ):
        assert bounds[0] <= values.min() <= values.max() <= bounds[1]
        assert values.mean() == pytest.approx(mean, rel=0.05)
        assert values.std() == pytest.approx((bounds[1] - bounds[0]) / 12**0.5, rel=0.05)


def test_a_motion_kernel_is_cut_to_its_side_and_sums_to_1():
    canvases, sides = motion_kernels(LAW, 3, range(251))
    for index in (0, 249, 250):
        kernel = motion_kernel(LAW, 3, index)
        side = int(sides[index])
        edge = (27 - side) // 2
        assert kernel.values.shape == (side, side)
        assert kernel.values.sum() == pytest.approx(1, abs=1e-14)
        expected = canvases[index, edge : edge + side, edge : edge + side]
        assert kernel.values == pytest.approx(expected, abs=1e-7)
        assert kernel.parameters == {"kernel": index, "size": side}


def test_a_bank_has_the_kernels_of_the_paper_and_repeats_them():
    bank = KernelBank()
    assert len(bank) == 25_008
    assert bank[24_999].name == "motion blur"
    gaussians = [bank[25_000 + k] for k in range(8)]
    assert {kernel.name for kernel in gaussians} == {"Gaussian blur"}
    assert len({checksum(kernel.values) for kernel in gaussians}) == 8
    assert np.array_equal(bank[25_003].values, KernelBank()[25_003].values)
    assert not np.array_equal(bank[25_003].values, KernelBank(seed=1)[25_003].values)


def test_gaussians_are_drawn_with_their_share():
    bank = KernelBank(count=20, gaussians=3)
    generator = np.random.default_rng(2)
    drawn = [bank.draw(generator) for _ in range(3000)]
    share = np.mean([kernel.name == "Gaussian blur" for kernel in drawn])
    assert share == pytest.approx(12 / 52, abs=0.03)
    motion = [int(kernel.parameters["kernel"]) for kernel in drawn if "kernel" in kernel.parameters]
    counts = np.bincount(motion, minlength=20)
    assert counts.min() > 70
    assert counts.max() < 165


def test_kernels_of_a_bank_are_the_same_as_ever():
    bank = KernelBank()
    for index, expected in json.loads(GOLDEN.read_text()).items():
        assert checksum(bank[int(index)].values) == expected


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_a_kernel_without_a_centre_is_refused(shape: tuple[int, int]):
    with pytest.raises(ValueError, match=re.escape(f"got shape {shape}")):
        blurred(np.zeros((8, 8, 3)), np.ones(shape))


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="size must be odd and positive, got 4"):
        gaussian_kernel(4, 0, 1, 1)
    with pytest.raises(ValueError, match="variances must be above 0, got 1 and 0"):
        gaussian_kernel(5, 0, 1, 0)
    with pytest.raises(ValueError, match="count and gaussians must be 1 or more"):
        KernelBank(count=0)
    with pytest.raises(ValueError, match=re.escape("gaussian_share must be in [0, 1], got 2")):
        KernelBank(gaussian_share=2)
    with pytest.raises(IndexError, match=re.escape("kernel must be in [0, 25008), got 25008")):
        KernelBank()[25_008]
    with pytest.raises(IndexError, match="got -1"):
        KernelBank()[-1]
    with pytest.raises(ValueError, match="seed and indices must be 0 or more"):
        motion_kernel(LAW, -1, 0)
