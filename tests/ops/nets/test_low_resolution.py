import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from datamodules.degradations.resampling import resample
from ops.nets.low_resolution import (
    Skip,
    at_low_resolution,
    doublings,
    pixel_shuffles,
    reduced,
    same_convolution,
)


def test_a_block_becomes_its_mean() -> None:
    image = torch.rand(2, 3, 8, 12)
    small = reduced(image, 4)
    assert small.shape == (2, 3, 2, 3)
    torch.testing.assert_close(small[:, :, 1, 2], image[:, :, 4:, 8:].mean((2, 3)))


def test_blocks_at_the_border_are_filled_by_reflection() -> None:
    row = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.6]).expand(1, 1, 4, 5)
    assert reduced(row, 4)[0, 0, 0].tolist() == pytest.approx([0.15, (0.6 + 0.3 + 0.2 + 0.1) / 4])


def test_an_image_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="3x2 is too short"):
        reduced(torch.rand(1, 3, 3, 2), 8)


def there_and_back(small: np.ndarray) -> np.ndarray:
    """A small picture enlarged 4 times by the data's cubic, and reduced by the networks."""
    size = (4 * small.shape[1], 4 * small.shape[0])
    large = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    return reduced(torch.from_numpy(large)[None, None], 4)[0, 0].numpy()


def test_means_of_a_cubic_enlargement_are_nearly_the_small_image() -> None:
    point = np.zeros((9, 9))
    point[4, 4] = 1
    along = there_and_back(point).sum(0)
    assert along[2:7] == pytest.approx([-0.019, 0.090, 0.858, 0.090, -0.019], abs=5e-4)
    assert along.sum() == pytest.approx(1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(float(np.square(a - b).mean()))


def test_of_a_face_the_means_are_far_nearer_to_the_small_image_than_its_enlargement_to_it(
    faces: Path,
) -> None:
    gains = []
    for path in sorted((faces / "ffhq").rglob("*.png"))[:3]:
        face = cv2.resize(cv2.imread(str(path)), (128, 128), interpolation=cv2.INTER_AREA)
        small = cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA) / 255
        large = resample(face, 1 / 4) / 255
        back = reduced(torch.from_numpy(large).permute(2, 0, 1)[None], 4)[0].permute(1, 2, 0)
        error = psnr(back.numpy(), small)
        assert error > 32
        gains.append(error - psnr(large, face / 255))
    assert min(gains) > 7


def test_a_skip_adds_what_its_layers_give_as_often_as_told() -> None:
    x = torch.randn(1, 2, 4, 4)
    doubled = nn.Conv2d(2, 2, 1, bias=False)
    with torch.no_grad():
        doubled.weight.copy_(2 * torch.eye(2).view(2, 2, 1, 1))
    torch.testing.assert_close(Skip(doubled, scaling=0.1)(x), 1.2 * x)
    torch.testing.assert_close(Skip(doubled, nn.Identity())(x), 3 * x)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_pixel_shuffles_enlarge_as_often_as_told(scale: int) -> None:
    layers = nn.Sequential(*pixel_shuffles(3, scale))
    assert len(layers) == doublings(scale) == math.log2(scale)
    assert layers(torch.randn(2, 3, 4, 5)).shape == (2, 3, 4 * scale, 5 * scale)


@pytest.mark.parametrize("scale", [0, 3, 6, -2])
def test_a_scale_that_is_no_power_of_two_is_refused(scale: int) -> None:
    with pytest.raises(ValueError, match=f"scale must be a power of two, got {scale}"):
        pixel_shuffles(3, scale)


@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_a_convolution_keeps_the_size(kernel: int) -> None:
    assert same_convolution(2, 3, kernel)(torch.randn(1, 2, 7, 5)).shape == (1, 3, 7, 5)
    assert same_convolution(2, 3, kernel, bias=False).bias is None


def test_layers_see_a_small_image_around_zero_and_give_one_around_zero() -> None:
    image, seen = torch.rand(1, 3, 10, 6), []

    def enlarge(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return nn.functional.interpolate(x, scale_factor=2)

    restored = at_low_resolution(enlarge, image, 2)
    torch.testing.assert_close(seen[0], 2 * reduced(image, 2) - 1)
    torch.testing.assert_close(reduced(restored, 2), reduced(image, 2))


def test_what_was_added_at_the_border_is_cut_off_again() -> None:
    image = torch.rand(1, 3, 9, 7)
    enlarged = torch.rand(1, 3, 12, 8)
    restored = at_low_resolution(lambda _: enlarged, image, 4)
    torch.testing.assert_close(restored, (enlarged[..., :9, :7] + 1) / 2)
