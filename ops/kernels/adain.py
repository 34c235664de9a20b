"""Adaptive instance normalisation (Huang and Belongie, ICCV 2017; Eq. 7 of NASFE)."""

import torch
from jaxtyping import Float
from torch import Tensor


def adain(
    content: Float[Tensor, "b *n c h w"], style: Float[Tensor, "b c h2 w2"], eps: float = 1e-5
) -> Float[Tensor, "b *n c h w"]:
    r"""`content` with the mean and the deviation of each channel of `style` (NASFE Eq. 7).

    .. math:: \bar F_i^C = \sigma(F^y) \frac{F_i^C - \mu(F_i^C)}{\sigma(F_i^C)} + \mu(F^y)

    :math:`\mu` and :math:`\sigma` are those of a channel of one image over its pixels, the square
    of :math:`\sigma` with `eps` added, so that a channel without any structure stays finite.
    Computed in float32 for half-precision features; the dtype of `content` is kept.

    Args:
        content: features of clean images, of two pixels or more: one map for each `style`
            (b, c, h, w), or n of them (b, n, c, h, w).
        style: features of the degraded image, of two pixels or more, at any size.
        eps: added to the variances, > 0.

    Raises:
        ValueError: if `eps` is not positive or a map is a single pixel, which has no deviation.
    """
    if not eps > 0:
        raise ValueError(f"eps must be positive, or flat channels divide by zero, got {eps}")
    for name, maps in (("content", content), ("style", style)):
        if maps.shape[-2] * maps.shape[-1] < 2:
            raise ValueError(f"{name} needs two pixels or more, got a map of one pixel")
    given, dtype = _wide(content), content.dtype
    deviation, mean = _statistics(given, eps)
    wanted_deviation, wanted_mean = (
        x.view(len(style), *[1] * (content.dim() - 4), -1, 1, 1)
        for x in _statistics(_wide(style), eps)
    )
    return torch.addcmul(wanted_mean, wanted_deviation / deviation, given - mean).to(dtype)


def _statistics(maps: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(maps, dim=(-2, -1), correction=0, keepdim=True)
    return (variance + eps).sqrt(), mean


def _wide(maps: Tensor) -> Tensor:
    return maps.to(torch.promote_types(maps.dtype, torch.float32))
