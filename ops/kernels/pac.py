"""Pixel-adaptive convolution: a convolution whose taps are weighted anew at every pixel.

Paper: ISPL, "Implicit Subspace Prior Learning for Dual-Blind Face Restoration", Section 3.4, after
Su et al., "Pixel-Adaptive Convolutional Neural Networks" (CVPR 2019). Written from the equations;
the code that the authors of ISPL released has no such layer.
"""

from typing import cast, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.bands import Padding, Pair, Window, pair, sliding_window
from ops.kernels.dispatch import exporting
from ops.kernels.pac_operators import convolve, correlate


def pixel_adaptive_conv2d(
    x: Float[Tensor, "b c_in h w"],
    kernel: Float[Tensor, "b taps h_out w_out"],
    weight: Float[Tensor, "c_out c_in k_y k_x"],
    bias: Float[Tensor, " c_out"] | None = None,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
) -> Float[Tensor, "b c_out h_out w_out"]:
    r"""The convolution of `x` whose taps are weighted by `kernel` at each place (ISPL Eq. 8).

    .. math:: E_{LQ}(p) = \sum_{q \in \Omega(p)} \phi(y(q), y(p)) \, w_{\Delta qp} \, y(q)

    Where all tap weights are 1 it is `nn.functional.conv2d`. Taps outside the map see zeros. The
    k^2-fold columns of the map exist in no pass, only a small tile of them at a time. Under
    autocast it computes in autocast's dtype, as a convolution does. It has first derivatives only.

    While exported it is a sum of k^2 weighted 1 x 1 convolutions, so that the program needs no
    operator of ours.

    Args:
        x: the features y(q); any memory format.
        kernel: phi, shared by the channels; taps by row, then column, k_y k_x = taps.
        weight: w.
        bias: added to every channel; the equation has none.
        stride: as in `nn.Conv2d`.
        padding: as in `nn.Conv2d`, zeros only.
        dilation: as in `nn.Conv2d`.

    Raises:
        ValueError: if a setting is out of range, or shapes, dtypes or devices do not fit together.
    """
    window = sliding_window(x.shape[-2:], weight.shape[-2:], stride, padding, dilation)
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
        x, kernel, weight = x.to(dtype), kernel.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    _check(x, kernel, weight, bias, window)
    if exporting():
        return _by_taps(x, kernel, weight, bias, window)
    return convolve(x, kernel, weight, bias, window.stride, window.padding, window.dilation)


def _check(x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> None:
    wanted = (x.shape[0], window.taps, *window.output)
    if tuple(kernel.shape) != wanted:
        raise ValueError(
            f"kernel must be (b, taps, h_out, w_out) = {wanted} for x {tuple(x.shape)} and weight "
            f"{tuple(weight.shape)}, got {tuple(kernel.shape)}"
        )
    if not x.shape[1] or x.shape[1] != weight.shape[1]:
        raise ValueError(f"weight is for {weight.shape[1]} channels, got x with {x.shape[1]}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have {len(weight)} numbers, got shape {tuple(bias.shape)}")
    given = [tensor for tensor in (x, kernel, weight, bias) if tensor is not None]
    if len({(one.dtype, one.device) for one in given}) > 1:
        found = ", ".join(f"{one.dtype} on {one.device}" for one in given)
        raise ValueError(
            f"x, kernel, weight and bias must share one dtype and device, got {found}; convert them"
        )


def _by_taps(
    x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor | None, window: Window
) -> Tensor:
    total = x.new_zeros(1) if bias is None else bias[:, None, None]
    for tap, shifted in enumerate(_shifted(x, window)):
        row, column = divmod(tap, window.size[1])
        seen = F.conv2d(shifted, weight[:, :, row, column, None, None])
        # A sum over channels: the tap weight that they share can as well come after it.
        total = total + seen * kernel[:, tap, None]
    return total


def _correlate_by_taps(features: Tensor, window: Window) -> Tensor:
    maps = _shifted(features, window)
    centre = maps[window.taps // 2]
    dots = torch.stack([(centre * shifted).sum(1) for shifted in maps], 1)
    return torch.tanh(dots / features.shape[1] ** 0.5)


def _shifted(x: Tensor, window: Window) -> list[Tensor]:
    """For every tap, what it sees at each place."""
    (rows, columns), (down, right) = window.output, window.stride
    ends = window.ends()
    top, left = window.padding
    padded = F.pad(x, (left, ends[1] - x.shape[3], top, ends[0] - x.shape[2]))
    return [
        padded[
            :,
            :,
            y * window.dilation[0] : y * window.dilation[0] + (rows - 1) * down + 1 : down,
            z * window.dilation[1] : z * window.dilation[1] + (columns - 1) * right + 1 : right,
        ]
        for y in range(window.size[0])
        for z in range(window.size[1])
    ]


def adaptive_kernel(
    features: Float[Tensor, "b d h w"],
    kernel_size: int | Pair,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
) -> Float[Tensor, "b taps h_out w_out"]:
    r"""How alike each place's features are to those at each of its taps (ISPL Eq. 9).

    .. math:: \phi(y_p, y_q) = \tanh(g(y_p)^T g(y_q) / \sqrt D)

    In (-1, 1), by row and then column of the taps. Neither normalised over the taps nor 1 at the
    place itself. A tap or a place outside the map has features 0 and so weight 0; the paper says
    nothing of it, and `pixel_adaptive_conv2d` multiplies it by a 0 anyway.

    Deviation: Eq. 9 has no square root of D. Without it the sum grows with D until tanh is flat
    (`test_tap_weights_keep_their_spread_whatever_the_number_of_features`).

    Args:
        features: g(y) of every pixel.
        kernel_size: odd, so that a window has a middle, p.
        stride: of the convolution that the weights are for, as are `padding` and `dilation`.
        padding: see `pixel_adaptive_conv2d`.
        dilation: see `pixel_adaptive_conv2d`.

    Raises:
        ValueError: if `kernel_size` is even, there are no features, or a setting is out of range.
    """
    size = pair(kernel_size, "kernel_size", 1)
    if not (size[0] % 2 and size[1] % 2):
        raise ValueError(f"kernel_size must be odd, so that it has a middle, got {kernel_size}")
    if not features.shape[1]:
        raise ValueError("features must have one channel or more, got 0")
    window = sliding_window(features.shape[-2:], size, stride, padding, dilation)
    if exporting():
        return _correlate_by_taps(features, window)
    return correlate(
        features, window.size, window.stride, window.padding, window.dilation, window.output
    )


@final
class PixelAdaptiveConv2d(nn.Module):
    """A convolution whose tap weights are learned from a guide (ISPL Eq. 8 and 9).

    The small MLP g on every pixel of the guide has one hidden layer as wide as its output. The
    paper gives neither that nor D. It starts out with all tap weights inside the map near
    tanh(1) = 0.76, about a plain convolution, instead of near 0, where little would come through
    (`test_the_layer_starts_out_near_a_plain_convolution`).

    Args:
        in_channels: of the features to filter.
        out_channels: of the result.
        kernel_size: odd.
        stride: as in `nn.Conv2d`.
        padding: as in `nn.Conv2d`, zeros only.
        dilation: as in `nn.Conv2d`.
        guide_channels: of the guide; `in_channels` by default, as the paper's guide is the input.
        features: D; max(8, guide_channels // 8) by default.

    Raises:
        ValueError: if `kernel_size` is even or a number of channels is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair = 3,
        stride: int | Pair = 1,
        padding: Padding = 1,
        dilation: int | Pair = 1,
        guide_channels: int | None = None,
        features: int | None = None,
    ) -> None:
        super().__init__()
        guide_channels = in_channels if guide_channels is None else guide_channels
        features = max(8, guide_channels // 8) if features is None else features
        counts = in_channels, out_channels, guide_channels, features
        if min(counts) < 1:
            raise ValueError(
                "in_channels, out_channels, guide_channels and features must be 1 or more, "
                f"got {counts}"
            )
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        if not (self.kernel_size[0] % 2 and self.kernel_size[1] % 2):
            raise ValueError(f"kernel_size must be odd, so that it has a middle, got {kernel_size}")
        self.stride, self.padding, self.dilation = stride, padding, dilation
        plain = nn.Conv2d(in_channels, out_channels, self.kernel_size)
        self.weight, self.bias = plain.weight, plain.bias
        self.project = nn.Sequential(
            nn.Conv2d(guide_channels, features, 1),
            nn.ReLU(),
            _near_1(nn.Conv2d(features, features, 1)),
        )

    def forward(
        self, x: Float[Tensor, "b c_in h w"], guide: Float[Tensor, "b c_guide h w"]
    ) -> Float[Tensor, "b c_out h_out w_out"]:
        """`x` filtered under the guidance of `guide`."""
        settings = self.stride, self.padding, self.dilation
        kernel = adaptive_kernel(self.project(guide), self.kernel_size, *settings)
        return pixel_adaptive_conv2d(x, kernel, self.weight, self.bias, *settings)


def _near_1(projection: nn.Conv2d) -> nn.Conv2d:
    """The last layer of g with products near 1: a constant of length D^(1/4) and little else."""
    with torch.no_grad():
        projection.weight.mul_(0.1)
        cast("Tensor", projection.bias).fill_(projection.out_channels**-0.25)
    return projection
