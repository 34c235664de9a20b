"""How far an image's features are from those of its target (ISPL Eq. 12)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Maps = Sequence[Float[Tensor, "b _ _ _"]]
Distance = Callable[[Tensor, Tensor], Tensor]

# Of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of VGG-19, in the released code.
VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


def feature_distance(
    output: Maps,
    target: Maps,
    weights: Sequence[float],
    distance: Distance = F.l1_loss,
) -> Float[Tensor, ""]:
    r"""The weighted sum over layers of the mean distance of their maps (ISPL Eq. 12).

    .. math:: L(\Phi) = \sum_i \frac{w_i}{H_i W_i C_i} \|\Phi_i(I_{gt}) - \Phi_i(I_{gen})\|

    Deviation: printed are squares and no weights; the released code has absolute differences,
    and for VGG-19 weights, which is the default here. A square hardly pulls where maps are nearly
    alike, which is where a restoration gets its details
    (`test_a_small_difference_keeps_its_pull`). F.mse_loss and weights of 1 are the print.

    Args:
        output: maps of the generated image; only they receive a gradient.
        target: maps of the real one.
        weights: of the layers.
        distance: mean distance of two maps, F.l1_loss or F.mse_loss.

    Raises:
        ValueError: if there are not as many weights as maps.
    """
    if not len(output) == len(target) == len(weights):
        raise ValueError(
            f"each map needs a weight: got {len(output)} maps of the output, {len(target)} of the "
            f"target and {len(weights)} weights"
        )
    pairs = zip(output, target, weights, strict=True)
    return torch.stack([weight * distance(a, b.detach()) for a, b, weight in pairs]).sum()


def feature_matching(
    output: Sequence[Maps], target: Sequence[Maps], distance: Distance = F.l1_loss
) -> Float[Tensor, ""]:
    r"""Equation 12 with a discriminator as :math:`\Phi`, the mean over its scales (L_FM).

    Args:
        output: for each scale the maps of the generated image, without the logits.
        target: the same for the real image.
        distance: mean distance of two maps, F.l1_loss or F.mse_loss.

    Raises:
        ValueError: if the two do not have as many maps.
    """
    pairs = zip(output, target, strict=True)
    scales = [feature_distance(a, b, [1.0] * len(a), distance) for a, b in pairs]
    return torch.stack(scales).mean()


def perceptual_distance(
    output: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    features: Callable[[Tensor], list[Tensor]],
    weights: Sequence[float] = VGG_WEIGHTS,
    distance: Distance = F.l1_loss,
) -> Float[Tensor, ""]:
    r"""Equation 12 with a frozen network as :math:`\Phi` (L_perc).

    Args:
        output: generated image in [0, 1]; only it receives a gradient.
        target: real image in [0, 1].
        features: Vgg19Features, in the released code with imagenet=False, or another network of
            ops.nets.features.
        weights: of its maps.
        distance: mean distance of two maps, F.l1_loss or F.mse_loss.

    Raises:
        ValueError: if there are not as many weights as maps.
    """
    with torch.no_grad():
        wanted = features(target)
    return feature_distance(features(output), wanted, weights, distance)
