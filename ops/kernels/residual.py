"""The residual operator: noise is estimated and taken away.

Paper: NASFE, "Network Architecture Search for Face Enhancement", Section 3.1 and Fig. 4a, after Li,
Tan and Cheong, "Robust Optical Flow in Rainy Scenes" (ECCV 2018). Written from the figure.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.estimation import estimation


def residual(
    features: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """The features without their noise (NASFE Fig. 4a)."""
    return features - noise


class Residual(nn.Module):
    """Features less the noise that two 3x3 convolutions find in them (NASFE Fig. 4a).

    Args:
        channels: of the features.

    Raises:
        ValueError: if `channels` is below 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = estimation(channels, start=0.0)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The cleaned features, same shape."""
        return residual(x, self.second(F.relu(self.first(x))))
