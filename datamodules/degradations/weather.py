"""Rain streaks and haze of varying intensity (ISPL Section 4.6, Fig. 9).

The paper shows pictures and gives neither a model nor a number. The model here is the usual one:
streaks in several layers of depth add light, and haze veils what is far, streaks included. Every
number is ours, for pictures of about 512 pixels; lengths and widths are in pixels.
"""

import math
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from datamodules.degradations.base import Degradation, Degraded, Image, Step, check_image
from datamodules.degradations.convolution import convolve_inside
from datamodules.degradations.ranges import Range, check_range

LAYERS = 3
CELLS = 4
_STEPS = 65535  # maps are rounded to these, so that the last bits of an exponential do not count


def streak(length: float, width: float, angle: float) -> Float64[np.ndarray, "k k"]:
    """One streak in the middle of a square of odd side, 1 at its brightest.

    Its brightness fades to both ends as a half cosine, and to the sides as a Gaussian.

    Args:
        length: from end to end, in pixels.
        width: where it is half as bright as in the middle, in pixels.
        angle: it leans from the vertical, its lower end to the right, in radians.

    Raises:
        ValueError: if `length` or `width` is not positive.
    """
    if length <= 0 or width <= 0:
        raise ValueError(f"length and width must be positive, got {length} and {width}")
    radius = math.ceil(length / 2 + 2 * width)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    along = np.sin(angle) * x + np.cos(angle) * y
    across = np.cos(angle) * x - np.sin(angle) * y
    fade = np.cos(np.pi * np.clip(along / length, -0.5, 0.5))
    return fade * np.exp(-4 * math.log(2) * (across / width) ** 2)


@final
@dataclass(frozen=True)
class Rain:
    """What the streaks of one picture look like.

    Attributes:
        density: streaks of the nearest layer that start in 10,000 pixels, on average.
        length: of the nearest streaks, in pixels.
        width: of the nearest streaks, in pixels.
        angle: from the vertical, positive if they fall to the right, in radians.
        brightness: that the brightest add, in [0, 1].
        layers: of depth; layer k is k times as far: streaks 1 / k as long, wide and bright, and
            k^2 as many. None is narrower than 1 pixel, where it would break up into dots.

    Raises:
        ValueError: if a number cannot be.
    """

    density: float
    length: float
    width: float
    angle: float
    brightness: float
    layers: int

    def __post_init__(self) -> None:
        check_range("density", (0, self.density), 0)
        check_range("brightness", (0, self.brightness), 0, 1)
        if self.length <= 0 or self.width <= 0 or self.layers < 1:
            raise ValueError(
                "length and width must be positive and layers 1 or more, "
                f"got {self.length}, {self.width} and {self.layers}"
            )

    def streaks(
        self, height: int, width: int, generator: np.random.Generator
    ) -> Float32[np.ndarray, "h w"]:
        """The light that all layers add, in [0, 1]."""
        light = np.zeros((height, width))
        for k in range(1, self.layers + 1):
            shape = streak(self.length / k, max(1, self.width / k), self.angle)
            margin = shape.shape[0] - 1
            size = height + margin, width + margin
            starts = _scattered(size, self.density * k**2 / 10_000, generator)
            light += convolve_inside(starts, shape * (self.brightness / k))
        return _steady(np.clip(light, 0, 1))


def rain_streaks(image: Image, rain: Rain, generator: np.random.Generator) -> Image:
    """`image` with the light of `rain` added, white and saturating.

    Raises:
        ValueError: if it is no picture.
    """
    check_image(image)
    height, width = image.shape[:2]
    light = rain.streaks(height, width, generator)
    return _as(image.dtype, _unit(image) + light[:, :, None])


def haze(image: Image, airlight: float, transmission: Float32[np.ndarray, "h w"]) -> Image:
    """J t + A (1 - t): `image` seen through air that scatters (Koschmieder).

    Args:
        image: J.
        airlight: A, the grey of the air, in [0, 1].
        transmission: t, the share of light that comes through, in [0, 1].

    Raises:
        ValueError: if `airlight` is not in [0, 1], the sizes differ, or `image` is no picture.
    """
    check_image(image)
    check_range("airlight", (0, airlight), 0, 1)
    if transmission.shape != image.shape[:2]:
        raise ValueError(
            f"transmission must be of the picture's size {image.shape[:2]}, "
            f"got {transmission.shape}"
        )
    through = transmission[:, :, None]
    return _as(image.dtype, _unit(image) * through + np.float32(airlight) * (1 - through))


def transmission(beta: float, depth: Float64[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """T = exp(-beta d): the share of light that comes through air of depth d.

    Raises:
        ValueError: if `beta` is negative.
    """
    if beta < 0:
        raise ValueError(f"beta must be 0 or more, got {beta}")
    return _steady(np.exp(-beta * depth))


def draw_depth(
    height: int, width: int, cells: int, generator: np.random.Generator
) -> Float64[np.ndarray, "h w"]:
    """A smooth random map of distances from 0, the nearest, to 1; on average the top is farthest.

    Half of it is a slope from bottom to top, half a cubic through random values.

    Args:
        height: of the map.
        width: of the map.
        cells: random values along each side; the more, the finer.
        generator: of the draws.

    Raises:
        ValueError: if there are fewer than 2 cells.
    """
    if cells < 2:
        raise ValueError(f"a depth map needs 2 cells a side or more, got {cells}")
    slope = np.linspace(1, 0, height)[:, None]
    values = generator.random((cells, cells))
    depth = slope + cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
    nearest, farthest = depth.min(), depth.max()
    return (depth - nearest) / max(farthest - nearest, 1e-6)


@final
@dataclass(frozen=True)
class RainAndHaze(Degradation):
    """Rain streaks and haze together, as strong as one number drawn for each picture.

    The intensity multiplies the density of the streaks and the beta of the haze; the rest is drawn
    beside it. Streaks come first, so that haze veils them.

    Attributes:
        intensity: range of the number, in [0, 1].
        density: at intensity 1, as in `Rain`.
        length: range, in pixels.
        width: range, in pixels.
        angle: range, in radians.
        brightness: range, in [0, 1].
        beta: at intensity 1; exp(-beta) of the light comes through from the farthest.
        airlight: range, in [0, 1].

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    intensity: Range = (0.2, 1.0)
    density: float = 12.0
    length: Range = (30.0, 80.0)
    width: Range = (1.5, 3.0)
    angle: Range = (-0.6, 0.6)
    brightness: Range = (0.4, 0.8)
    beta: float = 2.0
    airlight: Range = (0.7, 0.95)

    def __post_init__(self) -> None:
        for name in ("intensity", "brightness", "airlight"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("density", (0, self.density), 0)
        check_range("beta", (0, self.beta), 0)
        check_range("length", self.length, 1)
        check_range("width", self.width, 0.1)
        check_range("angle", self.angle, -np.pi, np.pi)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` in rain and haze."""
        check_image(image)
        ranges = (self.intensity, self.length, self.width, self.angle, self.brightness)
        intensity, length, width, angle, brightness = (
            float(generator.uniform(*each)) for each in ranges
        )
        rain = Rain(intensity * self.density, length, width, angle, brightness, LAYERS)
        beta, airlight = intensity * self.beta, float(generator.uniform(*self.airlight))
        height, across = image.shape[:2]
        depth = draw_depth(height, across, CELLS, generator)
        wet = rain_streaks(image, rain, generator)
        told = {"density": rain.density, "length": length, "width": width, "angle": angle}
        steps = (
            Step("other", "rain", {**told, "brightness": brightness, "layers": LAYERS}),
            Step("other", "haze", {"beta": beta, "airlight": airlight}),
        )
        return Degraded(haze(wet, airlight, transmission(beta, depth)), steps)


def _scattered(
    size: tuple[int, int], density: float, generator: np.random.Generator
) -> Float64[np.ndarray, "h w"]:
    """Points of random strength in [1/2, 1], on average `density` in a pixel; they add up."""
    count = int(generator.poisson(density * size[0] * size[1]))
    places = generator.integers(size[0] * size[1], size=count)
    strengths = generator.uniform(0.5, 1, count)
    return np.bincount(places, strengths, size[0] * size[1]).reshape(size)


def _steady(values: np.ndarray) -> Float32[np.ndarray, "h w"]:
    return (np.rint(values * _STEPS) / _STEPS).astype(np.float32)


def _unit(image: Image) -> Float32[np.ndarray, "h w 3"]:
    return image if image.dtype == np.float32 else image / np.float32(255)


def _as(dtype: np.dtype, values: Float32[np.ndarray, "h w 3"]) -> Image:
    values = np.clip(values, 0, 1)
    return values if dtype == np.float32 else np.rint(values * np.float32(255)).astype(np.uint8)
