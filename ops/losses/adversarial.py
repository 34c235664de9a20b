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
    real: Float[Tensor, "b 1 h w"], *fakes: Float[Tensor, "_ 1 h w"]
) -> Float[Tensor, ""]:
    r"""What the discriminator minimises; RetouchFormer's is minus its L_adv_disc.

    .. math:: -\log D(y, \bar H(y)) - \log(1 - D(\hat y, \bar H(x))) - \log(1 - D(x, \bar H(x)))

    Args:
        real: logits of real images; there, retouched photographs.
        fakes: logits of images that count as fake: the network's outputs, detached from it, and
            there also raw photographs, which still hold the imperfections.
    """
    return F.softplus(-real).mean() + sum(F.softplus(fake).mean() for fake in fakes)
