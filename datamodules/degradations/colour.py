"""Changes of colour: shift, brightness, contrast, saturation, hue, grey.

8-bit pictures are rounded after each change. All but hue are computed in whole numbers for them,
with coefficients that are multiples of 1 / 1024.
"""

import math
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np

from datamodules.degradations.base import Degradation, Degraded, Image, Step, check_image
from datamodules.degradations.ranges import Range, check_range

LUMA = (0.299, 0.587, 0.114)
_FRACTION = 1024
_ROWS = 16  # strips that fit into a processor's cache: several times as fast as whole pictures


def shift_colour(image: Image, red: float, green: float, blue: float) -> Image:
    """`image` with a constant added to each channel, in [0, 1] units.

    Raises:
        ValueError: if it is no picture.
    """
    return _mixed(image, np.eye(3), np.array([red, green, blue]))


def scale_brightness(image: Image, factor: float) -> Image:
    """`image` times `factor`.

    Raises:
        ValueError: if it is no picture.
    """
    return _mixed(image, factor * np.eye(3), np.zeros(3))


def scale_contrast(image: Image, factor: float) -> Image:
    """`image` with its distance from its mean grey multiplied by `factor`.

    Raises:
        ValueError: if it is no picture.
    """
    check_image(image)
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    mean = mean / 255 if image.dtype == np.uint8 else mean
    return _mixed(image, factor * np.eye(3), np.full(3, (1 - factor) * mean))


def scale_saturation(image: Image, factor: float) -> Image:
    """`image` with each pixel's distance from its own grey multiplied by `factor`; 0 is grey.

    Raises:
        ValueError: if it is no picture.
    """
    grey = np.tile(LUMA, (3, 1))
    return _mixed(image, factor * np.eye(3) + (1 - factor) * grey, np.zeros(3))


def turn_hue(image: Image, angle: float) -> Image:
    """`image` with all hues turned by `angle` in radians; value and saturation (HSV) stay.

    Computed in float32 whatever the picture: 256 hues would be up to 8 levels off.

    Raises:
        ValueError: if it is no picture.
    """
    check_image(image)
    degrees = math.degrees(angle) % 360
    result = np.empty_like(image)
    for top in range(0, len(image), _ROWS):
        result[top : top + _ROWS] = _turned(image[top : top + _ROWS], degrees)
    return result


def to_grey(image: Image) -> Image:
    """`image` without colour, still of three channels.

    Raises:
        ValueError: if it is no picture.
    """
    check_image(image)
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


@final
@dataclass(frozen=True)
class ColourShift(Degradation):
    """A constant on each channel, uniform in +- `most`.

    Raises:
        ValueError: if `most` is not in [0, 1].
    """

    most: float = 20 / 255

    def __post_init__(self) -> None:
        check_range("most", (0, self.most), 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` shifted."""
        red, green, blue = generator.uniform(-self.most, self.most, 3).tolist()
        told = {"red": red, "green": green, "blue": blue}
        shifted = shift_colour(image, red, green, blue)
        return Degraded(shifted, (Step("other", "colour shift", told),))


@final
@dataclass(frozen=True)
class ColourJitter(Degradation):
    """Brightness, contrast, saturation and hue, one after the other in an order drawn anew.

    Attributes:
        brightness: range of its factor.
        contrast: range of its factor.
        saturation: range of its factor.
        hue: range of its angle in radians.

    Raises:
        ValueError: if a range does not ascend, or a factor may be negative.
    """

    brightness: Range = (0.5, 1.5)
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.0, 1.5)
    hue: Range = (-0.2 * np.pi, 0.2 * np.pi)

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_range(name, getattr(self, name), 0, np.inf)
        check_range("hue", self.hue, -np.pi, np.pi)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` after all four."""
        changes = {
            "brightness": (scale_brightness, generator.uniform(*self.brightness)),
            "contrast": (scale_contrast, generator.uniform(*self.contrast)),
            "saturation": (scale_saturation, generator.uniform(*self.saturation)),
            "hue": (turn_hue, generator.uniform(*self.hue)),
        }
        names = [list(changes)[i] for i in generator.permutation(len(changes))]
        for name in names:
            change, amount = changes[name]
            image = change(image, amount)
        told = {name: float(changes[name][1]) for name in names}
        return Degraded(image, (Step("other", "colour jitter", told),))


@final
@dataclass(frozen=True)
class Grey(Degradation):
    """No colour."""

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` in grey."""
        return Degraded(to_grey(image), (Step("other", "grey", {}),))


def _turned(image: Image, degrees: float) -> Image:
    eight_bits = image.dtype == np.uint8
    colours = cv2.cvtColor(image / np.float32(255) if eight_bits else image, cv2.COLOR_RGB2HSV)
    # OpenCV takes hues up to two turns, but not below none.
    turned = cv2.cvtColor(cv2.add(colours, (degrees, 0, 0, 0)), cv2.COLOR_HSV2RGB)
    return cv2.convertScaleAbs(turned, alpha=255) if eight_bits else np.clip(turned, 0, 1)


def _mixed(image: Image, mix: np.ndarray, added: np.ndarray) -> Image:
    """`mix` times each pixel, plus `added` in [0, 1] units, held to the range."""
    check_image(image)
    levels = 255 if image.dtype == np.uint8 else 1
    matrix = np.hstack([mix, levels * added[:, None]])
    if image.dtype == np.uint8:
        return cv2.transform(image, np.rint(matrix * _FRACTION) / _FRACTION)
    return np.clip(cv2.transform(image, matrix), 0, 1)
