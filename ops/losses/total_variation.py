"""Total variation of an image, and the weight it gets over a run (inversion paper, Eq. 2 and 3)."""

import torch
from jaxtyping import Float
from torch import Tensor


def total_variation(image: Float[Tensor, "b c h w"], alpha: float = 2.0) -> Float[Tensor, " b"]:
    r"""How much neighbouring pixels of each image differ (inversion paper, Eq. 2).

    .. math:: R_{TV}(p) = [\|p - \hat S_x p\|_2^2 + \|p - \hat S_y p\|_2^2]^{\alpha/2}

    The bracket is a sum over all channels and pixels of one image; the power comes after it.

    The paper does not say what a shift brings in at the border. Here the image goes on with the
    values at its border, so that nothing is pulled across it; the paper's analysis, Appendix B,
    takes cyclic shifts, under which the left border would pull on the right one. The gradient is

    .. math:: \partial R_{TV} / \partial p = -\alpha R_{TV}^{1 - 2/\alpha} \triangle p

    at every pixel, with the Laplacian of the image so continued (Eq. 3,
    `test_the_gradient_is_the_laplacian_of_equation_3_at_every_pixel`). At a constant image it is
    0, also for an alpha at which the power alone has no derivative there.

    Args:
        image: of any range; the sum is taken in float32 at least, as the result is.
        alpha: exponent, > 0; the paper does not give its own. 2 is a diffusion of constant
            strength, 1 one that does not fade as the image becomes smooth.

    Raises:
        ValueError: if `alpha` is not positive.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    bracket = wide.diff(dim=2).square().sum((1, 2, 3)) + wide.diff(dim=3).square().sum((1, 2, 3))
    if alpha == 2:
        return bracket
    # A power below 1 has no derivative at 0, and infinity times 0 would be no number.
    constant = bracket == 0
    power = torch.where(constant, 1, bracket) ** (alpha / 2)
    return torch.where(constant, 0, power)


def decaying_weight(first: float, last: float, progress: float) -> float:
    r"""A weight that falls by the same factor in every step, from `first` to `last`.

    .. math:: w_0 (w_1 / w_0)^t

    The paper reduces the weight of the total variation "with the iteration number" (Section 3)
    and does not say how; a hundredth at the end is this project's habit.

    Args:
        first: at the start, > 0.
        last: at the end, > 0; the same as `first` for a weight that stays.
        progress: share of the run that is done, 0 to 1.

    Raises:
        ValueError: if a weight is not positive or `progress` is not in [0, 1].
    """
    if not (first > 0 and last > 0 and 0 <= progress <= 1):
        raise ValueError(
            f"weights must be positive and progress in [0, 1], got {first}, {last} and {progress}"
        )
    return float(first * (last / first) ** progress)
