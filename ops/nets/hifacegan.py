"""The network that the authors of ISPL released, LIPSPADE, as prior and generator of ISPL.

Written after a description of the released code, which departs from the paper: pooling with
learned weights stands where pixel-adaptive convolution should be, the embedding is only where the
generator starts, and the degraded image itself guides every level. So the two readings can be
compared: `ISPL(widths, LipPrior, SpectralGenerator)` has 120.2 million parameters and takes
1.192 TFLOP at 512 px, the released one 120.3 and 1.19
(`test_it_has_the_parameters_and_the_work_of_the_released_network`).

Deviation: normalisation is over the pixels of one image, not over a batch of one or two; images
are in [-1, 1] inside, where the released network ends a range of [0, 1] in a tanh and clips the
rest; scales start at 1 and not near 0 (see `ops.kernels.spade.SpatiallyAdaptiveNorm`); a bias that
the next normalisation takes away is left out.
"""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ops.kernels.spade import SpatiallyAdaptiveNorm
from ops.nets.blocks import SLOPE, centred
from ops.nets.guidance import Guidance, pyramid
from ops.nets.ispl import MODULATION, image_head

STEEPNESS = 12.0  # a pixel can weigh e^12 times another


def importance_pool(
    x: Float[Tensor, "b c h w"], importance: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h2 w2"]:
    r"""Means of 3x3 pixels, two pixels apart, weighted by e to the power of `importance`.

    .. math:: \frac{\sum_q x_q e^{l_q}}{\sum_q e^{l_q}}

    Pixels outside have no weight. The largest power in sight is taken off all of them first,
    which changes nothing but keeps them in the range of half-precision numbers.
    """
    weights = torch.exp(importance - importance.amax(dim=(2, 3), keepdim=True))
    total = F.avg_pool2d(weights * x, 3, 2, 1)
    return total / F.avg_pool2d(weights, 3, 2, 1)


class ImportancePool(nn.Module):
    """Halves the size of features by means whose weights are learned (LIP, Gao et al., 2019).

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """The pooled features."""
        return importance_pool(x, STEEPNESS * torch.sigmoid(self.norm(self.conv(x))))


class LipPrior(nn.Module):
    """Starts from the innermost features of the image and guides by the image itself.

    Attributes:
        channels: of the guidance of each level.

    Args:
        widths: channels of the levels, finest first.
    """

    needs_parsing = False

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = (3,) * len(widths)
        layers: list[nn.Module] = _normalised(3, widths[0])
        for fine, coarse in itertools.pairwise(widths):
            layers += [nn.ReLU(), ImportancePool(fine), *_normalised(fine, coarse)]
        self.encoder = nn.Sequential(*layers)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        parsing: Float[Tensor, "b k h w"] | None = None,
    ) -> Guidance:
        """Start and guidance for an image in [0, 1]; a parsing map is not looked at."""
        seen = centred(image)
        return Guidance(self.encoder(seen), pyramid(seen, len(self.channels)))


class SpectralBlock(nn.Module):
    """A residual block under spectral normalisation, modulated by a guide, its shortcut too.

    Args:
        inputs: channels of the features.
        outputs: channels of the result.
        guide: channels of the guide.
    """

    def __init__(self, inputs: int, outputs: int, guide: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.first_norm = SpatiallyAdaptiveNorm(inputs, guide, min(MODULATION, inputs))
        self.first = spectral_norm(nn.Conv2d(inputs, middle, 3, padding=1, bias=False))
        self.second_norm = SpatiallyAdaptiveNorm(middle, guide, min(MODULATION, middle))
        self.second = spectral_norm(nn.Conv2d(middle, outputs, 3, padding=1, bias=False))
        self.shortcut = AdaptiveShortcut(inputs, outputs, guide) if inputs != outputs else None

    def forward(
        self, x: Float[Tensor, "b c h w"], guide: Float[Tensor, "b g h w"]
    ) -> Float[Tensor, "b d h w"]:
        """The features, at the same size."""
        hidden = self.first(F.leaky_relu(self.first_norm(x, guide), SLOPE))
        hidden = self.second(F.leaky_relu(self.second_norm(hidden, guide), SLOPE))
        return hidden + (x if self.shortcut is None else self.shortcut(x, guide))


class AdaptiveShortcut(nn.Module):
    """A 1x1 convolution of modulated features, for blocks that change the width.

    Args:
        inputs: channels of the features.
        outputs: channels of the result.
        guide: channels of the guide.
    """

    def __init__(self, inputs: int, outputs: int, guide: int) -> None:
        super().__init__()
        self.norm = SpatiallyAdaptiveNorm(inputs, guide, min(MODULATION, inputs))
        self.conv = spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(
        self, x: Float[Tensor, "b c h w"], guide: Float[Tensor, "b g h w"]
    ) -> Float[Tensor, "b d h w"]:
        """The features, at the same size."""
        return self.conv(self.norm(x, guide))


class SpectralGenerator(nn.Module):
    """The released generator: a block a level, but two at the second, and nearest-neighbour x2.

    The power iterations of the spectral norms move their buffers at each forward in training
    mode. In evaluation they rest, and the network gives what it gave in training
    (`test_evaluation_gives_what_training_gave`); the authors' own advice, to restore in training
    mode, is not needed. Levels are never computed twice here as `ops.nets.ispl.Generator` can:
    the second time would iterate once more.

    Args:
        widths: channels of the levels, finest first.
        guides: channels of their guidance, innermost first.
    """

    def __init__(self, widths: tuple[int, ...], guides: tuple[int, ...]) -> None:
        super().__init__()
        wide = tuple(reversed(widths))
        self.levels = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(itertools.pairwise((wide[0], *wide))):
            both = (inputs, outputs, outputs) if level == 1 else (inputs, outputs)
            blocks = (SpectralBlock(a, b, guides[level]) for a, b in itertools.pairwise(both))
            self.levels.append(nn.ModuleList(blocks))
        self.head = image_head(widths[0])

    def forward(self, guidance: Guidance) -> Float[Tensor, "b 3 h w"]:
        """The image in (-1, 1), at the size of the finest guide."""
        x = guidance.start
        for level, (blocks, guide) in enumerate(zip(self.levels, guidance.maps, strict=True)):
            if level:
                x = F.interpolate(x, size=guide.shape[-2:], mode="nearest")
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, guide)
        return torch.tanh(self.head(F.leaky_relu(x, SLOPE)))


def _normalised(inputs: int, outputs: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.InstanceNorm2d(outputs)]
