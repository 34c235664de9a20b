"""The conditional PatchGAN at several scales of pix2pixHD (Wang et al., CVPR 2018), as ISPL's D."""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ops.nets.blocks import SLOPE, centred


class Judgement(NamedTuple):
    """What a discriminator says of an image.

    Attributes:
        logits: (b, 1, h, w), one a patch; least squares pull them to 1 for real, 0 for fake.
        maps: the features that led there, the first layer's first; what is compared by feature
            matching, to which the logits do not belong.
    """

    logits: Tensor
    maps: list[Tensor]


class PatchDiscriminator(nn.Module):
    """Real or not, patch by patch.

    4x4 convolutions under spectral normalisation; all but the first and the last are followed by
    instance normalisation, and all but the last two halve the size. The power iterations of the
    spectral norms move their buffers at each forward in training mode, and rest in evaluation.

    Args:
        inputs: channels of what is judged.
        widths: channels of the layers before the last one.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.stem = _convolution(inputs, widths[0], 2)
        strides = [2] * (len(widths) - 2) + [1]
        self.layers = nn.ModuleList(
            _convolution(a, b, stride, bias=False)
            for (a, b), stride in zip(itertools.pairwise(widths), strides, strict=True)
        )
        self.head = _convolution(widths[-1], 1, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Judgement:
        """The logits and the maps of all layers before them."""
        maps = [F.leaky_relu(self.stem(x), SLOPE)]
        for layer in self.layers:
            maps.append(F.leaky_relu(F.instance_norm(layer(maps[-1])), SLOPE))
        return Judgement(self.head(maps[-1]), maps)


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators for an image and smaller versions of it, told what it was made of.

    Args:
        scales: number of discriminators; each sees half the size of the one before.
        widths: channels of the layers of each.

    Raises:
        ValueError: if there is no scale, or fewer than two widths.
    """

    def __init__(self, scales: int = 2, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        if scales < 1 or len(widths) < 2:
            raise ValueError(
                f"a discriminator needs a scale and two widths, got {scales} scales and {widths}"
            )
        self.judges = nn.ModuleList(PatchDiscriminator(3 + 3, widths) for _ in range(scales))
        self.smallest = 2**scales

    def forward(
        self, image: Float[Tensor, "b 3 h w"], condition: Float[Tensor, "b 3 h w"]
    ) -> list[Judgement]:
        """A judgement at each scale, the full size first.

        Args:
            image: real or restored image in [0, 1].
            condition: degraded image in [0, 1] that it belongs to.

        Raises:
            ValueError: if the image is too small for the coarsest scale.
        """
        if min(image.shape[-2:]) < self.smallest:
            raise ValueError(
                f"{len(self.judges)} scales need sides of {self.smallest} pixels or more, "
                f"got {image.shape[-2]}x{image.shape[-1]}"
            )
        x, judgements = torch.cat([centred(image), centred(condition)], dim=1), []
        for judge in self.judges:
            judgements.append(judge(x))
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return judgements


def _convolution(inputs: int, outputs: int, stride: int, bias: bool = True) -> nn.Module:
    """A 4x4 convolution with a border of two pixels: no map ever shrinks to a single one."""
    return spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, padding=2, bias=bias))
