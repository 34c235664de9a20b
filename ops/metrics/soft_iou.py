"""Soft-IoU: how well a soft mask overlaps another (RetouchFormer, Table 2)."""

import torch
from jaxtyping import Float
from torch import Tensor


def soft_iou(
    prediction: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, " b"]:
    r"""Each image's overlap in [0, 1]; of binary masks it is the intersection over union.

    .. math:: \sum \min(p, t) / \sum \max(p, t)

    Two empty masks agree: 1. Deviation: the paper names the measure without a formula; this is
    the usual extension to soft masks.

    Args:
        prediction: mask in [0, 1].
        target: mask in [0, 1].

    Raises:
        ValueError: if the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"both masks must have one shape, got {tuple(prediction.shape)} "
            f"and {tuple(target.shape)}"
        )
    # Sums over a whole image: bf16 would stop growing at a few hundred pixels.
    prediction, target = prediction.float(), target.float()
    intersection = torch.minimum(prediction, target).sum((1, 2, 3))
    union = torch.maximum(prediction, target).sum((1, 2, 3))
    empty = union == 0
    return torch.where(empty, 1.0, intersection / union.masked_fill(empty, 1.0))
