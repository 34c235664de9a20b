"""Restoration by implicit subspace priors, ISPL (Yang et al., 2020), after the text.

What the authors released is another network, without pixel-adaptive convolution and without
guidance by embeddings; it is in ops/nets/hifacegan.py.
"""

import itertools
import math
from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ops.kernels.spade import SpatiallyAdaptiveNorm
from ops.nets.blocks import SLOPE, convolution, cropped, pad_to_multiple
from ops.nets.guidance import Guidance, Implicit

MODULATION = 128  # widest layer between a guide and its scale and shift


class AdaptiveBlock(nn.Module):
    """A residual block whose two normalisations are modulated by a guide (G_i).

    Args:
        inputs: channels of the features.
        outputs: channels of the result.
        guide: channels of the guide.
    """

    def __init__(self, inputs: int, outputs: int, guide: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.first_norm = SpatiallyAdaptiveNorm(inputs, guide, min(MODULATION, inputs))
        self.first = convolution(inputs, middle)
        self.first.bias = None  # the next normalisation would take it away
        self.second_norm = SpatiallyAdaptiveNorm(middle, guide, min(MODULATION, middle))
        self.second = convolution(middle, outputs)
        self.shortcut = _projection(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b c h w"], guide: Float[Tensor, "b g h w"]
    ) -> Float[Tensor, "b d h w"]:
        """Features of about the same variance, at the same size."""
        hidden = self.first(F.leaky_relu(self.first_norm(x, guide), SLOPE))
        hidden = self.second(F.leaky_relu(self.second_norm(hidden, guide), SLOPE))
        return (self.shortcut(x) + hidden) * math.sqrt(0.5)


class Generator(nn.Module):
    """An image from a start and the guidance of each level (G_HQ).

    Level i turns x_i, which has the width of y_i, into x_{i+1} of the next level's; bilinear x2
    sampling lies between levels.

    Args:
        widths: channels of the levels, finest first.
        guides: channels of their guidance, innermost first.
        checkpointing: keep only what goes into each level for the backward pass, and compute the
            rest again there; for training at sizes that do not fit otherwise.
    """

    def __init__(
        self, widths: tuple[int, ...], guides: tuple[int, ...], checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        steps = itertools.pairwise([*reversed(widths), widths[0]])
        self.blocks = nn.ModuleList(
            AdaptiveBlock(a, b, guide) for (a, b), guide in zip(steps, guides, strict=True)
        )
        self.head = image_head(widths[0])

    def forward(self, guidance: Guidance) -> Float[Tensor, "b 3 h w"]:
        """The image in (-1, 1), at the size of the finest guide."""
        x = guidance.start
        for level, (block, guide) in enumerate(zip(self.blocks, guidance.maps, strict=True)):
            if level:
                x = F.interpolate(x, size=guide.shape[-2:], mode="bilinear", align_corners=False)
            x = self._through(block, x, guide)
        return torch.tanh(self.head(F.leaky_relu(x, SLOPE)))

    def _through(self, block: nn.Module, x: Tensor, guide: Tensor) -> Tensor:
        if not self.checkpointing:
            return block(x, guide)
        result: Tensor = checkpoint(block, x, guide, use_reentrant=False)
        return result


class ISPL(nn.Module):
    """Restores a face from any degradation, guided by what it embeds of it (Definition 2, Eq. 7).

    Another prior makes another row of Table 1: Implicit with its fusions and convolutions, EP16x
    or EPMap. ops.nets.hifacegan.LipPrior and its generator together are the released network.

    The ISP(k, n) of Definition 1, which starts at y_k and is not guided, is this network with the
    n - k finest of its widths and the fusion Unguided: the k inner levels "are not actually
    implemented in practice". ISP(0, 1) has no subspace at all.

    Deviation: the paper counts five levels, doubles 64 channels "after each layer (up to 1024)",
    and wants 512 px at 16x16 in the innermost. That takes five steps of x2, so that there are six
    maps, as in the released code; the last step keeps 1024 channels
    (`test_the_published_network_starts_from_sixteen_by_sixteen`).

    Attributes:
        multiple: what the sides of an image are padded to a multiple of, by reflection.

    Args:
        widths: channels of the levels, finest first; each halves the size of the one before.
        prior: gives start and guidance, for the widths.
        generator: gives the generator for the widths and the channels of the guidance.

    Raises:
        ValueError: if there are no widths.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024),
        prior: Callable[[tuple[int, ...]], nn.Module] = Implicit,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], nn.Module] = Generator,
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError("an ISPL network needs at least one level, got no widths")
        self.multiple = 2 ** (len(widths) - 1)
        self.prior = prior(tuple(widths))
        self.generator = generator(tuple(widths), self.prior.channels)  # type: ignore[arg-type]

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        parsing: Float[Tensor, "b k h w"] | None = None,
        strength: float = 1.0,
        held: Collection[int] = (),
    ) -> Float[Tensor, "b 3 h w"]:
        """The restored image in [0, 1].

        Args:
            image: degraded image in [0, 1], of any size of more than one pixel at the innermost
                level: with six levels above 32x32.
            parsing: its face parsing map, where the prior asks for one.
            strength: what the guidance is multiplied by. This is ours: the paper promises a
                trade-off between perception and distortion without naming what to turn.
            held: levels, 0 the innermost, whose guidance is 0.5 everywhere; all but one show
                what that one holds, all above one what is restored up to it (Fig. 5).

        Raises:
            ValueError: if the image is too small, a level to hold does not exist, or the prior
                misses its parsing map.
        """
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.multiple)
        if padded.shape[-2] * padded.shape[-1] <= self.multiple**2:
            raise ValueError(
                f"an image of {height}x{width} is a single pixel at the innermost of these levels: "
                f"it must be larger than {self.multiple}x{self.multiple}, or the levels fewer"
            )
        labels = None if parsing is None else pad_to_multiple(parsing, self.multiple)
        guidance: Guidance = self.prior(padded, labels)
        restored = self.generator(guidance.scaled(strength).held(held))
        return (cropped(restored, height, width) + 1) / 2


def image_head(width: int) -> nn.Conv2d:
    """The convolution to RGB, small at first so that no tanh behind it is saturated."""
    head = convolution(width, 3)
    with torch.no_grad():
        head.weight.mul_(0.3)
    return head


def _projection(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution that keeps the variance of what is not rectified."""
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
