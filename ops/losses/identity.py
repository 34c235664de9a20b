"""Losses that keep a restored face the same person's (NASFE Eq. 8 and 10)."""

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_LEAST: Final = 1e-8  # length below which a vector has no direction


def angle(a: Float[Tensor, "b ..."], b: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    r"""The angle between the members of `a` and `b`, each flattened to a vector, in radians.

    .. math:: \arccos\langle u, v \rangle = 2 \operatorname{atan2}(\|u - v\|, \|u + v\|)

    for u and v, the two at length 1. The left side has an infinite slope where they are equal, and
    single precision rounds angles below 3e-4 to 0; the right side has neither fault
    (`test_small_angles_are_exact_where_the_arc_cosine_has_lost_them`). Where they are equal its
    gradient is 0. It is in [0, pi], and in [0, pi/2] for maps without negative values. A vector
    of zeros is at a right angle to all others.

    The result is in float32 at least.
    """
    u, v = _directions(a), _directions(b)
    apart = torch.linalg.vector_norm(u - v, dim=1)
    return 2 * torch.atan2(apart, torch.linalg.vector_norm(u + v, dim=1))


def identity_loss(
    restored: Float[Tensor, "b c h w"], references: Float[Tensor, "b n c h w"]
) -> Float[Tensor, ""]:
    r"""How far a face is from clean photographs of its person, in radians (NASFE Eq. 8).

    .. math:: \frac{1}{n} \sum_{i=1}^n \arccos\langle F^{\hat x}, F_i^C \rangle

    The mean over the batch of it, with maps flattened and taken at length 1, which the paper does
    not say and without which an arc cosine has no meaning.

    Args:
        restored: maps of the restored faces; only they receive a gradient.
        references: maps of n other photographs of the same people, as they are and not in the
            style of the degraded ones (Eq. 7).
    """
    wanted = references.detach().flatten(0, 1)
    ours = restored.unsqueeze(1).expand_as(references).flatten(0, 1)
    return angle(ours, wanted).mean()


def perceptual_loss(
    restored: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]
) -> Float[Tensor, ""]:
    r"""The mean absolute difference of two maps (NASFE Eq. 10).

    .. math:: \frac{1}{NHW} \sum_{ijk} \| F^{\hat x}_{ijk} - F^x_{ijk} \|

    Args:
        restored: maps of the restored faces; only they receive a gradient.
        target: maps of the true ones.
    """
    return F.l1_loss(restored, target.detach())


def _directions(x: Tensor) -> Tensor:
    """Vectors at length 1, those of no length as they are, with a gradient of finite length."""
    flat = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / torch.where(length > _LEAST, length, 1.0)
