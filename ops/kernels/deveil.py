"""The deveiling operator: features brightened by a learned mask.

Paper: NASFE, "Network Architecture Search for Face Enhancement", Section 3.1. The authors published
no code. Written from the equation.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.estimation import estimation


def deveil(
    features: Float[Tensor, "b c h w"], mask: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    r"""Each feature multiplied by what the mask says of its place (NASFE Eq. 3).

    .. math:: y = r \odot x + n \implies x = A \odot y, \quad A = \frac{y - n}{r y}

    A low-light factor r of 0.05 to 0.5 is undone by a mask of 2 to 20, so no range is imposed: a
    mask behind a sigmoid could only darken (`test_a_mask_above_1_undoes_a_low_light_factor`).

    Args:
        features: y.
        mask: A, of any sign and size.
    """
    return mask * features


class Deveiling(nn.Module):
    """Features under a mask that two 3x3 convolutions read in them (NASFE Eq. 3, Fig. 4c).

    Args:
        channels: of the features.

    Raises:
        ValueError: if `channels` is below 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = estimation(channels, start=1.0)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The brightened features, same shape."""
        return deveil(x, self.second(F.relu(self.first(x))))
