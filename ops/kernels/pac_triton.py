"""The pixel-adaptive convolution in Triton: each program gathers its own tile of taps.

The same two functions as in `ops.kernels.pac_torch`, of float32, bfloat16 or float16 on a GPU, or
on the CPU in Triton's interpreter. Products run on tensor cores and add up in float32; nothing
as large as k^2 maps is ever written. No atomics, so that results repeat bit for bit.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# Triton's language has no types that a checker could use.

import torch
from torch import Tensor

from ops.kernels.bands import Window
from ops.kernels.pac_torch import Gradients, Wanted

try:
    import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError as error:
    raise ImportError(
        "the Triton form of the pixel-adaptive convolution needs the package triton, which comes "
        "with torch for CUDA: pip install triton==3.7.1, or use ops.kernels.dispatch.forced"
    ) from error

# Pixels, channels that are summed over, channels of the result; a product needs 16 of each.
_TILE = (64, 32, 64)
_PIXELS_OF_A_PART = 8192  # of the gradient of the weight, which is summed in parts


def convolve(
    x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor | None, window: Window
) -> Tensor:
    """The convolution of `ops.kernels.pac.pixel_adaptive_conv2d` (ISPL Eq. 8)."""
    out = x.new_empty(len(x), len(weight), *window.output)
    start = weight.new_zeros(len(weight)) if bias is None else bias.contiguous()
    pixels, _, channels = _TILE
    grid = (
        _parts(window.output[0] * window.output[1], pixels),
        _parts(len(weight), channels),
        len(x),
    )
    if out.numel():
        _convolve[grid](
            x.contiguous(), kernel, _tap_first(weight), start, out, *_constants(x, weight, window)
        )
    return out


def convolve_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, weight: Tensor, window: Window, wanted: Wanted
) -> Gradients:
    """The adjoint of `convolve` at a gradient of its output."""
    given = grad, x.contiguous(), kernel, weight, window
    if not grad.numel():
        every = (torch.zeros_like(one) for one in given[1:4])
        return Gradients(*(z if needed else None for z, needed in zip(every, wanted, strict=True)))
    return Gradients(
        _gradient_of_x(*given) if wanted.x else None,
        _gradient_of_kernel(*given) if wanted.kernel else None,
        _gradient_of_weight(*given) if wanted.weight else None,
    )


def _gradient_of_x(
    grad: Tensor, x: Tensor, kernel: Tensor, weight: Tensor, window: Window
) -> Tensor:
    found = torch.empty_like(x)
    pixels, _, channels = _TILE
    grid = (_parts(x[0, 0].numel(), pixels), _parts(x.shape[1], channels), len(x))
    _backward_x[grid](grad, kernel, _tap_first(weight), found, *_constants(x, weight, window))
    return found


def _gradient_of_kernel(
    grad: Tensor, x: Tensor, kernel: Tensor, weight: Tensor, window: Window
) -> Tensor:
    found = torch.empty_like(kernel)
    grid = (_parts(grad[0, 0].numel(), _TILE[0]), window.taps, len(x))
    _backward_kernel[grid](grad, x, _tap_first(weight), found, *_constants(x, weight, window))
    return found


def _gradient_of_weight(
    grad: Tensor, x: Tensor, kernel: Tensor, weight: Tensor, window: Window
) -> Tensor:
    """Summed by an image and a part of its pixels at a time, and these sums at the end."""
    outputs, inputs = weight.shape[:2]
    parts = _parts(grad[0, 0].numel(), _PIXELS_OF_A_PART)
    size = (len(x), parts, window.taps, outputs, inputs)
    found = torch.empty(size, dtype=torch.float32, device=x.device)
    _, few, many = _TILE
    grid = (window.taps * _parts(outputs, many), _parts(inputs, few), len(x) * parts)
    _backward_weight[grid](grad, x, kernel, found, parts, *_constants(x, weight, window))
    total = found.sum((0, 1)).view(*window.size, outputs, inputs)
    return total.permute(2, 3, 0, 1).to(weight.dtype).contiguous()


def _parts(count: int, size: int) -> int:
    return -(-count // size)


def _tap_first(weight: Tensor) -> Tensor:
    """(c_out, c_in, k_y, k_x) as (k_y, k_x, c_out, c_in), the order in which it is read."""
    return weight.permute(2, 3, 0, 1).contiguous()


def _constants(x: Tensor, weight: Tensor, window: Window) -> tuple[tuple[int, ...], ...]:
    """What the kernels are compiled for: SIZE, WINDOW and TILE."""
    # A TensorFloat-32 product is what torch's own convolutions take too, where they are let.
    fast = x.dtype != torch.float32 or torch.backends.cudnn.allow_tf32
    sizes = (*x.shape[1:], len(weight), *window.output)
    places = (*window.size, *window.stride, *window.padding, *window.dilation)
    return sizes, places, (*_TILE, int(fast))


@triton.jit
def _source(place, tap, SIZE: tl.constexpr, WINDOW: tl.constexpr):
    """Where in the map a tap of each place lies, and whether it lies there at all."""
    row = place // SIZE[5] * WINDOW[2] - WINDOW[4] + tap // WINDOW[1] * WINDOW[6]
    column = place % SIZE[5] * WINDOW[3] - WINDOW[5] + tap % WINDOW[1] * WINDOW[7]
    inside = (row >= 0) & (row < SIZE[1]) & (column >= 0) & (column < SIZE[2])
    return row * SIZE[2] + column, inside & (place < SIZE[4] * SIZE[5])


@triton.jit
def _target(pixel, tap, SIZE: tl.constexpr, WINDOW: tl.constexpr):
    """The place whose tap lies on each pixel of the map, and whether there is one."""
    down = pixel // SIZE[2] + WINDOW[4] - tap // WINDOW[1] * WINDOW[6]
    right = pixel % SIZE[2] + WINDOW[5] - tap % WINDOW[1] * WINDOW[7]
    row, column = down // WINDOW[2], right // WINDOW[3]
    there = (down >= 0) & (right >= 0) & (down % WINDOW[2] == 0) & (right % WINDOW[3] == 0)
    inside = there & (row < SIZE[4]) & (column < SIZE[5]) & (pixel < SIZE[1] * SIZE[2])
    return row * SIZE[5] + column, inside


@triton.jit
def _add_product(a, b, total, TILE: tl.constexpr):
    if TILE[3]:
        return tl.dot(a, b, total)
    return tl.dot(a, b, total, input_precision="ieee")


@triton.jit
def _convolve(
    x, kernel, weight, bias, out, SIZE: tl.constexpr, WINDOW: tl.constexpr, TILE: tl.constexpr
):
    """A tile (channels, places) of the output: over taps and input channels."""
    PIXELS: tl.constexpr = TILE[0]
    INNER: tl.constexpr = TILE[1]
    OUTER: tl.constexpr = TILE[2]
    image = tl.program_id(2).to(tl.int64)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * OUTER + tl.arange(0, OUTER)
    places: tl.constexpr = SIZE[4] * SIZE[5]
    taps: tl.constexpr = WINDOW[0] * WINDOW[1]
    start = tl.load(bias + channel, channel < SIZE[3], 0.0)
    total = tl.zeros((OUTER, PIXELS), tl.float32) + start[:, None].to(tl.float32)
    for tap in range(taps):
        pixel, inside = _source(place, tap, SIZE, WINDOW)
        factor = tl.load(kernel + (image * taps + tap) * places + place, place < places, 0.0)
        for first in range(0, SIZE[0], INNER):
            inner = first + tl.arange(0, INNER)
            values = tl.load(
                x + (image * SIZE[0] + inner)[:, None] * (SIZE[1] * SIZE[2]) + pixel[None, :],
                (inner < SIZE[0])[:, None] & inside[None, :],
                0.0,
            )
            weights = tl.load(
                weight + (tap * SIZE[3] + channel)[:, None] * SIZE[0] + inner[None, :],
                (channel < SIZE[3])[:, None] & (inner < SIZE[0])[None, :],
                0.0,
            )
            total = _add_product(weights, values * factor[None, :], total, TILE)
    tl.store(
        out + (image * SIZE[3] + channel)[:, None] * places + place[None, :],
        total.to(out.dtype.element_ty),
        (channel < SIZE[3])[:, None] & (place < places)[None, :],
    )


@triton.jit
def _backward_x(
    grad, kernel, weight, found, SIZE: tl.constexpr, WINDOW: tl.constexpr, TILE: tl.constexpr
):
    """A tile (channels, pixels) of the gradient of x: over taps and output channels."""
    PIXELS: tl.constexpr = TILE[0]
    INNER: tl.constexpr = TILE[1]
    OUTER: tl.constexpr = TILE[2]
    image = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * OUTER + tl.arange(0, OUTER)
    places: tl.constexpr = SIZE[4] * SIZE[5]
    pixels: tl.constexpr = SIZE[1] * SIZE[2]
    taps: tl.constexpr = WINDOW[0] * WINDOW[1]
    total = tl.zeros((OUTER, PIXELS), tl.float32)
    for tap in range(taps):
        place, inside = _target(pixel, tap, SIZE, WINDOW)
        factor = tl.load(kernel + (image * taps + tap) * places + place, inside, 0.0)
        for first in range(0, SIZE[3], INNER):
            inner = first + tl.arange(0, INNER)
            slopes = tl.load(
                grad + (image * SIZE[3] + inner)[:, None] * places + place[None, :],
                (inner < SIZE[3])[:, None] & inside[None, :],
                0.0,
            )
            weights = tl.load(
                weight + (tap * SIZE[3] + inner)[None, :] * SIZE[0] + channel[:, None],
                (inner < SIZE[3])[None, :] & (channel < SIZE[0])[:, None],
                0.0,
            )
            total = _add_product(weights, slopes * factor[None, :], total, TILE)
    tl.store(
        found + (image * SIZE[0] + channel)[:, None] * pixels + pixel[None, :],
        total.to(found.dtype.element_ty),
        (channel < SIZE[0])[:, None] & (pixel < pixels)[None, :],
    )


@triton.jit
def _backward_kernel(
    grad, x, weight, found, SIZE: tl.constexpr, WINDOW: tl.constexpr, TILE: tl.constexpr
):
    """One tap of a row of places of the gradient of the tap weights: over all channels."""
    PIXELS: tl.constexpr = TILE[0]
    INNER: tl.constexpr = TILE[1]
    OUTER: tl.constexpr = TILE[2]
    image, tap = tl.program_id(2).to(tl.int64), tl.program_id(1)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    places: tl.constexpr = SIZE[4] * SIZE[5]
    pixel, inside = _source(place, tap, SIZE, WINDOW)
    total = tl.zeros((PIXELS,), tl.float32)
    for first in range(0, SIZE[0], OUTER):
        channel = first + tl.arange(0, OUTER)
        slopes = tl.zeros((OUTER, PIXELS), tl.float32)
        for start in range(0, SIZE[3], INNER):
            inner = start + tl.arange(0, INNER)
            part = tl.load(
                grad + (image * SIZE[3] + inner)[:, None] * places + place[None, :],
                (inner < SIZE[3])[:, None] & (place < places)[None, :],
                0.0,
            )
            weights = tl.load(
                weight + (tap * SIZE[3] + inner)[None, :] * SIZE[0] + channel[:, None],
                (inner < SIZE[3])[None, :] & (channel < SIZE[0])[:, None],
                0.0,
            )
            slopes = _add_product(weights, part, slopes, TILE)
        values = tl.load(
            x + (image * SIZE[0] + channel)[:, None] * (SIZE[1] * SIZE[2]) + pixel[None, :],
            (channel < SIZE[0])[:, None] & inside[None, :],
            0.0,
        )
        total += tl.sum(slopes * values, 0)
    at = (image * (WINDOW[0] * WINDOW[1]) + tap) * places + place
    tl.store(found + at, total.to(found.dtype.element_ty), place < places)


@triton.jit
def _backward_weight(
    grad, x, kernel, found, parts, SIZE: tl.constexpr, WINDOW: tl.constexpr, TILE: tl.constexpr
):
    """One tap of a tile (output channels, input channels): over a part of an image's places."""
    PIXELS: tl.constexpr = TILE[0]
    INNER: tl.constexpr = TILE[1]
    OUTER: tl.constexpr = TILE[2]
    taps: tl.constexpr = WINDOW[0] * WINDOW[1]
    places: tl.constexpr = SIZE[4] * SIZE[5]
    tap, tile = tl.program_id(0) % taps, tl.program_id(0) // taps
    outer = tile * OUTER + tl.arange(0, OUTER)
    inner = tl.program_id(1) * INNER + tl.arange(0, INNER)
    sums = tl.program_id(2).to(tl.int64)
    image, part = sums // parts, sums % parts
    total = tl.zeros((OUTER, INNER), tl.float32)
    length = tl.cdiv(tl.cdiv(places, parts), PIXELS) * PIXELS
    for first in range(0, length, PIXELS):
        place = (part * length + first + tl.arange(0, PIXELS)).to(tl.int32)
        pixel, inside = _source(place, tap, SIZE, WINDOW)
        factor = tl.load(kernel + (image * taps + tap) * places + place, place < places, 0.0)
        slopes = tl.load(
            grad + (image * SIZE[3] + outer)[:, None] * places + place[None, :],
            (outer < SIZE[3])[:, None] & (place < places)[None, :],
            0.0,
        )
        values = tl.load(
            x + (image * SIZE[0] + inner)[None, :] * (SIZE[1] * SIZE[2]) + pixel[:, None],
            (inner < SIZE[0])[None, :] & inside[:, None],
            0.0,
        )
        total = _add_product(slopes, values * factor[:, None], total, TILE)
    tl.store(
        found + ((sums * taps + tap) * SIZE[3] + outer)[:, None] * SIZE[0] + inner[None, :],
        total,
        (outer < SIZE[3])[:, None] & (inner < SIZE[0])[None, :],
    )
