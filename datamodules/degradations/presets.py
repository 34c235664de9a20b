"""Degradation recipes of blind face restoration, to train and compare on the inputs others used.

All are one chain: blur by an isotropic or anisotropic Gaussian, shrink, Gaussian noise, JPEG,
enlarge to the old size. Numbers are those of the options that the authors released.

Deviation, of all recipes here: the authors compute in float between the steps; an 8-bit picture is
rounded after each of them here, which moves it by less than a grey level before the noise
(`test_rounding_after_each_step_moves_a_picture_by_less_than_one_level`). A small picture is never
shrunk to nothing, where theirs raises.
"""

import math
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np

from datamodules.degradations.base import (
    Degradation,
    Degraded,
    Image,
    InOrder,
    Sometimes,
    Step,
    check_image,
)
from datamodules.degradations.blur import gaussian_blur
from datamodules.degradations.colour import ColourJitter, ColourShift, Grey
from datamodules.degradations.convolution import convolve
from datamodules.degradations.jpeg import jpeg
from datamodules.degradations.kernels import gaussian_kernel
from datamodules.degradations.noise import gaussian_noise
from datamodules.degradations.ranges import Range, check_range

CUT = 3.5
"""Where an isotropic kernel may end before its radius, in sigma; the rest weighs 1 / 1000."""


def shrink(image: Image, scale: float) -> Image:
    """`image` with its sides divided by `scale`, rounded down, and never below 1 pixel.

    Raises:
        ValueError: if `scale` is not positive, or `image` no picture.
    """
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    height, width = (max(1, int(side // scale)) for side in image.shape[:2])
    return resize(image, height, width)


def resize(image: Image, height: int, width: int) -> Image:
    """`image` at another size, linear between its pixels and not filtered before.

    Of 8-bit pictures in whole numbers, the same on every machine.

    Raises:
        ValueError: if it is no picture.
    """
    check_image(image)
    exact = cv2.INTER_LINEAR_EXACT if image.dtype == np.uint8 else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=exact)


@final
@dataclass(frozen=True)
class LowQuality(Degradation):
    """Blurred, shrunk, noisy, compressed, and enlarged to the old size: the chain of all recipes.

    The kernel is isotropic or not with equal chance. It is square with side 2 r + 1 and cuts the
    Gaussian there, as the authors' does: at r = 20 a sigma of 10 is cut at 2 sigma. An isotropic
    one ends at 3.5 sigma if that comes first, and has weights in 1 / 256 for 8-bit pictures.

    Attributes:
        sigma: of the kernel along each of its axes, in pixels.
        scale: what the sides are divided by.
        noise: standard deviation, in [0, 1] units.
        quality: of the JPEG, rounded down.
        radius: r, both ends possible.

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    sigma: Range = (0.1, 10.0)
    scale: Range = (0.8, 8.0)
    noise: Range = (0.0, 20 / 255)
    quality: Range = (60.0, 100.0)
    radius: tuple[int, int] = (20, 20)

    def __post_init__(self) -> None:
        check_range("sigma", self.sigma, 1e-3)
        check_range("scale", self.scale, 1e-2)
        check_range("noise", self.noise, 0, 1)
        check_range("quality", self.quality, 1, 100)
        check_range("radius", self.radius, 0)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` in low quality."""
        check_image(image)
        blurred, blur = self._blurred(image, generator)
        scale = float(generator.uniform(*self.scale))
        sigma = float(generator.uniform(*self.noise))
        quality = int(generator.uniform(*self.quality))
        small = gaussian_noise(shrink(blurred, scale), sigma, generator)
        steps = (
            blur,
            Step("other", "shrinking", {"scale": scale}),
            Step("noise", "Gaussian noise", {"sigma": sigma}),
            Step("other", "JPEG", {"quality": quality}),
        )
        return Degraded(resize(jpeg(small, quality), *image.shape[:2]), steps)

    def _blurred(self, image: Image, generator: np.random.Generator) -> tuple[Image, Step]:
        radius = int(generator.integers(*self.radius, endpoint=True))
        along, across = generator.uniform(*self.sigma, 2).tolist()
        angle = float(generator.uniform(-np.pi, np.pi))
        if generator.random() < 0.5:
            told = {"sigma": along, "radius": radius}
            cut = max(1, min(radius, math.ceil(CUT * along)))
            return gaussian_blur(image, along, cut), Step("blur", "Gaussian blur", told)
        told = {"sigma": along, "sigma across": across, "angle": angle, "radius": radius}
        kernel = gaussian_kernel(2 * radius + 1, angle, along**2, across**2)
        return convolve(image, kernel), Step("blur", "Gaussian blur", told)


@final
@dataclass(frozen=True)
class Gfpgan(Degradation):
    """What GFPGAN was trained with (options/train_gfpgan_v1.yml).

    After the chain come a shift of each channel by up to 20 / 255, grey, and a jitter of
    brightness, contrast, saturation and hue; all on the input alone, so that the network learns to
    correct colour. With the three probabilities at 0 it learns to keep it.

    Deviation: an option there, off in the released file, makes the target of a grey input grey too;
    a degradation sees only the input here.

    Attributes:
        sigma, scale, noise, quality: as in `LowQuality`.
        shift: probability of the shift.
        grey: probability of grey.
        jitter: probability of the jitter.

    Raises:
        ValueError: if a range does not ascend or cannot be, or a probability is none.
    """

    sigma: Range = (0.1, 10.0)
    scale: Range = (0.8, 8.0)
    noise: Range = (0.0, 20 / 255)
    quality: Range = (60.0, 100.0)
    shift: float = 0.3
    grey: float = 0.01
    jitter: float = 0.3

    def __post_init__(self) -> None:
        self._recipe()

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as GFPGAN sees it."""
        return self._recipe()(image, generator)

    def _recipe(self) -> Degradation:
        return InOrder(
            [
                LowQuality(self.sigma, self.scale, self.noise, self.quality),
                Sometimes(ColourShift(), self.shift),
                Sometimes(Grey(), self.grey),
                Sometimes(ColourJitter(), self.jitter),
            ]
        )


@final
@dataclass(frozen=True)
class Codeformer(Degradation):
    """What stage II of CodeFormer was trained with (options/CodeFormer_stage2.yml): no colours.

    Stage III draws beside it, for its fidelity, sigma (0.1, 10), scale (1, 12), noise (0, 15 / 255)
    and quality (60, 100).

    Attributes:
        sigma, scale, noise, quality: as in `LowQuality`.

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    sigma: Range = (1.0, 15.0)
    scale: Range = (4.0, 30.0)
    noise: Range = (0.0, 20 / 255)
    quality: Range = (30.0, 80.0)

    def __post_init__(self) -> None:
        self._recipe()

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as CodeFormer sees it."""
        return self._recipe()(image, generator)

    def _recipe(self) -> Degradation:
        return LowQuality(self.sigma, self.scale, self.noise, self.quality)


@final
@dataclass(frozen=True)
class Gpen(Degradation):
    """What GPEN's released training code draws (training/data_loader/dataset_face.py).

    Its authors say there that it is GFPGAN's chain and not what the paper was made with. Grey comes
    before the chain, so that the noise has colours.

    Deviation: there the target turns grey with the input; a degradation sees only the input here,
    so that one in five asks for colours that nobody can know. Set `grey` to 0 to ask for none.

    Attributes:
        sigma, scale, noise, quality: as in `LowQuality`.
        grey: probability of grey.

    Raises:
        ValueError: if a range does not ascend or cannot be, or `grey` is no probability.
    """

    sigma: Range = (0.1, 10.0)
    scale: Range = (0.8, 8.0)
    noise: Range = (0.0, 20 / 255)
    quality: Range = (60.0, 100.0)
    grey: float = 0.2

    def __post_init__(self) -> None:
        self._recipe()

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as GPEN sees it."""
        return self._recipe()(image, generator)

    def _recipe(self) -> Degradation:
        chain = LowQuality(self.sigma, self.scale, self.noise, self.quality)
        return InOrder([Sometimes(Grey(), self.grey), chain])


@final
@dataclass(frozen=True)
class Restoreformer(Degradation):
    """What RestoreFormer was trained with (configs/RestoreFormer.yaml): kernels of 39 or 41.

    Attributes:
        sigma, scale, noise, quality: as in `LowQuality`.

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    sigma: Range = (0.1, 10.0)
    scale: Range = (0.8, 8.0)
    noise: Range = (0.0, 20 / 255)
    quality: Range = (60.0, 100.0)

    def __post_init__(self) -> None:
        self._recipe()

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as RestoreFormer sees it."""
        return self._recipe()(image, generator)

    def _recipe(self) -> Degradation:
        return LowQuality(self.sigma, self.scale, self.noise, self.quality, (19, 20))
