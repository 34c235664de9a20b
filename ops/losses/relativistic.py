"""The two sides of ESRGAN's relativistic average game (Wang et al., 2018; Jolicoeur-Martineau).

What a discriminator C says of one image is held against what it says of the others on average:
D_Ra(x, y) = sigmoid(C(x) - E[C(y)]). The averages are over one process' batch; of one image in a
batch its own logit is the average.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, "b 1 h w"]


def relativistic_discriminator(real: Logits, fake: Logits) -> Float[Tensor, ""]:
    r"""What the discriminator minimises (ESRGAN Eq. 1).

    .. math:: -E_{x_r}[\log D_{Ra}(x_r, x_f)] - E_{x_f}[\log(1 - D_{Ra}(x_f, x_r))]

    Args:
        real: logits of real images.
        fake: logits of made images, detached from the generator.
    """
    return _surer(real, fake)


def relativistic_generator(real: Logits, fake: Logits) -> Float[Tensor, ""]:
    r"""What the generator minimises: the same with the parts exchanged (ESRGAN Eq. 2).

    .. math:: -E_{x_r}[\log(1 - D_{Ra}(x_r, x_f))] - E_{x_f}[\log D_{Ra}(x_f, x_r)]

    Args:
        real: logits of real images.
        fake: logits of made images.
    """
    return _surer(fake, real)


def _surer(winner: Tensor, loser: Tensor) -> Tensor:
    """How far `winner` is from being above the other's average, and the other below its own."""
    above = F.softplus(loser.mean() - winner).mean()
    below = F.softplus(loser - winner.mean()).mean()
    return above + below
