"""Discriminators."""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ops.nets.blocks import SLOPE, centred, convolution, enlarge, shrink


class PixelDiscriminator(nn.Module):
    """Real or not, pixel by pixel, told where the retouching is (D of RetouchFormer).

    A U-Net under spectral normalisation. The soft mask is an extra channel of the input and, at
    smaller size, of every level: the paper injects it into several layers so that attention goes
    to the synthesised details. The power iteration of the spectral norm moves its buffers at each
    forward in training mode.

    Args:
        widths: channels of the levels, finest first; each step halves the size.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.stem = spectral_norm(convolution(3 + 1, widths[0]))
        self.downs = nn.ModuleList(
            spectral_norm(convolution(fine + 1, coarse, 3, 2)) for fine, coarse in pairs
        )
        self.projections = nn.ModuleList(
            spectral_norm(convolution(coarse + 1, fine, 1)) for fine, coarse in pairs
        )
        self.ups = nn.ModuleList(spectral_norm(convolution(fine, fine)) for fine, _ in pairs)
        self.head = spectral_norm(convolution(widths[0] + 1, 1))

    def forward(
        self, image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """Logits, positive for "real", at any size."""
        x = F.leaky_relu(self.stem(_beside(centred(image), mask)), SLOPE)
        maps = [x]
        for down in self.downs:
            x = F.leaky_relu(down(_beside(x, mask)), SLOPE)
            maps.append(x)
        for level in reversed(range(len(self.ups))):
            coarse = self.projections[level](_beside(x, mask))
            x = F.leaky_relu(self.ups[level](maps[level] + enlarge(coarse, maps[level])), SLOPE)
        return self.head(_beside(x, mask))


def _beside(x: Tensor, mask: Tensor) -> Tensor:
    """`x` with the mask, at the size of `x`, as its last channel."""
    if mask.shape[-2:] != x.shape[-2:]:
        mask = shrink(mask, x.shape[-2], x.shape[-1])
    return torch.cat([x, mask], dim=1)
