"""A small U-Net (Ronneberger et al., MICCAI 2015) that restores: a baseline without a paper.

Changed from the paper: residual blocks with group normalisation, strided convolutions instead of
pooling, and maps are padded so that they keep their size. The output is the input plus a residual.
"""

import itertools

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import (
    SLOPE,
    Encoder,
    Merge,
    ResidualBlock,
    centred,
    cropped,
    pad_to_multiple,
    zero_convolution,
)


class RestorationUNet(nn.Module):
    """An image plus the residual that is found at several sizes of it; its input before training.

    Args:
        widths: channels of the levels, finest first; each step halves the size.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.encoder = Encoder(widths, len(widths) - 1)
        pairs = list(itertools.pairwise(widths))
        self.merges = nn.ModuleList(Merge(coarse, fine) for fine, coarse in pairs)
        self.blocks = nn.ModuleList(ResidualBlock(fine, fine) for fine, _ in pairs)
        self.head = zero_convolution(widths[0], 3)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The restored image, not clamped, for an image in [0, 1].

        Raises:
            ValueError: if a side is too short for the number of levels.
        """
        height, width = image.shape[-2:]
        *maps, x = self.encoder(centred(pad_to_multiple(image, self.encoder.stride)))
        for level in reversed(range(len(maps))):
            x = self.blocks[level](self.merges[level](x, maps[level]))
        return image + cropped(self.head(F.leaky_relu(x, SLOPE)), height, width)
