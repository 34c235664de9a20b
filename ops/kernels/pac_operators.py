"""Pixel-adaptive convolution as torch knows it: forms, shapes and gradients of two operators.

As operators of torch's library they go through torch.compile in one piece, whose loops would
otherwise be unrolled tile by tile, and their forms are chosen when they run.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from ops.kernels import pac_torch
from ops.kernels.bands import Window
from ops.kernels.dispatch import Form, form_for
from ops.kernels.pac_torch import Wanted


@torch.library.custom_op("visagist::pixel_adaptive_conv2d", mutates_args=())
def convolve(
    x: Tensor,
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """`ops.kernels.pac.pixel_adaptive_conv2d` of arguments that were checked."""
    window = _window(kernel, weight, stride, padding, dilation)
    kernel, weight = kernel.contiguous(), weight.contiguous()
    if form_for(x) is Form.TRITON:
        from ops.kernels import pac_triton

        return pac_triton.convolve(x, kernel, weight, bias, window)
    return pac_torch.convolve(x, kernel, weight, bias, window)


@torch.library.custom_op("visagist::pixel_adaptive_conv2d_backward", mutates_args=())
def _convolve_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    window = _window(kernel, weight, stride, padding, dilation)
    grad, kernel, weight = grad.contiguous(), kernel.contiguous(), weight.contiguous()
    if form_for(x) is Form.TRITON:
        from ops.kernels import pac_triton

        found = pac_triton.convolve_backward(grad, x, kernel, weight, window, Wanted(*wanted))
    else:
        found = pac_torch.convolve_backward(grad, x, kernel, weight, window, Wanted(*wanted))
    # An operator has no way to give None; what is not wanted is empty.
    a, b, c = (x.new_empty(0) if one is None else one for one in found)
    return a, b, c


@torch.library.custom_op("visagist::adaptive_kernel", mutates_args=())
def correlate(
    features: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output: Sequence[int],
) -> Tensor:
    """`ops.kernels.pac.adaptive_kernel` of arguments that were checked."""
    window = Window(*(_two(pair) for pair in (size, stride, padding, dilation, output)))
    return pac_torch.correlate(features, window)


@torch.library.custom_op("visagist::adaptive_kernel_backward", mutates_args=())
def _correlate_backward(
    grad: Tensor,
    features: Tensor,
    kernel: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    output = kernel.shape[-2:]
    window = Window(*(_two(pair) for pair in (size, stride, padding, dilation, output)))
    return pac_torch.correlate_backward(grad.contiguous(), features, kernel, window)


@convolve.register_fake
def _(x: Tensor, kernel: Tensor, weight: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *kernel.shape[-2:])


@_convolve_backward.register_fake
def _(
    _: Tensor, x: Tensor, kernel: Tensor, weight: Tensor, *settings: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    pairs = zip((x, kernel, weight), settings[-1], strict=True)
    a, b, c = (one.new_empty(one.shape if needed else 0) for one, needed in pairs)
    return a, b, c


@correlate.register_fake
def _(features: Tensor, size: Sequence[int], *settings: Sequence[int]) -> Tensor:
    return features.new_empty(features.shape[0], size[0] * size[1], *settings[-1])


@_correlate_backward.register_fake
def _(_: Tensor, features: Tensor, *__: object) -> Tensor:
    return features.new_empty(features.shape)


def _keep_of_convolve(
    ctx: Any,
    inputs: tuple[Any, ...],
    output: Tensor,  # noqa: ARG001 - torch gives it by this name
) -> None:
    x, kernel, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(x, kernel, weight)


def _gradients_of_convolve(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, kernel, weight = ctx.saved_tensors
    *wanted, of_bias = ctx.needs_input_grad[:4]
    found: Sequence[Tensor | None] = (None, None, None)
    if any(wanted):
        given = _convolve_backward(grad, x, kernel, weight, *ctx.settings, wanted)
        found = [one if needed else None for one, needed in zip(given, wanted, strict=True)]
    return *found, grad.sum((0, 2, 3)) if of_bias else None, None, None, None


def _keep_of_correlate(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, *settings, _ = inputs
    ctx.settings = settings
    ctx.save_for_backward(features, output)


def _gradients_of_correlate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    found = _correlate_backward(grad, *ctx.saved_tensors, *ctx.settings)
    return found, None, None, None, None, None


convolve.register_autograd(_gradients_of_convolve, setup_context=_keep_of_convolve)
correlate.register_autograd(_gradients_of_correlate, setup_context=_keep_of_correlate)


@register_flop_formula(torch.ops.visagist.pixel_adaptive_conv2d)
def _flops_of_convolve(
    x: Sequence[int], kernel: Sequence[int], weight: Sequence[int], *_: object, **__: object
) -> int:
    """Two for each multiply-add of the convolution, and one for each adapted tap."""
    pixels = kernel[0] * kernel[2] * kernel[3]
    taps = kernel[1] * x[1]
    return pixels * taps * (2 * weight[0] + 1)


@register_flop_formula(torch.ops.visagist.adaptive_kernel)
def _flops_of_correlate(
    features: Sequence[int], size: Sequence[int], *_: Any, **kwargs: Any
) -> int:
    """Two for each multiply-add of the products of features."""
    height, width = kwargs["out_shape"][-2:]
    return 2 * features[0] * features[1] * size[0] * size[1] * height * width


def _window(
    kernel: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Window:
    places = (weight.shape[-2:], stride, padding, dilation, kernel.shape[-2:])
    return Window(*(_two(pair) for pair in places))


def _two(numbers: Sequence[int]) -> tuple[int, int]:
    return numbers[0], numbers[1]
