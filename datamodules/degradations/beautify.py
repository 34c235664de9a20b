"""Stand-ins for the photo editors of Makeup-Go (Section 5): Meitu, Photoshop Express, Instagram.

The paper edited its portraits by these commercial programs, whose algorithms nobody tells and whose
results it did not publish. What stands here is ours: well-known filters that do to a portrait what
such programs are known for, so that the way back can be learned and measured by anybody. Every
number is chosen by us, by eye and so that an edited portrait lies some 25 to 32 dB from its
original; results on these edits say nothing about the programs themselves.

As the paper assumes (Section 1), nothing is moved, all of a picture is treated by one rule, and
fine detail is suppressed but not erased. One program at its usual setting is meant: strengths are
drawn anew for each picture, but in narrow ranges. Lengths grow with the picture, as shares of its
shorter side, so edit a portrait as a whole and cut it up afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, final

import numpy as np

from datamodules.degradations.base import Degradation, Degraded, Image, Step
from datamodules.degradations.ranges import Range, check_range
from datamodules.degradations.smoothing import (
    changed,
    clarity,
    skin_mask,
    smooth,
    smooth_where,
)
from datamodules.degradations.tone import brighten, cast, contrast, fade, vignette, whiten

Editor = Literal["mt", "ps", "ins"]
"""Meitu, Photoshop Express, Instagram, by the paper's names for them."""


def beautified(image: Image, smoothing: float, whitening: float) -> Image:
    """`image` with its skin smoothed and made fairer; the rest keeps its values.

    Args:
        image: a portrait.
        smoothing: share of the skin's weak swings that goes, in [0, 1].
        whitening: of `datamodules.degradations.tone.whiten`, above -1.

    Raises:
        ValueError: if a number is out of its range, or `image` no picture.
    """

    def both(unit: Image) -> Image:
        mask = skin_mask(unit, _pixels(unit, 0.006))
        flat = smooth_where(unit, mask, _pixels(unit, 0.016), 0.06, smoothing)
        return whiten(flat, mask, whitening)

    return changed(image, both)


def developed(image: Image, denoising: float, depth: float, shadows: float, curve: float) -> Image:
    """`image` without its noise and finest texture, and with clarity and a tone curve.

    Args:
        image: a photograph.
        denoising: the standard deviation of texture of which half is kept, in [0, 1] units.
        depth: share by which swings of middle size are raised, 0 or more.
        shadows: of `datamodules.degradations.tone.brighten`, above -1.
        curve: of `datamodules.degradations.tone.contrast`, in [-1, 1].

    Raises:
        ValueError: if a number is out of its range, or `image` no picture.
    """

    def steps(unit: Image) -> Image:
        clean = smooth(unit, _pixels(unit, 0.006), denoising)
        deep = clarity(clean, _pixels(unit, 0.05), 0.15, depth)
        return contrast(brighten(deep, shadows), curve)

    return changed(image, steps)


def filtered(image: Image, softness: float, warmth: float, fading: float, corners: float) -> Image:
    """`image` slightly soft, with warm lights and cool shadows, faded, and dark at its corners.

    Args:
        image: a photograph.
        softness: the standard deviation of texture of which half is kept, in [0, 1] units.
        warmth: what red gains in the lights and blue in the shadows, in [0, 0.5].
        fading: what black is lifted to, in [0, 1].
        corners: the share of their light that the corners lose, in [0, 1].

    Raises:
        ValueError: if a number is out of its range, or `image` no picture.
    """

    def steps(unit: Image) -> Image:
        soft = smooth(unit, _pixels(unit, 0.004), softness)
        lights, shadows = (warmth, 0.4 * warmth, -warmth), (-0.4 * warmth, 0.0, warmth)
        curved = contrast(cast(soft, shadows, lights), 0.25)
        return vignette(fade(curved, fading), corners)

    return changed(image, steps)


@final
@dataclass(frozen=True)
class Meitu(Degradation):
    """Stands in for Meitu: skin strongly smoothed, edges kept, and made fairer.

    Skin is found by its colour (`datamodules.degradations.smoothing.skin_mask`), since a
    degradation knows of no landmarks. Every number is ours.

    Attributes:
        smoothing: share of the skin's weak swings that goes.
        whitening: how much fairer skin gets.

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    smoothing: Range = (0.80, 0.90)
    whitening: Range = (0.22, 0.28)

    def __post_init__(self) -> None:
        check_range("smoothing", self.smoothing, 0, 1)
        check_range("whitening", self.whitening, 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as if edited by an app for beautification."""
        told = _drawn({"smoothing": self.smoothing, "whitening": self.whitening}, generator)
        return _edited(beautified(image, **told), "Meitu", told)


@final
@dataclass(frozen=True)
class PhotoshopExpress(Degradation):
    """Stands in for Photoshop Express: noise reduction, clarity and a tone curve, everywhere.

    Every number is ours.

    Attributes:
        denoising: the standard deviation of texture of which half is kept, in [0, 1] units.
        depth: share by which clarity raises swings of middle size.
        shadows: how much dark parts are lifted.
        curve: how S-shaped the tone curve is.

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    denoising: Range = (0.035, 0.045)
    depth: Range = (0.25, 0.35)
    shadows: Range = (0.12, 0.18)
    curve: Range = (0.20, 0.30)

    def __post_init__(self) -> None:
        check_range("denoising", self.denoising, 1e-6, 1)
        check_range("depth", self.depth, 0, 1)
        check_range("shadows", self.shadows, 0, 1)
        check_range("curve", self.curve, 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as if developed by an app for photographs."""
        ranges = {"denoising": self.denoising, "depth": self.depth}
        told = _drawn(ranges | {"shadows": self.shadows, "curve": self.curve}, generator)
        return _edited(developed(image, **told), "Photoshop Express", told)


@final
@dataclass(frozen=True)
class Instagram(Degradation):
    """Stands in for Instagram: one filter over all, with a colour cast, fading and a vignette.

    It softens a little too, as pictures lose their finest texture on the way through such a
    service. Every number is ours.

    Attributes:
        softness: the standard deviation of texture of which half is kept, in [0, 1] units.
        warmth: of the cast.
        fading: what black is lifted to.
        corners: the share of their light that the corners lose.

    Raises:
        ValueError: if a range does not ascend or cannot be.
    """

    softness: Range = (0.020, 0.030)
    warmth: Range = (0.035, 0.045)
    fading: Range = (0.04, 0.06)
    corners: Range = (0.20, 0.30)

    def __post_init__(self) -> None:
        check_range("softness", self.softness, 1e-6, 1)
        check_range("warmth", self.warmth, 0, 0.5)
        check_range("fading", self.fading, 0, 1)
        check_range("corners", self.corners, 0, 1)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` as if put through a filter before it was shared."""
        ranges = {"softness": self.softness, "warmth": self.warmth}
        told = _drawn(ranges | {"fading": self.fading, "corners": self.corners}, generator)
        return _edited(filtered(image, **told), "Instagram", told)


EDITORS: Final[Mapping[Editor, Degradation]] = MappingProxyType(
    {"mt": Meitu(), "ps": PhotoshopExpress(), "ins": Instagram()}
)
"""The stand-ins by the names of the folders that their pictures lie in."""


def _pixels(image: Image, share: float) -> int:
    """`share` of the shorter side, and at least one pixel."""
    return max(1, round(share * min(image.shape[:2])))


def _drawn(ranges: Mapping[str, Range], generator: np.random.Generator) -> dict[str, float]:
    return {name: float(generator.uniform(*values)) for name, values in ranges.items()}


def _edited(image: Image, program: str, told: Mapping[str, float]) -> Degraded:
    return Degraded(image, (Step("other", f"stand-in for {program}", told),))
