"""The two sides of an adversarial game, on logits (positive for "real")."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def generator_adversarial(fake: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    r"""What the generator minimises (RetouchFormer L_adv_syn, non-saturating).

    .. math:: -\log D(\hat y, \bar H(x)) = \operatorname{softplus}(-d)

    Deviation: printed is log(1 - D), whose gradient vanishes exactly where the discriminator wins
    (`test_the_gradient_does_not_vanish_where_the_discriminator_is_sure`). Same fixed point.
    """
    return F.softplus(-fake).mean()


def discriminator_adversarial(
    real: Float[Tensor, "b 1 h w"],
    fake: Float[Tensor, "n 1 h w"],
    raw: Float[Tensor, "n 1 h w"],
) -> Float[Tensor, ""]:
    r"""What the discriminator minimises (minus RetouchFormer's L_adv_disc).

    .. math:: -\log D(y, \bar H(y)) - \log(1 - D(\hat y, \bar H(x))) - \log(1 - D(x, \bar H(x)))

    Args:
        real: logits of retouched photographs.
        fake: logits of the network's outputs, detached from the network.
        raw: logits of raw photographs, which count as fake: they still hold the imperfections.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean() + F.softplus(raw).mean()
