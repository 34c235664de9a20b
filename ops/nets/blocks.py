"""Convolution blocks that several networks share. None uses batch statistics: batches may be 1."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.dispatch import exporting

SLOPE = 0.2  # of every leaky ReLU


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (at stride 1), initialised for leaky ReLUs behind it."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def zero_convolution(inputs: int, outputs: int, bias: float = 0.0) -> nn.Conv2d:
    """A 3x3 convolution whose output is `bias` everywhere until it is trained."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in groups of eight channels or more, at most eight groups.

    A group of one channel would lose the mean of that channel, and with it the brightness of
    the image.
    """
    return nn.GroupNorm(math.gcd(channels, max(1, min(8, channels // 8))), channels)


def centred(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """An image of [0, 1] in [-1, 1]: around 0 networks stand larger learning rates."""
    return 2 * image - 1


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(norm(x))))), through `hidden` channels in the middle.

    The second convolution starts small, so that a fresh stack of blocks is close to the identity.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.first = convolution(channels, hidden)
        self.second = convolution(hidden, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The refined features, same shape."""
        hidden = self.first(F.leaky_relu(self.norm(x), SLOPE))
        return x + self.second(F.leaky_relu(hidden, SLOPE))


class Encoder(nn.Module):
    """Feature maps at one level per width; the first `downs` steps between levels halve the size.

    Args:
        widths: channels of the levels, finest first.
        downs: how many of the steps between levels halve the size.
        inputs: channels of the input.

    Raises:
        ValueError: if there are not enough levels for `downs`.
    """

    def __init__(self, widths: tuple[int, ...], downs: int = 3, inputs: int = 3) -> None:
        super().__init__()
        if not 0 <= downs < len(widths):
            raise ValueError(f"downs must be in [0, {len(widths) - 1}] for {widths}, got {downs}")
        self.stride = 2**downs
        strides = [1] + [2] * downs + [1] * (len(widths) - 1 - downs)
        before = (inputs, *widths[:-1])
        self.steps = nn.ModuleList(
            convolution(a, b, 1 if a == b and s == 1 else 3, s)
            for a, b, s in zip(before, widths, strides, strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, width // 2) for width in widths)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of all levels, finest first; h and w must be multiples of `stride`."""
        maps, x = [], image
        for step, block in zip(self.steps, self.blocks, strict=True):
            x = block(step(x))
            maps.append(x)
        return maps


class Merge(nn.Module):
    """A coarse map brought to the size and width of a fine one and added to it."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        # 1x1 before the enlargement: a quarter of the work of 1x1 after it, and the same result.
        self.project = convolution(coarse, fine, 1)

    def forward(
        self, coarse: Float[Tensor, "b c h w"], fine: Float[Tensor, "b d h2 w2"]
    ) -> Float[Tensor, "b d h2 w2"]:
        """The sum, at the size of `fine`."""
        return fine + enlarge(self.project(coarse), fine)


def enlarge(
    x: Float[Tensor, "b c h w"], like: Float[Tensor, "b _ h2 w2"]
) -> Float[Tensor, "b c h2 w2"]:
    """`x` at the size of `like`, by nearest neighbour; itself where the size is already right."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


def shrink(x: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c h2 w2"]:
    """`x` at a smaller size by area averages: the mean of the whole map is kept."""
    return F.adaptive_avg_pool2d(x, (height, width))


def pad_to_multiple(x: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c h2 w2"]:
    """`x` reflected at its lower and right border until both sides are multiples of `multiple`.

    While exported nothing is refused, for one program serves every size.

    Raises:
        ValueError: if a side is too short to be reflected that far.
    """
    if exporting():
        return _reflected(_reflected(x, 2, multiple), 3, multiple)
    height, width = x.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if down >= height or right >= width:
        raise ValueError(
            f"a side of {height}x{width} is too short for a multiple of {multiple}: enlarge it"
        )
    return F.pad(x, (0, right, 0, down), mode="reflect") if down or right else x


def cropped(x: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c h2 w2"]:
    """The upper left of `x`: undoes `pad_to_multiple`."""
    if not exporting():
        return x[..., :height, :width]
    # Of a slice torch.export wants to know whether it is the whole, and takes that for a rule.
    rows = x.index_select(2, torch.arange(height, device=x.device))
    return rows.index_select(3, torch.arange(width, device=x.device))


def _reflected(x: Tensor, axis: int, multiple: int) -> Tensor:
    """`x` reflected at the end of one axis, without a branch on its length."""
    length = x.shape[axis]
    # Of nothing negative: ONNX divides towards 0.
    whole = (length + multiple - 1) // multiple * multiple
    place = torch.arange(whole, device=x.device)
    return x.index_select(axis, torch.where(place < length, place, 2 * (length - 1) - place))
