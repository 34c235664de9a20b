"""Blur, noise and low light as NASFE makes them (Eq. 1 and Section 4), and its test sets.

Deviation: where the text is silent or at odds with itself.

- Eq. 1 blurs light; Section 4 blurs the stored picture, k * x, and converts that to light,
  L = M f^-1(k * x). A lens and a shaking hand blur light, so that is the default;
  `blur_acts_on="display"` is Section 4 to the letter
  (`test_blur_of_light_keeps_light_and_blur_of_display_keeps_display_values`).
- The noise depends on the light that falls on the sensor, that is after the low-light factor.
- The sensor, with mosaic and demosaicing, comes in only where there is noise: a blurred picture
  would otherwise show traces of the mosaic that its label does not name.
- As in CBDNet's code, the sensor's values are clipped to [0, 1] before demosaicing.

Everything is float64 with one rounding at the end, so 8-bit results are the same on all machines
but for a value within about 1e-12 of the middle between two levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Literal, final

import numpy as np
from jaxtyping import Float64

from datamodules.degradations.base import Degradation, Degraded, Image, Kind, Step, check_image
from datamodules.degradations.camera import PATTERNS, Pattern, Response, Srgb, demosaic, mosaic
from datamodules.degradations.kernels import (
    Kernel,
    KernelBank,
    blurred,
    gaussian_by_deviation,
    motion_kernel,
)
from datamodules.degradations.sensor import Noise, PaperNoise, darkened, noisy
from datamodules.degradations.trajectory import HandShake

Part = Literal["blur", "noise", "low light"]
Condition = tuple[Part, ...]
Light = Float64[np.ndarray, "h w 3"]
CONDITIONS: tuple[Condition, ...] = (
    ("blur",),
    ("noise",),
    ("low light", "noise"),
    ("blur", "noise"),
    ("blur", "low light", "noise"),
)


@dataclass(frozen=True)
class Camera:
    """What takes the picture.

    Attributes:
        response: f.
        pattern: of the colour filters.
        noise: what sigma_s and sigma_c mean.
        blur_acts_on: the light, or the stored display values.
    """

    response: Response = field(default_factory=Srgb)
    pattern: Pattern = "RGGB"
    noise: Noise = field(default_factory=PaperNoise)
    blur_acts_on: Literal["light", "display"] = "light"

    def light(self, image: Image, kernel: Kernel | None) -> Light:
        """K * x as light: `image` blurred and through the inverse response."""
        if kernel is None:
            return self._linear(image)
        if self.blur_acts_on == "display":
            return self.response.to_light(_smeared(_float64(image), kernel))
        return _smeared(self._linear(image), kernel)

    def sensed(
        self, light: Light, sigmas: tuple[float, float], generator: np.random.Generator
    ) -> Light:
        """`light` after the noisy sensor: mosaic, noise, demosaicing."""
        plane = noisy(mosaic(light, self.pattern), self.noise, sigmas, generator)
        return demosaic(np.clip(plane, 0, 1), self.pattern)

    def _linear(self, image: Image) -> Light:
        if image.dtype == np.uint8:
            return self.response.to_light(np.arange(256) / 255)[image]
        return self.response.to_light(_float64(image))


CAMERAS = tuple(Camera(pattern=pattern) for pattern in PATTERNS)


@final
@dataclass(frozen=True, eq=False)
class Setting:
    """What is done to one picture; left out, nothing is.

    Attributes:
        kernel: k of the blur.
        r: low-light factor, in (0, 1]; 1 leaves the light as it is.
        sigma_s: of the photons' noise.
        sigma_c: of the rest of the noise.
    """

    kernel: Kernel | None = None
    r: float = 1.0
    sigma_s: float = 0.0
    sigma_c: float = 0.0


def apply(
    image: Image, setting: Setting, generator: np.random.Generator, camera: Camera | None = None
) -> Degraded:
    """`image` degraded as `setting` says: y = r (k * x) + n in linear light (NASFE Eq. 1).

    Only the noise is drawn. Without a `camera`, it is an sRGB one with the noise as printed.

    Raises:
        ValueError: if `image` is no picture, or a number of `setting` is out of range.
    """
    check_image(image)
    camera = camera or Camera()
    light = darkened(camera.light(image, setting.kernel), setting.r)
    if setting.sigma_s or setting.sigma_c:
        light = camera.sensed(light, (setting.sigma_s, setting.sigma_c), generator)
    display = camera.response.to_display(np.clip(light, 0, 1))
    return Degraded(_stored(display, image.dtype), tuple(_steps(setting, camera)))


@final
@dataclass(frozen=True)
class NasfeDegradation(Degradation):
    """What NASFE trains with: one of the conditions, its numbers drawn anew for each picture.

    Attributes:
        bank: of the blur kernels.
        conditions: which degradations come together; one is drawn, all equally likely. The paper
            does not list them; these are those of its five test sets.
        low_light: range of the factor r (Section 4).
        cameras: one is drawn; none given are `CAMERAS`, sRGB ones with the four patterns of colour
            filters. Their noise holds the ranges of sigma_s and sigma_c.

    Raises:
        ValueError: if there is no condition or no camera, or a range is out of bounds.
    """

    bank: KernelBank = field(default_factory=KernelBank)
    conditions: Sequence[Condition] = CONDITIONS
    low_light: tuple[float, float] = (0.05, 0.5)
    cameras: Sequence[Camera] | None = None  # a default of objects could not be written as YAML

    def __post_init__(self) -> None:
        if not self.conditions or not self.possible_cameras:
            raise ValueError("name at least one condition and one camera")
        if unknown := {part for condition in self.conditions for part in condition} - KNOWN:
            raise ValueError(f"a condition is made of {sorted(KNOWN)}, got {sorted(unknown)}")
        low, high = self.low_light
        if not 0 < low <= high <= 1:
            raise ValueError(f"low_light must be in order in (0, 1], got {self.low_light}")

    @property
    def possible_cameras(self) -> Sequence[Camera]:
        """Those of which one is drawn."""
        return CAMERAS if self.cameras is None else self.cameras

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` under a condition drawn, with numbers drawn."""
        condition = self.conditions[int(generator.integers(len(self.conditions)))]
        cameras = self.possible_cameras
        camera = cameras[int(generator.integers(len(cameras)))]
        return apply(image, self.setting(condition, camera, generator), generator, camera)

    def setting(
        self, condition: Condition, camera: Camera, generator: np.random.Generator
    ) -> Setting:
        """The numbers of a picture under `condition`, drawn."""
        kernel = self.bank.draw(generator) if "blur" in condition else None
        factor = float(generator.uniform(*self.low_light)) if "low light" in condition else 1.0
        sigmas = camera.noise.draw(generator) if "noise" in condition else (0.0, 0.0)
        return Setting(kernel, factor, *sigmas)


KNOWN: frozenset[Kind] = frozenset(("blur", "noise", "low light"))


@final
@dataclass(frozen=True)
class Grid:
    """A test set: every picture under every combination of these (NASFE, Table 4).

    Attributes:
        kernels: whether with each of the 52 kernels, or without blur.
        factors: r.
        sigmas: pairs of sigma_s and sigma_c.
    """

    kernels: bool = False
    factors: tuple[float, ...] = (1.0,)
    sigmas: tuple[tuple[float, float], ...] = ((0.0, 0.0),)

    def settings(self) -> tuple[Setting, ...]:
        """The settings of each picture, in order: kernels, then factors, then sigmas."""
        kernels = fixed_kernels() if self.kernels else (None,)
        return tuple(
            Setting(kernel, factor, *sigmas)
            for kernel, factor, sigmas in product(kernels, self.factors, self.sigmas)
        )


TEST_SETS: dict[str, Grid] = {
    "Test-B": Grid(kernels=True),
    "Test-N": Grid(sigmas=tuple(product((0.05, 0.1, 0.15), (0.05, 0.1)))),
    "Test-L": Grid(
        factors=(0.1, 0.15, 0.2, 0.25, 0.3, 0.35),
        sigmas=tuple(product((0.05, 0.1), (0.05, 0.1))),
    ),
    "Test-BN": Grid(kernels=True, sigmas=((0.1, 0.05),)),
    "Test-BNL": Grid(kernels=True, factors=(0.15, 0.3), sigmas=((0.1, 0.05),)),
}
"""NASFE's five test sets.

Deviation: Table 4 prints sigma_s = [0.05, 0.1, 0.05] for Test-N, whose 600 pictures of 100 need
three different ones: the third is 0.15. It prints 10,400 pictures for Test-BN, whose 52 kernels
and one pair of sigmas give 5,200 (`test_a_hundred_pictures_make_as_many_as_table_4_can_mean`).
"""


@final
@dataclass(frozen=True)
class OfTestSet(Degradation):
    """NASFE's tests: each picture under one combination of a set of Table 4, drawn.

    Deviation: Table 4 has each under all of them; so do the files of `prepare`, with no references.

    Raises:
        ValueError: if `name` is not in `TEST_SETS`.
    """

    name: str = "Test-BNL"

    def __post_init__(self) -> None:
        if self.name not in TEST_SETS:
            raise ValueError(f"name must be one of {', '.join(TEST_SETS)}, got {self.name!r}")

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` under a combination drawn."""
        settings = TEST_SETS[self.name].settings()
        return apply(image, settings[int(generator.integers(len(settings)))], generator)


@cache
def fixed_kernels() -> tuple[Kernel, ...]:
    """The kernels of the test sets, always the same: 40 of motion, then 12 Gaussians.

    The sides of the motion kernels are in [13, 27] and both deviations of the Gaussians in [1, 3]
    (Table 4). They come from a seed of their own, so the default training bank has none of them.
    """
    motion = [motion_kernel(HandShake(), _FIXED_SEED, index) for index in range(40)]
    generator = np.random.default_rng(_FIXED_SEED)
    return (*motion, *(_fixed_gaussian(generator) for _ in range(12)))


_FIXED_SEED = 2021


def _fixed_gaussian(generator: np.random.Generator) -> Kernel:
    minor, major = sorted(generator.uniform(1, 3, 2).tolist())
    return gaussian_by_deviation(float(generator.uniform(0, np.pi)), major, minor)


def _steps(setting: Setting, camera: Camera) -> list[Step]:
    steps = []
    if setting.kernel is not None:
        steps.append(Step("blur", setting.kernel.name, setting.kernel.parameters))
    if setting.r < 1:
        steps.append(Step("low light", "low light", {"factor": setting.r}))
    if setting.sigma_s or setting.sigma_c:
        told: dict[str, float | int | str] = {
            "sigma_s": setting.sigma_s,
            "sigma_c": setting.sigma_c,
            "convention": type(camera.noise).__name__,
            "pattern": camera.pattern,
        }
        steps.append(Step("noise", "photon-Gaussian noise", told))
    return steps


def _smeared(values: Light, kernel: Kernel) -> Light:
    # The Fourier transform may leave -1e-17 of black.
    return np.clip(blurred(values, kernel.values), 0, 1)


def _float64(image: Image) -> Light:
    if image.dtype == np.uint8:
        return image / 255.0
    return image.astype(np.float64)


def _stored(display: Light, dtype: np.dtype) -> Image:
    if dtype == np.uint8:
        return np.rint(display * 255).astype(np.uint8)
    return display.astype(np.float32)
