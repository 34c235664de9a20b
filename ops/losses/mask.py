"""What teaches the soft mask of RetouchFormer, from pairs and from single images."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def image_difference(
    image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], scale: float = 10 / 255
) -> Float[Tensor, "b 1 h w"]:
    r"""How much each pixel was retouched, in [0, 1] (phi of RetouchFormer).

    .. math:: \phi(x, y) = \min(1, \operatorname{mean}_c |x - y| / s)

    Deviation: the paper names the Euclidean distance as an example of phi and no scale; this is the
    mean absolute difference over an absolute scale, which, unlike a division by the largest
    difference, gives an untouched pair a mask of zero and does not let one strong spot hide the
    faint ones (`test_a_strong_spot_does_not_change_the_value_of_a_faint_one`).

    Args:
        image: raw image.
        target: the same, retouched.
        scale: s, the difference that counts as fully retouched.

    Raises:
        ValueError: if `scale` is not positive.
    """
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    return ((image - target).abs().mean(dim=1, keepdim=True) / scale).clamp(max=1)


def imperfection(
    image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], threshold: float = 3 / 255
) -> Float[Tensor, "b 1 h w"]:
    """1 where a pixel was retouched, else 0 (the indicator of phi > 0 in RetouchFormer).

    Deviation: printed is a difference above 0. Rounding and compression move a tenth of all
    pixels by a level or two, so what counts is a difference above `threshold`
    (`test_one_level_of_rounding_is_no_imperfection`).
    """
    difference = (image - target).abs().mean(dim=1, keepdim=True)
    return (difference > threshold).to(image.dtype)


def mask_regression(
    logits: Float[Tensor, "b 1 h w"], difference: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    r"""Distance of the predicted mask from what was retouched, on pairs (RetouchFormer L_Hbar).

    .. math:: \| \sigma(H(x, \tilde x)) - \phi(x, y) \|_2^2

    Deviation: printed is the teacher's output, which is a moving average and has no gradient; the
    student takes its place, and the teacher follows
    (`test_the_term_moves_the_student` in the tests of the network). The sigmoid, which L_H has and
    this term lacks in print, brings the logits to phi's range. The norm is a mean.
    """
    return F.mse_loss(logits.sigmoid(), difference)


def mask_classification(
    logits: Float[Tensor, "b 1 h w"], label: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    r"""Cross-entropy of the student on pairs (first term of RetouchFormer's L_H).

    .. math:: -I \log \sigma(H) - (1 - I) \log(1 - \sigma(H))

    Deviation: printed is the first half alone, which a mask of ones minimises
    (`test_a_mask_of_ones_is_not_the_optimum`); this is the full cross-entropy.
    """
    return F.binary_cross_entropy_with_logits(logits, label)


def mask_agreement(
    logits: Float[Tensor, "b 1 h w"], teacher: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    r"""Cross-entropy of the student under the teacher, unpaired (second term of L_H, no lambda).

    .. math:: -\bar m \log \sigma(H) - (1 - \bar m) \log(1 - \sigma(H)),
        \quad \bar m = \sigma(\bar H)

    Deviation: printed is the first half alone, which a mask of ones minimises
    (`test_a_mask_of_ones_is_not_the_optimum`). The teacher receives no gradient.
    """
    return F.binary_cross_entropy_with_logits(logits, teacher.detach())


def mask_confidence(
    paired: Float[Tensor, "b 1 h w"],
    label: Float[Tensor, "b 1 h w"],
    unpaired: Float[Tensor, "n 1 h2 w2"],
    teacher: Float[Tensor, "n 1 h2 w2"],
    weight: float = 0.5,
) -> Float[Tensor, ""]:
    """L_H of RetouchFormer: the student against labels on pairs and its teacher elsewhere.

    Args:
        paired: student's logits on paired images.
        label: `imperfection` of those pairs.
        unpaired: student's logits on unpaired images; none at all (n = 0) adds nothing.
        teacher: the teacher's soft mask of the unpaired images.
        weight: lambda.
    """
    labelled = mask_classification(paired, label)
    if len(unpaired) == 0:
        return labelled
    return labelled + weight * mask_agreement(unpaired, teacher)
