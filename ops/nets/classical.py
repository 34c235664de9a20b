"""What restores faces without having learned anything, to hold trained networks against."""

import kornia
import torch
from jaxtyping import Float
from torch import Tensor


def equalised(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The image with a flat histogram of its luma; colours stay where they were.

    The oldest answer to low light. Each image has a histogram of its own, of 256 bins; chroma is
    that of the image (YCbCr, full range), so that no colour cast arises as it does from three
    histograms.
    """
    luma, blue, red = kornia.color.rgb_to_ycbcr(image).split(1, dim=1)
    flat = kornia.enhance.equalize(luma.clamp(0, 1))
    return kornia.color.ycbcr_to_rgb(torch.cat([flat, blue, red], dim=1)).clamp(0, 1)
