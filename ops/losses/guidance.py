"""How far an image's activations are from those of a guiding image (inversion paper, R_G)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Activations = Mapping[str, Float[Tensor, "_ _ _ _"]]


def guiding_distance(
    activations: Activations, guide: Activations, weights: Mapping[str, float]
) -> Float[Tensor, " b"]:
    r"""The weighted mean squared difference in chosen layers (inversion paper, Section 2).

    .. math:: R_G(p; p_G) = \sum_\ell w_\ell \frac{1}{N_\ell} \|a_\ell(p) - a_\ell(p_G)\|_2^2

    Low layers pull the image towards the guide's pixels, high ones towards its shapes alone.

    Deviation: the norm is printed without its kind and for one layer, "multiple" are spoken of
    later (Section 5.1). Here it is the mean of the squares over a layer's N numbers, so that a
    weight means the same in layers of any size
    (`test_a_weight_means_the_same_in_layers_of_any_size`).

    Args:
        activations: maps of the images that are to move, b of them, by the names of the layers;
            only they receive a gradient.
        guide: maps of their guides, b of them, or one for all.
        weights: of the layers that count; others are not looked at.

    Raises:
        ValueError: if there are no weights, a layer is missing on a side, or its maps differ.
    """
    missing = sorted(set(weights) - (set(activations) & set(guide)))
    if missing or not weights:
        raise ValueError(
            f"the layers that count must have maps on both sides, missing are {missing} of "
            f"{sorted(weights)}"
        )
    pairs = {name: (activations[name], guide[name]) for name in weights}
    return torch.stack([weights[name] * _mean_square(*pairs[name]) for name in weights]).sum(0)


def _mean_square(ours: Tensor, guide: Tensor) -> Tensor:
    if ours.shape[1:] != guide.shape[1:] or len(guide) not in (1, len(ours)):
        raise ValueError(
            f"a layer's maps must agree with the guide's, got {tuple(ours.shape)} and "
            f"{tuple(guide.shape)}"
        )
    wide = torch.promote_types(ours.dtype, torch.float32)
    return (ours.to(wide) - guide.detach().to(wide)).square().mean((1, 2, 3))
