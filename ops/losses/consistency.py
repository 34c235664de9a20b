"""How far an image is from its target, in pixels and in features (RetouchFormer)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def consistency(
    output: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    features: Callable[[Tensor], list[Tensor]],
    weight: float = 10.0,
) -> Float[Tensor, ""]:
    r"""The distance of `output` from `target` (RetouchFormer, L_con_rec and L_con_x2y).

    .. math:: \eta \|y - \tilde y\|_1 + \|V(y) - V(\tilde y)\|_2^2

    Both terms of the training are this one: eta = 10 between a retouched image and its
    reconstruction from the prior, zeta = 10 between the retouched image and the output.

    Deviation: the norms are means over their elements and not sums, so that the weights mean the
    same at every size (`test_the_loss_does_not_depend_on_the_size_of_the_image`).

    Args:
        output: image that is to move; only it receives a gradient.
        target: image to reach.
        features: V, a frozen network; the squared differences of its maps are added up.
        weight: eta or zeta.
    """
    pixels = (output - target).abs().mean()
    return weight * pixels + perceptual(output, target, features)


def perceptual(
    output: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    features: Callable[[Tensor], list[Tensor]],
) -> Float[Tensor, ""]:
    """Sum over the maps of `features` of their mean squared difference."""
    with torch.no_grad():
        wanted = features(target)
    pairs = zip(features(output), wanted, strict=True)
    return torch.stack([(a - b).square().mean() for a, b in pairs]).sum()
