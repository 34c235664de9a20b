"""SSIM and MS-SSIM: torchmetrics' values, in about an eighth of its time on one CPU thread.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
visibility to structural similarity", IEEE Transactions on Image Processing 13(4), 2004, and
Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality
assessment", Asilomar 2003.
"""

import math
from collections.abc import Iterator
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

REACH: Final = 5  # pixels to each side of a window of 11 x 11
LEAST: Final = REACH + 1  # pixels a side: a shorter one has no mirror image as wide as the reach
LEAST_OF_FIVE: Final = 176  # pixels a side: the window of 11 at the last of five scales
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first
_C1, _C2 = 0.01**2, 0.03**2  # for a range of 1
_BAND = 1 << 16  # pixels whose sums a core keeps in its caches
_ROWS = 16  # of a band at least: each band filters ten rows more than it has


def ssim(output: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    r"""Each image's structural similarity, 1 for equal ones (Eq. 13 of 2004).

    .. math:: \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
              {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}

    The mean over pixels and channels, under a Gaussian window of 11 x 11 and sigma 1.5, the image
    mirrored at its border without repeating the outermost pixel, K = (0.01, 0.03) and a range of
    1. Variances are divided by the sum of the weights, which is 1.

    Sum and difference of the images are filtered in place of the two: four maps instead of five,
    and equal images give 1 exactly. In float32 torchmetrics misses it by up to 1e-3 where they are
    bright and even.

    Args:
        output: in [0, 1]; computed in float32 at least.
        target: of the same shape.

    Raises:
        ValueError: if the shapes differ or a side is below 6 pixels.
    """
    output, target = _alike(output, target, LEAST, "SSIM")
    return _mean(_mirrored(output), _mirrored(target), whole=True)


def ms_ssim(
    output: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """Each image's SSIM at five scales, 1 for equal ones (Eq. 7 of 2003).

    The factor of contrast and structure at the four finest scales, over whole windows alone, times
    `ssim` at the last; each to the power of its weight, a negative one counted as 0, as in
    torchmetrics. From scale to scale means of 2 x 2 pixels.

    Args:
        output: in [0, 1]; computed in float32 at least.
        target: of the same shape.

    Raises:
        ValueError: if the shapes differ or a side is below 176 pixels.
    """
    output, target = _alike(output, target, LEAST_OF_FIVE, "SSIM at five scales")
    *finer, last = _WEIGHTS
    product = output.new_ones(len(output))
    for weight in finer:
        product = product * _mean(output, target, whole=False).relu() ** weight
        output, target = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
    return product * ssim(output, target).relu() ** last


def _alike(output: Tensor, target: Tensor, least: int, name: str) -> tuple[Tensor, Tensor]:
    if output.shape != target.shape:
        raise ValueError(
            f"images must have one shape, got {tuple(output.shape)} and {tuple(target.shape)}"
        )
    if min(output.shape[-2:]) < least:
        height, width = output.shape[-2:]
        raise ValueError(
            f"{name} needs at least {least} pixels a side, got {height} x {width}: take larger "
            "images or leave it out"
        )
    wide = torch.promote_types(output.dtype, torch.float32)
    return output.to(wide), target.to(wide)


def _mirrored(images: Tensor) -> Tensor:
    return F.pad(images, (REACH,) * 4, mode="reflect")


def _mean(output: Tensor, target: Tensor, whole: bool) -> Tensor:
    """Of each image, over all windows inside it: SSIM if `whole`, else without its first factor."""
    planes = output.flatten(0, 1), target.flatten(0, 1)
    at_once = 1 if output.is_cpu else max(1, len(planes[0]))  # what a core's caches hold
    parts = zip(*(each.split(at_once) for each in planes), strict=True)
    means = torch.cat([_mean_of_planes(a, b, whole) for a, b in parts])
    return means.view(output.shape[:2]).mean(1).to(output.dtype)


def _mean_of_planes(output: Tensor, target: Tensor, whole: bool) -> Tensor:
    """In bands of rows, none of whose intermediate maps leaves a core's caches."""
    height, width = (side - 2 * REACH for side in output.shape[-2:])
    total = output.new_zeros(len(output), dtype=torch.float64)
    for rows in _bands(height, width, output.device):
        light, structure = _factors(output[:, rows], target[:, rows])
        values = light * structure if whole else structure
        total = total + values.sum((-2, -1), dtype=torch.float64)
    return total / (height * width)


def _bands(height: int, width: int, device: torch.device) -> Iterator[slice]:
    """The rows that the windows of each band reach; one band where a launch is what costs."""
    step = max(_ROWS, _BAND // width) if device.type == "cpu" else height
    for top in range(0, height, step):
        yield slice(top, min(top + step, height) + 2 * REACH)


def _factors(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, of every window inside two planes.

    With s = x + y and d = x - y, 4 mu_x mu_y is the difference of their means' squares and
    2 (mu_x^2 + mu_y^2) the sum; so it is with variances.
    """
    total, apart = output + target - 1, output - target  # about 0: squares keep their digits
    maps = torch.stack([total, apart, total.square(), apart.square()])
    of_total, of_apart, square_of_total, square_of_apart = _filtered(maps)
    spread = (square_of_total - of_total.square()).clamp(min=0)
    noise = (square_of_apart - of_apart.square()).clamp(min=0)
    total, apart = (of_total + 1).square(), of_apart.square()
    light = (total - apart + 2 * _C1) / (total + apart + 2 * _C1)
    return light, (spread - noise + 2 * _C2) / (spread + noise + 2 * _C2)


def _filtered(maps: Tensor) -> Tensor:
    """Means under the window, which is even and a product: down the columns, then along the rows.

    By sums of shifted maps: quicker here than convolutions, and no device cuts their digits.
    """
    for axis in (-2, -1):
        length = maps.shape[axis] - 2 * REACH
        found = maps.narrow(axis, REACH, length) * _TAPS[0]
        for shift in range(1, REACH + 1):
            before = maps.narrow(axis, REACH - shift, length)
            found.add_(before + maps.narrow(axis, REACH + shift, length), alpha=_TAPS[shift])
        maps = found
    return maps


def _taps() -> list[float]:
    """The window along one axis from its middle outwards; all eleven sum to 1."""
    heights = [math.exp(-((place / 1.5) ** 2) / 2) for place in range(REACH + 1)]
    return [height / (2 * sum(heights) - 1) for height in heights]


_TAPS = _taps()
