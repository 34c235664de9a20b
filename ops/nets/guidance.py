"""What guides ISPL's generator: a prior that is learned, or an explicit one that is given.

Each prior is made for the widths of the generator's levels and says in `channels` how many
channels it guides each level with, innermost first, and in `needs_parsing` whether it is guided by
a parsing map, which comes beside the image.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.dispatch import exporting
from ops.nets.blocks import centred, convolution, cropped
from ops.nets.subspace import AdaptiveConvolution, Embedding, Maps, UNet

HELD = 0.5  # Section 3.6


class Guidance(NamedTuple):
    """Where the generator starts, and what guides it from there.

    Attributes:
        start: x_0.
        maps: f_0 to f_{n-1}, each at the size of its level.
    """

    start: Tensor
    maps: list[Tensor]

    def scaled(self, strength: float) -> "Guidance":
        """The guidance with its maps multiplied by `strength`."""
        if strength == 1:
            return self
        return Guidance(self.start, [strength * guide for guide in self.maps])

    def held(self, levels: Collection[int]) -> "Guidance":
        """The guidance with 0.5 everywhere at `levels`, 0 the innermost (ISPL Section 3.6).

        Holding level 0 holds the start as well, which is that level's embedding.

        Raises:
            ValueError: if there is no such level.
        """
        if not set(levels) <= set(range(len(self.maps))):
            raise ValueError(f"levels to hold must be in 0..{len(self.maps) - 1}, got {levels}")
        start = torch.full_like(self.start, HELD) if 0 in levels else self.start
        maps = [
            torch.full_like(guide, HELD) if level in levels else guide
            for level, guide in enumerate(self.maps)
        ]
        return Guidance(start, maps)


class Implicit(nn.Module):
    """Embeddings of the image itself, fused level by level; x_0 = y_0.

    Args:
        widths: channels of the levels, finest first.
        fusion: gives the fusion for the channels of the embeddings, innermost first: UNet, Y0,
            Concat, Matrix or Unguided of ops.nets.subspace.
        conv: gives a convolution of the embedding; `ops.nets.subspace.plain_convolution` for the
            rows of Table 1 without PAC.
    """

    needs_parsing = False

    def __init__(
        self,
        widths: tuple[int, ...],
        fusion: Callable[[tuple[int, ...]], nn.Module] = UNet,
        conv: Callable[[int, int], nn.Module] = AdaptiveConvolution,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(widths, conv)
        self.fusion = fusion(tuple(reversed(widths)))
        self.channels: tuple[int, ...] = self.fusion.channels  # type: ignore[assignment]

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        parsing: Float[Tensor, "b k h w"] | None = None,
    ) -> Guidance:
        """Start and guidance for an image in [0, 1]; a parsing map is not looked at."""
        embeddings: Maps = self.embedding(centred(image))
        return Guidance(embeddings[0], self.fusion(embeddings))


class EP16x(nn.Module):
    """The image in mosaic instead of embeddings (EP-16x of Table 1, SPADE's architecture).

    Args:
        widths: channels of the levels, finest first.
        block: side of a tile of the mosaic, in pixels.
    """

    needs_parsing = False

    def __init__(self, widths: tuple[int, ...], block: int = 16) -> None:
        super().__init__()
        self.block = block
        self.channels = (3,) * len(widths)
        self.start = convolution(3, widths[-1])

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        parsing: Float[Tensor, "b k h w"] | None = None,
    ) -> Guidance:
        """Start and guidance for an image in [0, 1]; a parsing map is not looked at."""
        tiles = mosaic_tiles(centred(image), self.block)
        tiled = F.interpolate(tiles, scale_factor=float(self.block), mode="nearest")
        maps = pyramid(cropped(tiled, *image.shape[-2:]), len(self.channels))
        return Guidance(self.start(maps[0]), maps)


class EPMap(nn.Module):
    """A face parsing map instead of embeddings (EP-map of Table 1, SPADE's architecture).

    Args:
        widths: channels of the levels, finest first.
        classes: channels of the parsing map, the probability of one class each.
    """

    needs_parsing = True

    def __init__(self, widths: tuple[int, ...], classes: int = 19) -> None:
        super().__init__()
        self.classes = classes
        self.channels = (classes,) * len(widths)
        self.start = convolution(classes, widths[-1])

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        parsing: Float[Tensor, "b k h w"] | None = None,
    ) -> Guidance:
        """Start and guidance of the parsing map alone; the image is not looked at.

        Raises:
            ValueError: if there is no parsing map, or it has other classes than expected.
        """
        if parsing is None:
            raise ValueError(
                "EPMap is guided by a face parsing map and got none: use data that bring one "
                "with each image, or another prior"
            )
        if parsing.shape[1] != self.classes:
            raise ValueError(
                f"parsing maps of {self.classes} classes wanted, got {parsing.shape[1]}"
            )
        maps = pyramid(parsing, len(self.channels))
        return Guidance(self.start(maps[0]), maps)


def mosaic_tiles(x: Float[Tensor, "b c h w"], block: int) -> Float[Tensor, "b c h2 w2"]:
    """The mean of each tile of `block` by `block` pixels; at the end, of those that are there."""
    if not exporting():
        return F.avg_pool2d(x, block, ceil_mode=True)
    # A sum over the whole tile and the share of it that is there: no size decides anything.
    # Of nothing negative: ONNX divides towards 0.
    down, right = ((side + block - 1) // block * block - side for side in x.shape[-2:])
    ends = 0, right, 0, down
    there = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), ends), block)
    return F.avg_pool2d(F.pad(x, ends), block) / there


def pyramid(x: Float[Tensor, "b c h w"], levels: int) -> Maps:
    """`x` at the sizes of all levels, innermost first, by bilinear x2 sampling."""
    maps = [x]
    for _ in range(levels - 1):
        maps.append(F.avg_pool2d(maps[-1], 2))
    return maps[::-1]
