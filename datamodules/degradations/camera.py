"""What a camera does to the light: its response, and the colour filters over its sensor."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, final

import cv2
import numpy as np
from jaxtyping import Float64

Values = Float64[np.ndarray, "..."]
Pattern = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
PATTERNS: tuple[Pattern, ...] = ("RGGB", "BGGR", "GRBG", "GBRG")


class Response(ABC):
    """A camera response f and its inverse, between light and display values in [0, 1]."""

    @abstractmethod
    def to_light(self, display: Values) -> Values:
        """The light that shows as `display` (f^-1 of NASFE, Section 4)."""

    @abstractmethod
    def to_display(self, light: Values) -> Values:
        """What `light` shows as (f)."""


@dataclass(frozen=True)  # not final: jsonargparse takes no final class as a default
class Srgb(Response):
    """The response of IEC 61966-2-1, which most pictures are stored for."""

    def to_light(self, display: Values) -> Values:
        """The light, at most 1 for display values at most 1."""
        return np.where(display > 0.04045, ((display + 0.055) / 1.055) ** 2.4, display / 12.92)

    def to_display(self, light: Values) -> Values:
        """The display values; light is not below 0."""
        return np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, light * 12.92)


@final
@dataclass(frozen=True)
class Gamma(Response):
    """A power law; 1 is a camera without a response.

    Raises:
        ValueError: if `exponent` is not positive.
    """

    exponent: float = 2.2

    def __post_init__(self) -> None:
        if self.exponent <= 0:
            raise ValueError(f"exponent must be above 0, got {self.exponent}")

    def to_light(self, display: Values) -> Values:
        """Display values to the power `exponent`."""
        return display**self.exponent

    def to_display(self, light: Values) -> Values:
        """Its inverse; light is not below 0."""
        return light ** (1 / self.exponent)


@final
@dataclass(frozen=True, eq=False)
class Curve(Response):
    """A measured response, linear between its points.

    CBDNet's code takes the nearest point of the table for every pixel in a loop; this is the same
    within one step of the table. Where the curve is flat, the inverse gives one end of the flat.

    Attributes:
        light: rising strictly from 0 to 1.
        display: what each shows as, nowhere falling, from 0 to 1.

    Raises:
        ValueError: if the points are not so.
    """

    light: Float64[np.ndarray, " points"]
    display: Float64[np.ndarray, " points"]

    def __post_init__(self) -> None:
        if self.light.ndim != 1 or self.light.shape != self.display.shape or self.light.size < 2:
            raise ValueError(
                "a response needs as many display values as light values and 2 at least, "
                f"got shapes {self.display.shape} and {self.light.shape}"
            )
        if not (np.all(np.diff(self.light) > 0) and np.all(np.diff(self.display) >= 0)):
            raise ValueError("a response must rise: its light strictly, its display never falling")
        ends = [self.light[0], self.display[0], self.light[-1], self.display[-1]]
        if not np.allclose(ends, [0, 0, 1, 1], atol=1e-6):
            raise ValueError(f"a response must lead from (0, 0) to (1, 1), its ends are {ends}")

    def to_light(self, display: Values) -> Values:
        """The light, linear between the points."""
        return np.interp(display, self.display, self.light)

    def to_display(self, light: Values) -> Values:
        """The display values, linear between the points."""
        return np.interp(light, self.light, self.display)


@final
@dataclass(frozen=True)
class MeasuredResponse(Response):
    """One response of a table file such as DoRF's 201, which is not part of the suite.

    Attributes:
        path: the file; `read_curves` says what is in it.
        name: of the curve.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it cannot be read or has no such curve.
    """

    path: str
    name: str

    def __post_init__(self) -> None:
        if self.name not in (known := read_curves(self.path)):
            raise ValueError(
                f"{self.path} has no curve {self.name!r}; it has {len(known)}, "
                f"the first are {list(known)[:3]}"
            )

    def to_light(self, display: Values) -> Values:
        """The light, linear between the points."""
        return read_curves(self.path)[self.name].to_light(display)

    def to_display(self, light: Values) -> Values:
        """The display values, linear between the points."""
        return read_curves(self.path)[self.name].to_display(light)


@lru_cache(maxsize=4)
def read_curves(path: str) -> Mapping[str, Curve]:
    """The responses of a text file in the form of the Database of Response Functions, by name.

    A curve takes six lines: its name, its kind (colour or black and white; not used), "I =", its
    light values with blanks between, "B =", and as many display values. Empty lines are passed.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if a curve is incomplete, has no numbers, does not rise, or comes twice.
    """
    text = Path(path).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or len(lines) % 6:
        raise ValueError(f"{path} must have six lines for each curve, it has {len(lines)} in all")
    curves: dict[str, Curve] = {}
    for first in range(0, len(lines), 6):
        name = lines[first]
        if name in curves:
            raise ValueError(f"{path} has the curve {name!r} twice; rename one")
        curves[name] = _curve(f"{path}, curve {name!r}", lines[first + 2 : first + 6])
    return curves


def mosaic(
    light: Float64[np.ndarray, "h w 3"], pattern: Pattern = "RGGB"
) -> Float64[np.ndarray, "h w"]:
    """One colour a pixel, as the filters let through (M of NASFE, Section 4).

    Args:
        light: RGB.
        pattern: colours of the top left two by two pixels, row by row.
    """
    plane = np.empty(light.shape[:2])
    for colour, row, column in _places(pattern):
        plane[row::2, column::2] = light[row::2, column::2, "RGB".index(colour)]
    return plane


def demosaic(
    plane: Float64[np.ndarray, "h w"], pattern: Pattern = "RGGB"
) -> Float64[np.ndarray, "h w 3"]:
    """RGB of a mosaic by the 5x5 linear filters of Malvar, He and Cutler (2004).

    They reproduce a picture of one colour exactly. OpenCV's own demosaicing takes integers only.
    """
    smooth = {name: _filtered(plane, taps) for name, taps in _FILTERS.items()}
    light = np.repeat(plane[:, :, None], 3, axis=2)
    colours = {(row, column): colour for colour, row, column in _places(pattern)}
    for (row, column), colour in colours.items():
        site = slice(row, None, 2), slice(column, None, 2)
        if colour == "G":
            beside, above = colours[row, 1 - column], colours[1 - row, column]
            light[(*site, "RGB".index(beside))] = smooth["beside"][site]
            light[(*site, "RGB".index(above))] = smooth["above"][site]
        else:
            light[(*site, 1)] = smooth["green"][site]
            light[(*site, "RGB".index("RB"[colour == "R"]))] = smooth["opposite"][site]
    return light


_GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_BESIDE = [
    [0, 0, 0.5, 0, 0],
    [0, -1, 0, -1, 0],
    [-1, 4, 5, 4, -1],
    [0, -1, 0, -1, 0],
    [0, 0, 0.5, 0, 0],
]
_OPPOSITE = [
    [0, 0, -1.5, 0, 0],
    [0, 2, 0, 2, 0],
    [-1.5, 0, 6, 0, -1.5],
    [0, 2, 0, 2, 0],
    [0, 0, -1.5, 0, 0],
]
_FILTERS: dict[str, Values] = {
    "green": np.array(_GREEN, np.float64) / 8,
    "beside": np.array(_BESIDE) / 8,
    "above": np.array(_BESIDE).T.copy() / 8,
    "opposite": np.array(_OPPOSITE) / 8,
}


def _filtered(plane: Values, taps: Values) -> Values:
    # Mirrored about the outermost pixels, which keeps every colour on its own places.
    return cv2.filter2D(plane, cv2.CV_64F, taps, borderType=cv2.BORDER_REFLECT_101)


def _places(pattern: Pattern) -> list[tuple[str, int, int]]:
    return [(colour, place // 2, place % 2) for place, colour in enumerate(pattern)]


def _curve(told: str, lines: list[str]) -> Curve:
    marks = lines[0].replace(" ", ""), lines[2].replace(" ", "")
    if marks != ("I=", "B="):
        raise ValueError(f"{told}: lines 3 and 5 must be 'I =' and 'B =', got {lines[0::2]}")
    try:
        light, display = (np.array(lines[k].split(), np.float64) for k in (1, 3))
        return Curve(light, display)
    except ValueError as error:
        raise ValueError(f"{told}: {error}") from error
