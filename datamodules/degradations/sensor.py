"""What a sensor adds to the light: photon-Gaussian noise, in the three forms in use.

Deviation: sigma_s and sigma_c mean different things in print and in CBDNet's code, from which
NASFE takes its noise. With L the light in [0, 1]:

- in print, CBDNet and NASFE: variance sigma_s^2 L + sigma_c^2. `PaperNoise`, the default;
- CBDNet's MATLAB code: two noises of standard deviation sigma_s L and sigma_c, the light and not
  its root, so variance sigma_s^2 L^2 + sigma_c^2. Its author calls that an error, but the
  released networks were trained with it. `MatlabNoise`;
- CBDNet's Python code: variance sigma_s L + sigma_c, drawn evenly in the logarithm from 1e-4 up,
  which reaches a standard deviation of 0.47; earlier revisions of it have MATLAB's variance.
  `PythonNoise`.

The sum of the two noises is drawn at once, as one Gaussian of their summed variance: the same law.
The ranges have other names in each form, so that settings of one never pass for those of another.
MATLAB's sigmas are drawn anew for each colour there, here once for a picture.
`test_the_variance_at_each_level_is_that_of_the_convention` tests each.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from datamodules.degradations.ranges import Range, check_range

Light = Float64[np.ndarray, "..."]


class Noise(ABC):
    """What sigma_s and sigma_c mean, and where they are drawn from."""

    @abstractmethod
    def variance(self, light: Light, sigma_s: float, sigma_c: float) -> Light:
        """Variance of the noise on `light`, which is not below 0."""

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> tuple[float, float]:
        """sigma_s and sigma_c."""


@dataclass(frozen=True)  # not final: jsonargparse takes no final class as a default
class PaperNoise(Noise):
    """As printed: variance sigma_s^2 L + sigma_c^2; drawn uniformly (NASFE, Section 4).

    Raises:
        ValueError: if a range is not in order within [0, 1].
    """

    sigma_s: Range = (0.01, 0.16)
    sigma_c: Range = (0.01, 0.06)

    def __post_init__(self) -> None:
        check_range("sigma_s", self.sigma_s, 0, 1)
        check_range("sigma_c", self.sigma_c, 0, 1)

    def variance(self, light: Light, sigma_s: float, sigma_c: float) -> Light:
        """sigma_s^2 L + sigma_c^2."""
        return sigma_s**2 * light + sigma_c**2

    def draw(self, generator: np.random.Generator) -> tuple[float, float]:
        """sigma_s and sigma_c, uniform."""
        return float(generator.uniform(*self.sigma_s)), float(generator.uniform(*self.sigma_c))


@final
@dataclass(frozen=True)
class MatlabNoise(Noise):
    """As CBDNet's MATLAB code: variance (sigma_s L)^2 + sigma_c^2; drawn uniformly.

    Raises:
        ValueError: if a range is not in order within [0, 1].
    """

    photon_deviation: Range = (0.0, 0.16)
    rest_deviation: Range = (0.0, 0.06)

    def __post_init__(self) -> None:
        check_range("photon_deviation", self.photon_deviation, 0, 1)
        check_range("rest_deviation", self.rest_deviation, 0, 1)

    def variance(self, light: Light, sigma_s: float, sigma_c: float) -> Light:
        """(sigma_s L)^2 + sigma_c^2."""
        return (sigma_s * light) ** 2 + sigma_c**2

    def draw(self, generator: np.random.Generator) -> tuple[float, float]:
        """sigma_s and sigma_c, uniform."""
        photons = float(generator.uniform(*self.photon_deviation))
        return photons, float(generator.uniform(*self.rest_deviation))


@final
@dataclass(frozen=True)
class PythonNoise(Noise):
    """As CBDNet's Python code: variance sigma_s L + sigma_c; drawn evenly in the logarithm.

    Raises:
        ValueError: if a range is not in order within (0, 1].
    """

    photon_variance: Range = (1e-4, 0.16)
    rest_variance: Range = (1e-4, 0.06)

    def __post_init__(self) -> None:
        check_range("photon_variance", self.photon_variance, 1e-12, 1)
        check_range("rest_variance", self.rest_variance, 1e-12, 1)

    def variance(self, light: Light, sigma_s: float, sigma_c: float) -> Light:
        """sigma_s L + sigma_c."""
        return sigma_s * light + sigma_c

    def draw(self, generator: np.random.Generator) -> tuple[float, float]:
        """sigma_s and sigma_c, uniform in the logarithm."""
        first, second = (
            float(np.exp(generator.uniform(*np.log(bounds))))
            for bounds in (self.photon_variance, self.rest_variance)
        )
        return first, second


def darkened(light: Light, factor: float) -> Light:
    """`light` times the low-light factor r (NASFE Eq. 1).

    Raises:
        ValueError: if `factor` is not in (0, 1].
    """
    if not 0 < factor <= 1:
        raise ValueError(f"a low-light factor must be in (0, 1], got {factor}")
    return light * factor


def noisy(
    light: Light, noise: Noise, sigmas: tuple[float, float], generator: np.random.Generator
) -> Light:
    """`light` with photon-Gaussian noise (n of NASFE Eq. 1), not clipped.

    Args:
        light: in [0, 1], as it falls on the sensor: mosaicked and darkened before.
        noise: what the sigmas mean.
        sigmas: sigma_s of the photons and sigma_c of the rest.
        generator: of the noise.

    Raises:
        ValueError: if a sigma is negative.
    """
    if min(sigmas) < 0:
        raise ValueError(f"sigma_s and sigma_c must be 0 or more, got {sigmas}")
    deviation = np.sqrt(noise.variance(light, *sigmas))
    return light + deviation * generator.standard_normal(light.shape)
