"""SRResNet, the generator of SRGAN (Ledig et al., CVPR 2017).

Changed from the paper: layers see and give images in [-1, 1], where the paper feeds [0, 1].
"""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.low_resolution import Skip, at_low_resolution, pixel_shuffles, same_convolution


class SRResNet(nn.Module):
    """Residual blocks with batch normalisation at low resolution, then pixel shuffles.

    Deviation: SRResNet gets small images. The data here hold their cubic enlargements, of which
    this takes area means first; what is lost on that way is a slight filter, see
    `ops.nets.low_resolution.reduced`.

    Args:
        blocks: number of residual blocks.
        width: channels between the layers.
        scale: how many times it enlarges, a power of two.

    Raises:
        ValueError: if `scale` is not a power of two.
    """

    def __init__(self, blocks: int = 16, width: int = 64, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        body = [Skip(*_normalised(width), nn.PReLU(), *_normalised(width)) for _ in range(blocks)]
        enlarging = [nn.Sequential(step, nn.PReLU()) for step in pixel_shuffles(width, scale)]
        self.layers = nn.Sequential(
            nn.Sequential(same_convolution(3, width, 9), nn.PReLU()),
            Skip(*body, *_normalised(width)),
            *enlarging,
            same_convolution(width, 3, 9),
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The sharp image, not clamped, for an enlarged one in [0, 1] of any size."""
        return at_low_resolution(self.layers, image, self.scale)


def _normalised(width: int) -> tuple[nn.Module, nn.Module]:
    """A convolution and its batch normalisation, whose shift stands for a bias."""
    return same_convolution(width, width, bias=False), nn.BatchNorm2d(width)
