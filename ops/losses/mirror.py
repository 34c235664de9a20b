"""How far an image is from its mirror image (inversion paper, Appendix C)."""

import torch
from jaxtyping import Float
from torch import Tensor


def mirror_asymmetry(image: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    r"""The distance of each image from itself with left and right exchanged.

    .. math:: R_{Mirror}(p) = \|p - \hat F_x p\|_2

    Not squared, as printed: its pull does not fade as the image becomes symmetric. At a symmetric
    image the gradient is 0.

    Args:
        image: of any range; computed in float32 at least.
    """
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    return torch.linalg.vector_norm(wide - wide.flip(-1), dim=(1, 2, 3))
