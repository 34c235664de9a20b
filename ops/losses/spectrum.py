"""How far an image's spectrum is from that of natural images (inversion paper, Appendix C)."""

import torch
from jaxtyping import Float
from torch import Tensor

from ops.kernels.laplacian import LEVELS, decompose

NATURAL = -1.0  # of bands whose norms are sums over ever fewer pixels


def pyramid_spectrum(
    image: Float[Tensor, "b c h w"], norm: float, slope: float = NATURAL, levels: int = LEVELS
) -> Float[Tensor, " b"]:
    r"""How far the bands of each image are from their wanted strengths (inversion paper, Eq. 12).

    .. math:: R_{LP}(p) = \sum_{n=1}^N (\|L_n(p)\| - N_L 2^{\beta n})^2

    The paper counts bands from 0 and sums from 1, and gives no beta. Here n = 1 is the finest,
    and the norm the root of the sum of squares. Natural images have a power of 1 / f^2 (its
    reference 19), as much in each octave; a band of a quarter of the pixels then has half the
    norm, so beta is -1 (`test_an_image_of_natural_spectrum_has_bands_of_halving_norms`). Only the
    finest band, which reaches into the corners of the spectrum, is half as strong again.

    Args:
        image: of any range; computed in float32 at least. What is left of the pyramid does not
            count.
        norm: N_L, twice what the finest band shall have at a slope of -1.
        slope: beta.
        levels: N, the number of bands.

    Raises:
        ValueError: if `levels` is below 1 or `norm` is negative.
    """
    if levels < 1 or norm < 0:
        raise ValueError(f"levels must be 1 or more and norm not negative, got {levels} and {norm}")
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    bands = decompose(wide, levels)[:-1]
    found = torch.stack([torch.linalg.vector_norm(band, dim=(1, 2, 3)) for band in bands], 1)
    order = torch.arange(1, levels + 1, device=image.device, dtype=wide.dtype)
    return (found - norm * 2 ** (slope * order)).square().sum(1)
