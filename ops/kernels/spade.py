"""Spatially-adaptive normalisation (Eq. 10 of ISPL; Park et al., CVPR 2019)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def spatially_adaptive_norm(
    x: Float[Tensor, "b c h w"],
    gamma: Float[Tensor, "b c h w"],
    beta: Float[Tensor, "b c h w"],
    eps: float = 1e-5,
) -> Float[Tensor, "b c h w"]:
    r"""Normalised features with a scale and a shift of their own at every pixel (ISPL Eq. 10).

    .. math:: x_{i+1} = \gamma_i \frac{x_i - \mu(x_i)}{\sigma(x_i)} + \beta_i

    The paper does not say over what :math:`\mu` and :math:`\sigma` are taken. Here it is the
    pixels of a channel of one image, so that an image is restored alike in any batch; the
    released code takes the whole batch. They are computed in float32 for half-precision features.

    Args:
        x: features, of two pixels or more.
        gamma: scale.
        beta: shift.
        eps: added to the variance, > 0.

    Raises:
        ValueError: if a map of `x` is a single pixel, which would always be normalised to 0.
    """
    if x.shape[-2] == 1 and x.shape[-1] == 1:
        raise ValueError("normalisation over pixels needs two or more, got a map of one pixel")
    whole = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(whole, dim=(2, 3), correction=0, keepdim=True)
    normalised = ((whole - mean) * torch.rsqrt(variance + eps)).to(x.dtype)
    return torch.addcmul(beta, gamma, normalised)


class SpatiallyAdaptiveNorm(nn.Module):
    r"""Normalises features and modulates them by what two convolutions read in a guide.

    The scale is :math:`\gamma` as printed, not SPADE's :math:`1 + \gamma`. The bias of the
    convolution that gives it starts at 1, which is the same network; the released code has no
    bias there, and small weights, so that a fresh stack of its blocks hardly lets anything
    through (`test_a_fresh_stack_lets_the_features_through`).

    Args:
        channels: of the features.
        guide_channels: of the guide.
        hidden: channels between the two convolutions.
    """

    def __init__(self, channels: int, guide_channels: int, hidden: int = 128) -> None:
        super().__init__()
        self.shared = nn.Conv2d(guide_channels, hidden, 3, padding=1)
        self.modulation = nn.Conv2d(hidden, 2 * channels, 3, padding=1)
        nn.init.kaiming_normal_(self.shared.weight)
        nn.init.xavier_normal_(self.modulation.weight, gain=0.5)
        with torch.no_grad():
            for bias in (self.shared.bias, self.modulation.bias):
                nn.init.zeros_(bias)  # type: ignore[arg-type]
            self.modulation.bias[:channels].fill_(1)  # type: ignore[index]

    def forward(
        self, x: Float[Tensor, "b c h w"], guide: Float[Tensor, "b g h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Equation 10, with its scale and shift inferred from `guide`."""
        gamma, beta = self.modulation(F.relu(self.shared(guide))).chunk(2, dim=1)
        return spatially_adaptive_norm(x, gamma.to(x.dtype), beta.to(x.dtype))
