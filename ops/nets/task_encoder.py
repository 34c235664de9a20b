"""Res2Net's blocks, and the encoders and the decoder that NASFE makes of them.

The supplement of the paper that describes them was not to be had: what is given is that there are
three encoders and a decoder, and how many parameters all have. The blocks are those of which the
authors' other networks are made.
"""

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import SLOPE, Merge, centred, convolution, cropped, group_norm, pad_to_multiple

MULTIPLE: Final = 8  # of pixels, which the sides of an image are padded to
WIDTHS: Final = (32, 64, 128, 256)
_PARTS: Final = 4  # of a block's channels, each seeing a wider surrounding than the one before


class Res2NetBlock(nn.Module):
    """x + what a chain of 3x3 convolutions adds, each fed by a quarter and the one before.

    Res2Net's block (Gao et al., 2019) with normalisation and rectification before convolutions.
    Its last convolution starts small, so that a fresh stack of blocks is close to the identity.
    What is added may be of any strength, for brightness has to get through; the searched operator
    `ops.nets.operators.Res2Block` normalises it, so that none wins by being loud.

    Args:
        channels: of the features; a multiple of 4.

    Raises:
        ValueError: if `channels` is none.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < _PARTS or channels % _PARTS:
            raise ValueError(f"a Res2Net block needs a multiple of {_PARTS} channels: {channels}")
        part = channels // _PARTS
        self.norm = group_norm(channels)
        self.enter = convolution(channels, channels, 1)
        self.chain = nn.ModuleList(convolution(part, part) for _ in range(_PARTS - 1))
        self.leave = convolution(channels, channels, 1)
        with torch.no_grad():
            self.leave.weight.mul_(0.1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The refined features, same shape."""
        first, *parts = _rectified(self.enter(_rectified(self.norm(x)))).chunk(_PARTS, 1)
        found = [first]
        for layer, part in zip(self.chain, parts, strict=True):
            seen = part if len(found) == 1 else part + found[-1]
            found.append(_rectified(layer(seen)))
        return x + self.leave(torch.cat(found, 1))


class TaskEncoder(nn.Module):
    """E_B, E_N or E_L: features of an image at a quarter of its size.

    Levels down to an eighth of the size, which is merged into the quarter.

    Args:
        channels: of the features.
        widths: channels of the levels, finest first.
        blocks: how many Res2Net blocks each of them has, the quarter one more after the merge.

    Raises:
        ValueError: if there are not four of both, or a width is no multiple of 4.
    """

    def __init__(
        self,
        channels: int = 32,
        widths: tuple[int, ...] = WIDTHS,
        blocks: tuple[int, ...] = (1, 1, 4, 4),
    ) -> None:
        super().__init__()
        if not len(widths) == len(blocks) == 4:
            raise ValueError(f"an encoder has four levels, got widths {widths} and blocks {blocks}")
        before, strides = (3, *widths[:3]), (1, 2, 2, 2)
        self.steps = nn.ModuleList(map(_step, before, widths, strides))
        self.levels = nn.ModuleList(map(_stack, widths, blocks))
        self.merge = Merge(widths[3], widths[2])
        self.head = nn.Sequential(Res2NetBlock(widths[2]), linear_convolution(widths[2], channels))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h4 w4"]:
        """The features of an image in [0, 1], whose sides must be multiples of 8."""
        x, maps = centred(image), []
        for step, level in zip(self.steps, self.levels, strict=True):
            x = level(step(x))
            maps.append(x)
        return self.head(self.merge(maps[3], maps[2]))


class Decoder(nn.Module):
    """De: a face from features at a quarter of its size.

    Args:
        channels: of the features.
        widths: channels at the whole, the half and the quarter of the size.
        blocks: how many Res2Net blocks each of them has.

    Raises:
        ValueError: if there are not three of both, or a width is no multiple of 4.
    """

    def __init__(
        self,
        channels: int = 32,
        widths: tuple[int, ...] = WIDTHS[:3],
        blocks: tuple[int, ...] = (1, 2, 6),
    ) -> None:
        super().__init__()
        if not len(widths) == len(blocks) == 3:
            raise ValueError(f"a decoder has three levels, got widths {widths} and blocks {blocks}")
        layers: list[nn.Module] = []
        for level, inputs in ((2, channels), (1, widths[2]), (0, widths[1])):
            width = widths[level]
            layers += [linear_convolution(inputs, width), _stack(width, blocks[level])]
            layers += [nn.Upsample(scale_factor=2)] if level else []
        self.layers = nn.Sequential(*layers)
        self.head = convolution(widths[0], 3)
        with torch.no_grad():
            self.head.weight.mul_(0.1)  # training starts near grey

    def forward(self, features: Float[Tensor, "b c h4 w4"]) -> Float[Tensor, "b 3 h w"]:
        """The image, around [0, 1], at four times the size of the features."""
        return 0.5 + self.head(_rectified(self.layers(features)))


class TaskAutoencoder(nn.Module):
    """One encoder with a decoder of its own, to be trained for one degradation before the whole.

    Args:
        encoder: which NASFE is to start from.
        decoder: of no use afterwards.
    """

    def __init__(self, encoder: TaskEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The restored image, not clamped, for an image in [0, 1] of any size from 8 x 8.

        Raises:
            ValueError: if a side is too short to be reflected to a multiple of 8.
        """
        height, width = image.shape[-2:]
        restored = self.decoder(self.encoder(pad_to_multiple(image, MULTIPLE)))
        return cropped(restored, height, width)


def _stack(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Res2NetBlock(channels) for _ in range(count)))


def linear_convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution of what is not rectified, whose variance it keeps."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _step(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return linear_convolution(inputs, outputs, stride=stride)


def _rectified(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)
