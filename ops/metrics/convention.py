"""What is done to both images of a pair before a metric compares them, in code and in words."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

_WEIGHTS = (65.481, 128.553, 24.966)  # of R, G and B in [0, 1], in levels of 8 bits
_BLACK = 16.0


def luma(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Y of RGB images in [0, 1], in the studio range: from 16/255 to 235/255 (ITU-R BT.601).

    What MATLAB's rgb2ycbcr gives, before it rounds to 8 bits.
    """
    red, green, blue = images.split(1, dim=1)
    levels = _BLACK + _WEIGHTS[0] * red + _WEIGHTS[1] * green + _WEIGHTS[2] * blue
    return levels / 255


def rounded(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The images as a file of 8 bits would hold them: cut to [0, 1], in steps of 1/255.

    Halves go to the even level, as where this project writes pictures. Computed in float32 at
    least; rounding lets no gradient through.
    """
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    return (wide.clamp(0, 1).mul(255).round() / 255).to(images.dtype)


@dataclass(frozen=True)
class Convention:
    """How images are prepared before a metric: rounding, then the channel, then the border.

    Nothing is ever written to a JPEG file and read back.

    Attributes:
        rounding: whether values are rounded to 8 bits, as files hold them.
        channel: "RGB" keeps the three channels; "Y" compares `luma` alone.
        border: pixels cut from each of the four sides.
    """

    rounding: bool = False
    channel: Literal["RGB", "Y"] = "RGB"
    border: int = 0

    def __post_init__(self) -> None:
        """Refuses what could not be prepared.

        Raises:
            ValueError: if the channel is unknown or the border negative.
        """
        if self.channel not in ("RGB", "Y"):
            raise ValueError(f"channel must be 'RGB' or 'Y', got {self.channel!r}")
        if self.border < 0:
            raise ValueError(f"border must be 0 or more pixels, got {self.border}")

    @property
    def sentence(self) -> str:
        """The convention in words, to stand beside a table of scores; without a full stop."""
        rounding = "rounded to 8 bits" if self.rounding else "no rounding"
        channel = "RGB in [0, 1]"
        if self.channel == "Y":
            channel = "Y of RGB in [0, 1] (BT.601, from 16/255 to 235/255)"
            rounding += " before Y is taken" if self.rounding else ""
        border = f"{self.border} px cut from each side" if self.border else "no border cut"
        return f"{channel}, {rounding}, {border}"

    def prepare(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c height width"]:
        """The images as the metric is to see them, still in [0, 1]; c is 1 for Y, else 3.

        Args:
            images: outputs or targets, in [0, 1]; both sides of a pair have to come here.

        Raises:
            ValueError: if the border leaves nothing of the images.
        """
        height, width = images.shape[-2:]
        if min(height, width) <= 2 * self.border:
            raise ValueError(
                f"a border of {self.border} px leaves nothing of {height} x {width} pixels: cut "
                "less, or compare larger images"
            )
        cut = slice(self.border, -self.border or None)
        images = images[..., cut, cut]
        if self.rounding:
            images = rounded(images)
        return luma(images) if self.channel == "Y" else images


OURS = Convention()
"""This project's own, in every table that names no other: the values as the network gave them.

That of the RetouchFormer line of work too: its PSNR of values in [-1, 1] with a range of 2, not
rounded, is the same number.
"""

HIFACEGAN = Convention(rounding=True)
"""HiFaceGAN's (Yang et al., 2020): RGB, rounded to 8 bits, nothing cut.

Deviation: its released script writes output and target side by side into a JPEG file and scores
what it reads back, so that the published numbers hold JPEG's loss on both sides; and it hands the
channels to FID and LPIPS as BGR. Neither is done here: numbers under this preset are near the
published ones and not equal to them. Its SSIM counts whole windows only, which no preset changes
here. Its NIQE is another measure (see `ops.metrics.niqe`).
"""

SUPER_RESOLUTION = Convention(rounding=True, channel="Y", border=4)
"""The super-resolution literature's at a factor of 4, as BasicSR's settings have it.

8-bit files, Y alone and not rounded again, as many pixels cut as the factor says: 4. Evaluations
in MATLAB round Y as well, which moves a PSNR of 30 dB by about 0.01 dB.
"""
