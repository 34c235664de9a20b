"""Small filters that can be undone exactly, because pictures go on as their mirror image.

A filter that is even along both axes keeps such a continuation a mirror image, so that filtering
is a product with one gain a frequency up to the border, and undone where no gain is 0.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

RADIUS = 5  # filters of 11 x 11
_GRID = 64  # steps from frequency 0 to pi at which gains are fitted and checked


def gain_on_grid(kernels: Float64[Tensor, "a l l"]) -> Float64[Tensor, "a rows columns"]:
    """The gains of the even parts of kernels at frequencies from 0 to pi; l is odd.

    Args:
        kernels: point-symmetric, their origin in the middle.
    """
    even = (kernels + kernels.flip(-1)) / 2
    frequency = _frequencies(_GRID + 1, torch.pi / _GRID, kernels)
    return gain(even, frequency, frequency)


def gain(
    taps: Float[Tensor, "a l l"], rows: Float[Tensor, " rows"], columns: Float[Tensor, " columns"]
) -> Float[Tensor, "a rows columns"]:
    """The gain of each even filter at every pair of frequencies, in radians a pixel; l is odd.

    Without a matrix product, which some devices compute with few digits.
    """
    reach = taps.shape[-1] // 2
    total = taps.new_zeros(len(taps), len(rows), len(columns))
    for p in range(reach + 1):
        inner = taps[:, reach + p, reach, None].expand(-1, len(columns))
        for q in range(1, reach + 1):
            inner = inner + 2 * taps[:, reach + p, reach + q, None] * torch.cos(q * columns)
        outer = (2 if p else 1) * torch.cos(p * rows)
        total = total + outer[:, None] * inner[:, None]
    return total


def nearest_filter(wanted: Float64[Tensor, "a rows columns"]) -> Float64[Tensor, "a 11 11"]:
    """The 11 x 11 filters whose gains come nearest to the wanted ones and are positive.

    Nearest in the mean square of the relative error, for small gains matter as much as large
    ones to who divides by them. Where the nearest one falls below half the least wanted gain, it
    is lifted by a constant, so that dividing by it stays bounded.

    Args:
        wanted: positive, on the grid of `gain_on_grid`.

    Raises:
        ValueError: if a wanted gain is not positive.
    """
    if not (wanted > 0).all():
        raise ValueError(f"gains must be positive, got {float(wanted.min())}")
    frequency = _frequencies(wanted.shape[-1], torch.pi / (wanted.shape[-1] - 1), wanted)
    cosines = torch.cos(frequency[:, None] * torch.arange(RADIUS + 1, device=wanted.device))
    basis = torch.kron(cosines, cosines)
    flat = wanted.flatten(1)
    # One system for each filter: rows are weighted by what is wanted there.
    systems = basis / flat.unsqueeze(-1)
    found = torch.linalg.lstsq(systems, torch.ones_like(flat).unsqueeze(-1)).solution.squeeze(-1)
    lift = (flat.amin(1) / 2 - (found @ basis.mT).amin(1)).clamp(min=0)
    found[:, 0] += lift
    return _symmetric(found.view(-1, RADIUS + 1, RADIUS + 1))


def _frequencies(count: int, step: float, like: Tensor) -> Tensor:
    return torch.arange(count, dtype=like.dtype, device=like.device) * step


def _symmetric(quarter: Tensor) -> Tensor:
    """The taps whose gains are sums of `quarter` times cosines: each is shared by its images."""
    offset = torch.arange(-RADIUS, RADIUS + 1, device=quarter.device).abs()
    share = torch.where(offset > 0, 0.5, 1.0).to(quarter.dtype)
    return quarter[:, offset][:, :, offset] * share[:, None] * share


def multiply(
    planes: Float[Tensor, "b a h w"], taps: Float[Tensor, "a l l"]
) -> Float[Tensor, "b a h w"]:
    """Each channel under its filter, by a convolution."""
    radius = taps.shape[-1] // 2
    h, w = planes.shape[-2:]
    wide = planes[:, :, _mirrored(h, radius, planes.device)]
    wide = wide[:, :, :, _mirrored(w, radius, planes.device)]
    with torch.autocast(planes.device.type, enabled=False):
        return F.conv2d(wide, taps.to(planes.dtype).unsqueeze(1), groups=len(taps))


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Where the numbers of an axis continued by `margin` on both sides are to be found."""
    # Any margin: the continuation is periodic with twice the length.
    # As a tensor: ONNX knows no remainder by a size.
    period = 2 * torch.ones(length, dtype=torch.int64, device=device).sum()
    index = torch.arange(-margin, length + margin, device=device) % period
    return torch.minimum(index, period - 1 - index)


def divide(
    planes: Float[Tensor, "b a h w"], taps: Float[Tensor, "a l l"]
) -> Float[Tensor, "b a h w"]:
    """What `multiply` by the same filters gives the planes of, by a Fourier transform.

    Args:
        planes: float32 or float64.
        taps: of positive gain.
    """
    if not planes.numel():
        return planes
    h, w = planes.shape[-2:]
    whole = torch.cat([planes, planes.flip(-2)], -2)
    whole = torch.cat([whole, whole.flip(-1)], -1)
    rows = _frequencies(2 * h, torch.pi / h, planes)
    columns = _frequencies(w + 1, torch.pi / w, planes)
    spectrum = torch.fft.rfft2(whole) / gain(taps.to(planes.dtype), rows, columns)
    return torch.fft.irfft2(spectrum, s=whole.shape[-2:])[..., :h, :w]
