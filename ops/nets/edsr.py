"""EDSR (Lim et al., CVPR Workshops 2017), super-resolution without batch normalisation.

Changed from the paper: layers see and give images in [-1, 1] instead of [0, 255] less the mean
colour of its training set; the scale of 4 is trained at once, not from a network for 2.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.low_resolution import Skip, at_low_resolution, pixel_shuffles, same_convolution


class EDSR(nn.Module):
    """A stack of residual blocks at low resolution, enlarged by pixel shuffles at its end.

    Deviation: EDSR gets small images. The data here hold their cubic enlargements, of which this
    takes area means first; what is lost on that way is a slight filter, see
    `ops.nets.low_resolution.reduced`.

    Args:
        blocks: 16 in the paper's baseline, the default, and 32 in EDSR.
        width: channels, 64 and 256.
        scaling: of each block's residual, 1 and 0.1.
        scale: how many times it enlarges, a power of two.

    Raises:
        ValueError: if `scale` is not a power of two.
    """

    def __init__(
        self, blocks: int = 16, width: int = 64, scaling: float = 1.0, scale: int = 4
    ) -> None:
        super().__init__()
        self.scale = scale
        body = [_block(width, scaling) for _ in range(blocks)]
        self.layers = nn.Sequential(
            same_convolution(3, width),
            Skip(*body, same_convolution(width, width)),
            *pixel_shuffles(width, scale),
            same_convolution(width, 3),
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The sharp image, not clamped, for an enlarged one in [0, 1] of any size."""
        return at_low_resolution(self.layers, image, self.scale)


def _block(width: int, scaling: float) -> Skip:
    first, second = same_convolution(width, width), same_convolution(width, width)
    return Skip(first, nn.ReLU(), second, scaling=scaling)
