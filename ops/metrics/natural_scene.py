r"""Statistics of natural scenes: what an image's local contrast is distributed like.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer",
IEEE Signal Processing Letters 20(3), 2013, whose numbers the equations here have; the authors'
MATLAB code decides what the paper leaves open. Everything is in float64: the local deviation is
a difference of two numbers that are nearly equal in even regions.
"""

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float64
from torch import Tensor

# Far above what rounding leaves of a difference of equal levels in [0, 255], far below the
# smallest difference that 8 bits can make.
_NOTHING = 1e-9
_AT_ONCE = 5 * 96**2  # pixels on a CPU: what follows from them stays in a core's cache


class Aggd(NamedTuple):
    """Asymmetric generalised Gaussian distributions (Eq. 4).

    Attributes:
        shape: alpha, 2 for a Gaussian and 1 for a Laplacian, in steps of 0.001 from 0.2 to 10.
        left: scale beta of the negative side.
        right: scale beta of the positive side.
        mean: (beta_right - beta_left) Gamma(2 / alpha) / Gamma(1 / alpha) (Eq. 7).
    """

    shape: Tensor
    left: Tensor
    right: Tensor
    mean: Tensor


class _Table(NamedTuple):
    """Functions of the shape at its steps, ascending."""

    shape: Tensor
    ratio: Tensor  # Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)), which ascends with a
    scale: Tensor  # sqrt(Gamma(1/a) / Gamma(3/a))
    mean: Tensor  # Gamma(2/a) / Gamma(1/a)


@functools.cache
def _table(device: torch.device) -> _Table:
    shape = torch.arange(200, 10001, dtype=torch.float64, device=device) / 1000
    one, two, three = (torch.lgamma(k / shape) for k in (1, 2, 3))
    ratio = torch.exp(2 * two - one - three)
    return _Table(shape, ratio, torch.exp((one - three) / 2), torch.exp(two - one))


def fit_aggd(values: Float64[Tensor, "n m"]) -> Aggd:
    """The distribution of each row by matching moments (Lasmar et al., ICIP 2009).

    Zeros belong to neither side. A row without negative or without positive values has no
    distribution: NaN in all but the shape, which is then 0.2, as in MATLAB, whose least of no
    numbers is the first.

    Args:
        values: n samples of m values.
    """
    absolute = values.abs()
    square = torch.linalg.vecdot(values, values)
    signed = torch.linalg.vecdot(values, absolute)  # positive squares minus negative ones
    sign = values.sign()  # sums of floats are faster than counts of truths
    balance, counted = sign.sum(1), torch.linalg.vecdot(sign, sign)
    left = _root_mean(square - signed, counted - balance)
    right = _root_mean(square + signed, counted + balance)
    rho = absolute.mean(1).square() / (square / values.shape[1])
    gamma = left / right
    wanted = rho * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    table = _table(values.device)
    at = _nearest(table.ratio, wanted)
    left, right = left * table.scale[at], right * table.scale[at]
    return Aggd(table.shape[at], left, right, (right - left) * table.mean[at])


def _root_mean(total: Tensor, count: Tensor) -> Tensor:
    """The root of a mean of squares, total and count both doubled; NaN of none."""
    return torch.where(count > 0, (total / count).sqrt(), torch.nan)


def _nearest(ascending: Tensor, wanted: Tensor) -> Tensor:
    """The place of the nearest entry, the first of two as near; 0 for NaN."""
    above = torch.searchsorted(ascending, wanted).clamp(1, len(ascending) - 1)
    below = above - 1
    nearest = torch.where(ascending[above] - wanted < wanted - ascending[below], above, below)
    return torch.where(wanted.isnan(), 0, nearest)


def local_contrast(
    levels: Float64[Tensor, "b h w"], window: Float64[Tensor, "k k"]
) -> tuple[Float64[Tensor, "b h w"], Float64[Tensor, "b h w"]]:
    r"""Each pixel's difference from its surroundings, normalised, and their deviation (Eq. 1-3).

    .. math:: (I - \mu) / (\sigma + 1)

    Deviation: a difference below 1e-9 is 0. In even regions MATLAB's is whatever its sums leave
    by rounding, of either sign, and these signs are counted; here such pixels count on neither
    side, so that processors, devices and batches agree
    (`test_even_regions_count_on_neither_side`).

    Args:
        levels: luma in [0, 255]; it goes on beyond the border as it is there.
        window: weights of the surroundings that sum to 1, k odd; an outer product of two lines,
            as a Gaussian is.
    """
    both = torch.stack([levels, levels.square()])
    mean, square = filtered(filtered(both, window.sum(1), -2), window.sum(0), -1)
    deviation = (square - mean.square()).abs_().sqrt_()
    return F.hardshrink(levels - mean, _NOTHING).div_(deviation + 1), deviation


def filtered(
    maps: Float64[Tensor, "*shape"], taps: Float64[Tensor, " k"], dim: int
) -> Float64[Tensor, "*shape"]:
    """The maps correlated with `taps` along `dim`, the border value repeated beyond the border."""
    reach, size = len(taps) // 2, maps.shape[dim]
    places = torch.arange(-reach, size + reach, device=maps.device).clamp_(0, size - 1)
    around = maps.index_select(dim, places)
    total = torch.zeros_like(maps)
    for offset, weight in enumerate(taps.tolist()):
        total.add_(around.narrow(dim, offset, size), alpha=weight)
    return total


def blocks(maps: Float64[Tensor, "b h w"], side: int) -> Float64[Tensor, "b n side side"]:
    """The maps cut into square blocks, row by row; h and w are multiples of `side`."""
    cut = maps.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return cut.transpose(2, 3).flatten(1, 2)


def features(contrast: Float64[Tensor, "n side side"]) -> Float64[Tensor, "n 18"]:
    """The 18 numbers of each block at one scale.

    Shape and mean scale of the contrast; then shape, mean, left and right scale of its products
    with the neighbour to the left, above, above to the left and above to the right. A block goes
    on at the opposite side, as in MATLAB's circshift.
    """
    pixels = contrast[0].numel()
    parts = contrast.split(_AT_ONCE // pixels if contrast.is_cpu else len(contrast))
    return torch.cat([_features(part) for part in parts])


def _features(contrast: Tensor) -> Tensor:
    own = fit_aggd(contrast.flatten(1))
    lines = [own.shape, (own.left + own.right) / 2]
    above = contrast.roll(1, 1)
    for neighbour in (contrast.roll(1, 2), above, above.roll(1, 2), above.roll(-1, 2)):
        pair = fit_aggd((contrast * neighbour).flatten(1))
        lines += [pair.shape, pair.mean, pair.left, pair.right]
    return torch.stack(lines, 1)


def complete(rows: Float64[Tensor, "*n d"]) -> Bool[Tensor, "*n"]:
    """The rows without a NaN, which alone count for a covariance, as in MATLAB's nancov."""
    return ~rows.isnan().any(-1)


def mean_and_covariance(
    rows: Float64[Tensor, "b n d"],
) -> tuple[Float64[Tensor, "b d"], Float64[Tensor, "b d d"]]:
    """The mean of each column's numbers and the unbiased covariance of the complete rows.

    NaN where a column has no number, or where fewer than two rows are complete.
    """
    kept = complete(rows)[..., None]
    count = kept.sum(1, keepdim=True)
    centre = torch.where(kept, rows, 0).sum(1, keepdim=True) / count
    offset = torch.where(kept, rows - centre, 0)
    covariance = offset.mT @ offset / (count - 1)
    return rows.nanmean(1), torch.where(count > 1, covariance, torch.nan)
