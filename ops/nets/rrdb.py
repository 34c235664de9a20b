"""ESRGAN's generator of residual-in-residual dense blocks (Wang et al., ECCV Workshops 2018).

As in the authors' code, which has the 16.7 million parameters told of it: maps are enlarged by
nearest neighbours and a convolution each time, not by pixel shuffles, and one more convolution
follows. Changed from it: layers see and give images in [-1, 1] instead of [0, 1].
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import SLOPE, convolution
from ops.nets.low_resolution import Skip, at_low_resolution, doublings

SCALING = 0.2  # of every residual (the paper's beta)


class DenseBlock(nn.Module):
    """Five convolutions, each of all maps before it; the last gives as many as came in.

    Weights start at a tenth of He's deviation: the paper's smaller initialisation.

    Args:
        width: channels in and out.
        growth: channels that each of the first four adds.
    """

    def __init__(self, width: int = 64, growth: int = 32) -> None:
        super().__init__()
        outputs = (growth,) * 4 + (width,)
        layers = [convolution(width + i * growth, out) for i, out in enumerate(outputs)]
        with torch.no_grad():
            for layer in layers:
                layer.weight.mul_(0.1)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The residual, not yet scaled."""
        for layer in self.layers[:-1]:
            x = torch.cat([x, F.leaky_relu(layer(x), SLOPE)], dim=1)
        return self.layers[-1](x)


class RRDBNet(nn.Module):
    """Dense blocks inside residual blocks, at low resolution, enlarged at their end.

    Deviation: ESRGAN gets small images. The data here hold their cubic enlargements, of which
    this takes area means first; what is lost on that way is a slight filter, see
    `ops.nets.low_resolution.reduced`.

    Args:
        blocks: number of residual-in-residual blocks, of three dense blocks each.
        width: channels between them.
        growth: channels that a layer inside a dense block adds.
        scale: how many times it enlarges, a power of two.

    Raises:
        ValueError: if `scale` is not a power of two.
    """

    def __init__(self, blocks: int = 23, width: int = 64, growth: int = 32, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        body = [Skip(*_dense(width, growth), scaling=SCALING) for _ in range(blocks)]
        enlarging = [_doubled(width) for _ in range(doublings(scale))]
        self.layers = nn.Sequential(
            convolution(3, width),
            Skip(*body, convolution(width, width)),
            *enlarging,
            nn.Sequential(convolution(width, width), nn.LeakyReLU(SLOPE)),
            convolution(width, 3),
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The sharp image, not clamped, for an enlarged one in [0, 1] of any size."""
        return at_low_resolution(self.layers, image, self.scale)


def _dense(width: int, growth: int) -> list[Skip]:
    return [Skip(DenseBlock(width, growth), scaling=SCALING) for _ in range(3)]


def _doubled(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2), convolution(width, width), nn.LeakyReLU(SLOPE)
    )
