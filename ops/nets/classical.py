"""What restores faces without having learned anything, to hold trained networks against."""

import kornia
import torch
from jaxtyping import Float
from torch import Tensor


def equalised(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The image with a flat histogram of its luma; colours stay where they were.

    What NASFE's Table 5 calls Histeq. Each image has a histogram of its own, of 256 bins; chroma is
    that of the image (YCbCr, full range), so that no colour cast arises as it does from three
    histograms.

    Deviation: the paper says "histogram equalization" and no more; where it first names it, it
    cites adaptive equalisation (Pizer et al. 1987), which has a histogram for each neighbourhood.
    Here one histogram stands for the whole image, as the plain name means: where a pixel is does
    not matter (`test_pixels_of_one_brightness_stay_equal_wherever_they_are`).
    """
    luma, blue, red = kornia.color.rgb_to_ycbcr(image).split(1, dim=1)
    flat = kornia.enhance.equalize(luma.clamp(0, 1))
    return kornia.color.ycbcr_to_rgb(torch.cat([flat, blue, red], dim=1)).clamp(0, 1)
