"""The six degradations of ISPL (Section 4.3, Table 2), each nameable without arguments.

The paper gives names and one range; the numbers are those of the data script that its authors
published for HiFaceGAN in BasicSR. Levels of 8 bits are divided by 255 here, as everywhere in
this suite. Common deviations from that script: colours are RGB before JPEG, where the script
hands BGR over, so that its colour loss falls on other colours; and the motion kernel is
not rounded before it is normalised but after.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np

from datamodules.degradations.base import AnyOrder, Degradation, Degraded, Image, OneOf
from datamodules.degradations.blur import CutGaussianBlur, MotionBlur
from datamodules.degradations.jpeg import CompressedJpeg
from datamodules.degradations.noise import GaussianNoise, LaplaceNoise, PoissonNoise
from datamodules.degradations.resampling import Downsampled, Mosaic, Resampled

_SUPER_RESOLUTION = Downsampled(4)
_MOSAIC = Mosaic(16)
_NOISE = OneOf(
    (
        GaussianNoise(20 / 255, 40 / 255),
        LaplaceNoise(20 / 255, 40 / 255),
        PoissonNoise(15 / 255, 30 / 255),
    )
)
_BLUR = OneOf((MotionBlur(10, 20), CutGaussianBlur(3, 8)))
_JPEG = CompressedJpeg(50, 85)
_FULL = AnyOrder((_BLUR, _NOISE, _JPEG, Resampled(1 / 8, 1 / 4)))


@final
@dataclass(frozen=True)
class SuperResolution4(Degradation):
    """Face super-resolution, 4x (ISPL Section 4.3).

    Deviation: printed is "4x bicubic downsampling"; released, and done here, are area means down
    to a quarter and a cubic up to the full size, which the network gets.
    """

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` at a quarter of its resolution; nothing is drawn."""
        return _SUPER_RESOLUTION(image, generator)


@final
@dataclass(frozen=True)
class Mosaic16(Degradation):
    """Hallucination from 16-pixel mosaics (ISPL Section 4.3).

    Printed is the block alone; released, and done here, are block means cut to whole levels.
    """

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` in blocks; nothing is drawn."""
        return _MOSAIC(image, generator)


@final
@dataclass(frozen=True)
class Noise(Degradation):
    """Denoising: a third each of Gaussian, Laplacian and Poisson noise (ISPL Section 4.3, Table 2).

    Printed are the three kinds and their shares. Released, and done here: sigma of 20 to 40 levels,
    a Laplacian scale (not sigma) of 20 to 40 levels, and a Poisson count of mean 15 to 30 levels
    with a random sign, all independent in each channel and of the picture.
    """

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` with one kind of noise."""
        return _NOISE(image, generator)


@final
@dataclass(frozen=True)
class Blur(Degradation):
    """Deblurring: a half each of motion and Gaussian blur (ISPL Section 4.3, Table 2).

    Printed are the two kinds and their shares. Released, and done here: lines of 10 to 20 pixels
    (made odd) at any angle, and a sigma of 3 to 8 pixels whose kernel is cut as imgaug cuts it
    (`released_radius`). For the whole Gaussian, compose MotionBlur and GaussianBlur with OneOf.
    """

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` blurred in one way."""
        return _BLUR(image, generator)


@final
@dataclass(frozen=True)
class JpegArtifacts(Degradation):
    """JPEG artifact removal (ISPL Section 4.3).

    Deviation: printed is "quality Q in [50, 85]". The released script hands these numbers over as
    imgaug's compression, which is a quality of 51 down to 17; that is done here, 85 included,
    which the script only comes close to (see its test).
    For the printed range, use Jpeg(50, 85).
    """

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` compressed."""
        return _JPEG(image, generator)


@final
@dataclass(frozen=True)
class Full(Degradation):
    """Dual-blind restoration: blur, noise, JPEG and resampling in any order (ISPL Section 4.3).

    Deviation: printed is a hybrid of all subtypes but the mosaic, which would be a scale of 1/4;
    released, and done here, is a scale drawn from 1/8 to 1/4 and an order drawn anew each time
    (`test_full_is_all_four_in_all_24_orders`). The script beside the authors' first code shrinks
    by cubics instead of area means.
    """

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` after all four."""
        return _FULL(image, generator)


TASKS: Mapping[str, Degradation] = MappingProxyType(
    {
        "super_resolution": SuperResolution4(),
        "mosaic": Mosaic16(),
        "noise": Noise(),
        "blur": Blur(),
        "jpeg": JpegArtifacts(),
        "full": Full(),
    }
)
"""The six, by the names of their test sets."""
