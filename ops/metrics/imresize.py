"""Reduction of images to a whole part of their size, equal to MATLAB's imresize."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def imresize(images: Float[Tensor, "b c h w"], factor: int) -> Float[Tensor, "b c height width"]:
    """The images at 1/`factor` of their size, rounded up: MATLAB's `imresize(images, 1 / factor)`.

    Cubic interpolation (Keys, a = -1/2) whose kernel is widened by the factor against aliasing.
    Inside the image torch's antialiased interpolation is the same sum. At the border it leaves
    out what lies outside, where MATLAB goes on with the mirror image, the border pixel repeated;
    so that is put around the image first. float32 and float64.

    Args:
        images: of any range; nothing is rounded or cut to a range.
        factor: 2 or more.

    Raises:
        ValueError: if `factor` is below 2 or a side is shorter than the kernel's reach.
    """
    reach = 2 * factor
    if factor < 2 or min(images.shape[-2:]) < reach:
        raise ValueError(
            f"factor must be 2 or more and both sides at least twice as many pixels, got {factor} "
            f"for images of {tuple(images.shape[-2:])} pixels"
        )
    around = mirrored(mirrored(images, reach, -1), reach, -2)
    small = F.interpolate(
        around, scale_factor=1 / factor, mode="bicubic", antialias=True, align_corners=False
    )
    height, width = (-(-side // factor) for side in images.shape[-2:])
    return small[..., 2 : 2 + height, 2 : 2 + width]


def mirrored(images: Float[Tensor, "*shape"], reach: int, dim: int) -> Float[Tensor, "*larger"]:
    """The images with `reach` more pixels at both ends of `dim`: their mirror image.

    The border pixel is repeated, which torch's "reflect" does not do.
    """
    before = images.narrow(dim, 0, reach).flip(dim)
    after = images.narrow(dim, images.shape[dim] - reach, reach).flip(dim)
    return torch.cat([before, images, after], dim)
