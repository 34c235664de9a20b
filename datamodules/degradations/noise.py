"""Additive noise whose law is a table of quantiles, read at 16 random bits a value.

The table holds the law at the middles of 65536 equal steps of probability, so the distribution
function is right to 2^-17 and the far tails end at probability 2^-17: 4.3 sigma of a Gaussian,
11.1 scales of a Laplacian. That takes a seventh of the time of exact Gaussian draws, a thirtieth
of that of Poisson draws (benchmarks/bench_degradations.py).
8-bit pictures get noise rounded to whole levels and saturate; float32 pictures get the same
noise unrounded and are clipped to [0, 1].
"""

from dataclasses import dataclass
from functools import cache
from typing import final

import cv2
import numpy as np
from jaxtyping import Float64
from scipy.special import ndtri

from datamodules.degradations.base import Degradation, Degraded, Image, Step, check_image
from datamodules.degradations.ranges import check_range

Table = Float64[np.ndarray, "65536"]
ENTRIES = 1 << 16
# Logarithms differ in their last bits from one processor to another; after this they do not.
GRAIN = 1 << 24


def gaussian_table(sigma: float) -> Table:
    """The quantiles of a Gaussian of standard deviation `sigma`.

    Raises:
        ValueError: if `sigma` is not in [0, 1].
    """
    _check("sigma", sigma)
    return sigma * _standard_gaussian()


def laplace_table(scale: float) -> Table:
    """The quantiles of a Laplacian of this scale; its standard deviation is sqrt(2) times that.

    Raises:
        ValueError: if `scale` is not in [0, 1].
    """
    _check("scale", scale)
    return scale * _standard_laplace()


def poisson_table(mean: float) -> Table:
    """The quantiles of a Poisson count of levels with a fair random sign.

    Args:
        mean: of the count before the sign, in [0, 1]; 15 of 255 levels are 15 / 255.

    Raises:
        ValueError: if `mean` is not in [0, 1].
    """
    _check("mean", mean)
    rate = 255 * mean
    counts = np.arange(1 + int(rate + 12 * rate**0.5 + 12))
    ratios = np.append(np.exp(-rate), rate / counts[1:])
    half = np.cumprod(ratios) / 2
    signed = np.concatenate([half[:0:-1], [2 * half[0]], half[1:]])
    ends = np.rint(ENTRIES * np.cumsum(signed) / signed.sum()).astype(np.int64)
    levels = np.arange(1 - counts.size, counts.size)
    return np.repeat(levels / 255, np.diff(ends, prepend=0))


def gaussian_noise(image: Image, sigma: float, generator: np.random.Generator) -> Image:
    """`image` with independent Gaussian noise in every value.

    Args:
        image: the clean picture.
        sigma: standard deviation, in [0, 1].
        generator: of the draws.

    Raises:
        ValueError: if `sigma` is not in [0, 1] or the picture is of another kind.
    """
    return _add(image, gaussian_table(sigma), generator)


def laplace_noise(image: Image, scale: float, generator: np.random.Generator) -> Image:
    """`image` with independent Laplacian noise in every value.

    Args:
        image: the clean picture.
        scale: of the law, in [0, 1]; the standard deviation is sqrt(2) times that.
        generator: of the draws.

    Raises:
        ValueError: if `scale` is not in [0, 1] or the picture is of another kind.
    """
    return _add(image, laplace_table(scale), generator)


def poisson_noise(image: Image, mean: float, generator: np.random.Generator) -> Image:
    """`image` with a Poisson count of levels added to or taken from every value.

    The count does not depend on the picture, so this is no shot noise; it is what the authors of
    ISPL train on. Its mean is 0 and its variance, in levels, is rate + rate^2 with
    rate = 255 `mean`.

    Args:
        image: the clean picture.
        mean: of the count before the sign, in [0, 1].
        generator: of the draws.

    Raises:
        ValueError: if `mean` is not in [0, 1] or the picture is of another kind.
    """
    return _add(image, poisson_table(mean), generator)


@final
@dataclass(frozen=True)
class GaussianNoise(Degradation):
    """Gaussian noise of a standard deviation drawn uniformly.

    Attributes:
        low: least sigma, in [0, 1].
        high: greatest sigma, in [0, 1].

    Raises:
        ValueError: if they are not 0 <= low <= high <= 1.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_range("sigma", (self.low, self.high), 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` with the noise."""
        sigma = generator.uniform(self.low, self.high)
        step = Step("noise", "Gaussian noise", {"sigma": sigma})
        return Degraded(gaussian_noise(image, sigma, generator), (step,))


@final
@dataclass(frozen=True)
class LaplaceNoise(Degradation):
    """Laplacian noise of a scale drawn uniformly.

    Attributes:
        low: least scale, in [0, 1].
        high: greatest scale, in [0, 1].

    Raises:
        ValueError: if they are not 0 <= low <= high <= 1.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_range("scale", (self.low, self.high), 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` with the noise."""
        scale = generator.uniform(self.low, self.high)
        step = Step("noise", "Laplace noise", {"scale": scale})
        return Degraded(laplace_noise(image, scale, generator), (step,))


@final
@dataclass(frozen=True)
class PoissonNoise(Degradation):
    """Poisson counts of random sign, their mean drawn uniformly.

    Attributes:
        low: least mean, in [0, 1].
        high: greatest mean, in [0, 1].

    Raises:
        ValueError: if they are not 0 <= low <= high <= 1.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_range("mean", (self.low, self.high), 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` with the noise."""
        mean = generator.uniform(self.low, self.high)
        step = Step("noise", "Poisson noise", {"mean": mean})
        return Degraded(poisson_noise(image, mean, generator), (step,))


def _add(image: Image, table: Table, generator: np.random.Generator) -> Image:
    check_image(image)
    draws = _sixteen_bits(image.shape, generator)
    if image.dtype == np.uint8:
        levels = np.rint(255 * table).astype(np.int16)
        return cv2.add(image, cv2.LUT(draws, levels), dtype=cv2.CV_8U)
    noise = cv2.LUT(draws, table.astype(np.float32))
    return np.clip(image + noise, 0, 1)


def _sixteen_bits(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    # Words of 64 bits cut in four: a third of the time that 16-bit draws take.
    count = int(np.prod(shape))
    words = generator.integers(0, 1 << 64, -(-count // 4), dtype=np.uint64)
    return words.view(np.uint16)[:count].reshape(shape)


@cache
def _standard_gaussian() -> Table:
    return _steady(ndtri(_middles()))


@cache
def _standard_laplace() -> Table:
    p = _middles()
    return _steady(np.where(p < 0.5, 1, -1) * np.log(2 * np.minimum(p, 1 - p)))


def _middles() -> Table:
    return (np.arange(ENTRIES) + 0.5) / ENTRIES


def _steady(values: Table) -> Table:
    rounded = np.rint(values * GRAIN) / GRAIN
    rounded.flags.writeable = False
    return rounded


def _check(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], 1 being white, got {value}")
