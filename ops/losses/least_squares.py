"""The two sides of a least-squares game (ISPL Eq. 11; Mao et al., ICCV 2017)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Logits = Sequence[Float[Tensor, "b 1 _ _"]]


def least_squares_discriminator(reals: Logits, fakes: Logits) -> Float[Tensor, ""]:
    r"""What the discriminator minimises, the mean over its scales (ISPL Eq. 11).

    .. math:: E[(D(I_{gt}) - 1)^2] + E[D(I_{gen})^2]

    Deviation: printed is a logarithm inside each square, with brackets that do not close. What a
    least-squares discriminator gives may be negative, where there is no logarithm; and where it
    is right, at 1 for real and 0 for fake, log(D - 1) and log D are infinite
    (`test_the_printed_logarithms_are_not_finite_where_the_discriminator_is_right`). Without them
    this is the loss of the paper cited there, and of the released code.

    Args:
        reals: outputs for real images, one entry a scale.
        fakes: outputs for generated images, detached from the generator.
    """
    return _distance(reals, 1.0) + _distance(fakes, 0.0)


def least_squares_generator(fakes: Logits) -> Float[Tensor, ""]:
    r"""What the generator minimises, the mean over the discriminator's scales.

    .. math:: E[(D(I_{gen}) - 1)^2]

    The paper prints one loss for both sides; this is the generator's side of the loss it cites.

    Args:
        fakes: outputs for generated images, one entry a scale.
    """
    return _distance(fakes, 1.0)


def _distance(logits: Logits, label: float) -> Tensor:
    return torch.stack([(each - label).square().mean() for each in logits]).mean()
