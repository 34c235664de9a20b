"""The pixel-adaptive convolution in plain torch: a tile of columns at a time, on any device.

The k^2 taps of a few rows and channels are gathered into one small buffer, weighted there and
multiplied by the weight as a matrix. Both passes do so; the backward pass gathers again instead of
keeping anything. Sums of half-precision numbers run in float32.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ops.kernels.bands import Window


class Gradients(NamedTuple):
    """Those of `convolve`'s input, tap weights and weight; None where not wanted."""

    x: Tensor | None
    kernel: Tensor | None
    weight: Tensor | None


class Wanted(NamedTuple):
    """Which of the `Gradients` to compute."""

    x: bool = True
    kernel: bool = True
    weight: bool = True


class _Place(NamedTuple):
    """One tile of the work: an image, a band of its rows and some of the input's channels."""

    image: int
    rows: slice
    group: slice


def convolve(
    x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor | None, window: Window
) -> Tensor:
    """The convolution of `ops.kernels.pac.pixel_adaptive_conv2d` (ISPL Eq. 8)."""
    out = x.new_empty(len(x), len(weight), *window.output)
    kernel, room = kernel.unflatten(1, window.size), _room(x, window)
    start = weight.new_zeros(len(weight), 1) if bias is None else bias[:, None]
    for image in range(len(x)):
        for rows in window.bands(x.shape[1], x.device):
            band = out[image, :, rows].flatten(1)
            total = band.to(_sum_dtype(x.dtype)).copy_(start)  # the band itself, if that suits
            for group in window.channel_groups(x.shape[1], rows, x.device):
                taps = window.views(window.cut(x[image, group], rows), rows)
                columns = _product(taps, kernel[image, :, :, rows], room)
                _add_product(total, weight[:, group].flatten(1), columns)
            if total is not band:
                band.copy_(total)
    return out


def convolve_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, weight: Tensor, window: Window, wanted: Wanted
) -> Gradients:
    """The adjoint of `convolve` at a gradient of its output."""
    exact = _sum_dtype(x.dtype)
    found = Gradients(
        torch.zeros_like(x, memory_format=torch.contiguous_format) if wanted.x else None,
        torch.zeros_like(kernel, dtype=exact).unflatten(1, window.size) if wanted.kernel else None,
        torch.zeros_like(weight, dtype=exact) if wanted.weight else None,
    )
    rooms = _room(x, window), _room(x, window)
    given = grad, x, kernel.unflatten(1, window.size), weight
    for place in _places(x, window):
        _add_gradients(found, place, given, window, rooms)
    d_kernel = None if found.kernel is None else found.kernel.flatten(1, 2).to(x.dtype)
    d_weight = None if found.weight is None else found.weight.to(x.dtype)
    return Gradients(found.x, d_kernel, d_weight)


def _add_gradients(
    found: Gradients,
    place: _Place,
    given: tuple[Tensor, Tensor, Tensor, Tensor],
    window: Window,
    rooms: tuple[Tensor, Tensor],
) -> None:
    """Adds what one tile has to say to the gradients."""
    (image, rows, group), (grad, x, kernel, weight) = place, given
    out = grad[image, :, rows].flatten(1)
    taps = window.views(window.cut(x[image, group], rows), rows)
    tap_weights = kernel[image, :, :, rows]
    if found.weight is not None:
        columns = _product(taps, tap_weights, rooms[0])
        _add_product(found.weight[:, group].flatten(1), out, columns.t())
    if found.x is None and found.kernel is None:
        return
    # With respect to the weighted taps.
    slope = rooms[1][: taps.numel()].view(taps.shape)
    torch.mm(weight[:, group].flatten(1).t(), out, out=slope.view(-1, out.shape[1]))
    if found.kernel is not None:
        product = _product(taps, slope, rooms[0]).view(len(taps), -1)
        total = product.sum(0, dtype=found.kernel.dtype)
        found.kernel[image, :, :, rows].add_(total.view(tap_weights.shape))
    if found.x is not None:
        _fold(found.x[image, group], slope, tap_weights, window, rows)


def _fold(total: Tensor, taps: Tensor, factors: Tensor, window: Window, rows: slice) -> None:
    """Adds what the taps of a band have, times their factors, to where in the maps they lie."""
    band = window.empty_band(total, rows, _sum_dtype(total.dtype))
    tap_by_tap = _one_by_one(window.views(band, rows), 1), _one_by_one(taps, 1)
    for place, tap, factor in zip(*tap_by_tap, _one_by_one(factors, 0), strict=True):
        place.addcmul_(tap, factor)
    window.add_back(total, band, rows)


def correlate(features: Tensor, window: Window) -> Tensor:
    """The tap weights of `ops.kernels.pac.adaptive_kernel` (ISPL Eq. 9)."""
    b, channels = features.shape[:2]
    kernel = features.new_empty(b, *window.size, *window.output)
    room = _room(features, window)
    for image in range(b):
        for rows in window.bands(channels, features.device):
            part = kernel[image, :, :, rows]
            total = torch.zeros_like(part, dtype=_sum_dtype(kernel.dtype))
            for group in window.channel_groups(channels, rows, features.device):
                taps = window.views(window.cut(features[image, group], rows), rows)
                product = _product(taps, _centre(taps, window)[:, None, None], room)
                total += product.view(len(taps), -1).sum(0, dtype=total.dtype).view(total.shape)
            part.copy_((total / channels**0.5).tanh_())
    return kernel.flatten(1, 2)


def correlate_backward(grad: Tensor, features: Tensor, kernel: Tensor, window: Window) -> Tensor:
    """The adjoint of `correlate` at a gradient of the tap weights it gave."""
    found = torch.zeros_like(features, memory_format=torch.contiguous_format)
    kernel, grad = (one.unflatten(1, window.size) for one in (kernel, grad))
    for image, rows, group in _places(features, window):
        taps = window.views(window.cut(features[image, group], rows), rows)
        value = kernel[image, :, :, rows]
        slope = grad[image, :, :, rows] * (1 - value * value)
        slope /= features.shape[1] ** 0.5
        band = window.empty_band(found[image, group], rows, _sum_dtype(found.dtype))
        views = window.views(band, rows)
        middle, place_of_middle = _centre(taps, window), _centre(views, window)
        tap_by_tap = _one_by_one(views, 1), _one_by_one(taps, 1)
        for place, tap, factor in zip(*tap_by_tap, _one_by_one(slope, 0), strict=True):
            place.addcmul_(middle, factor)
            place_of_middle.addcmul_(tap, factor)
        window.add_back(found[image, group], band, rows)
    return found


def _places(x: Tensor, window: Window) -> Iterator[_Place]:
    for image in range(len(x)):
        for rows in window.bands(x.shape[1], x.device):
            for group in window.channel_groups(x.shape[1], rows, x.device):
                yield _Place(image, rows, group)


def _room(x: Tensor, window: Window) -> Tensor:
    """Memory for the largest tile, taken once: fresh pages would cost more than the sums."""
    rows = next(window.bands(x.shape[1], x.device))
    group = next(window.channel_groups(x.shape[1], rows, x.device))
    pixels = (rows.stop - rows.start) * window.output[1]
    return x.new_empty((group.stop - group.start) * window.taps * pixels)


def _product(taps: Tensor, factors: Tensor, room: Tensor) -> Tensor:
    """Weighted taps (c, k_y, k_x, rows, columns) as a matrix (c k_y k_x, rows columns)."""
    numbers = room[: taps.numel()].view(taps.shape)
    torch.mul(taps, factors, out=numbers)
    return numbers.view(-1, taps.shape[3] * taps.shape[4])


def _one_by_one(taps: Tensor, axis: int) -> list[Tensor]:
    """Each tap of a tensor whose axes of rows and columns of taps begin at `axis`, as a view."""
    return [tap for row in taps.unbind(axis) for tap in row.unbind(axis)]


def _centre(taps: Tensor, window: Window) -> Tensor:
    return taps[:, window.size[0] // 2, window.size[1] // 2]


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds the matrix product a b to `total`, which may be of a wider dtype."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total.add_(a @ b)


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
