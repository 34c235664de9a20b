"""Tone curves, casts, fading and vignettes: what the filters of photo apps are made of.

Curves are polynomials and fractions, so that every machine computes the same; values are those of
sRGB in [0, 1], as apps treat them, not linear light. 8-bit pictures are rounded once, at the end.
"""

from collections.abc import Sequence

import numpy as np

from datamodules.degradations.base import Image
from datamodules.degradations.smoothing import Mask, changed, check_mask, from_middle


def brighten(image: Image, amount: float) -> Image:
    """`image` by the curve x (1 + amount) / (1 + amount x), which leaves black and white alone.

    Dark values grow by up to 1 + `amount`; colours fade a little, since the darkest channel of a
    pixel grows most.

    Raises:
        ValueError: if `amount` is not above -1, or `image` no picture.
    """
    _check_brightening(amount)
    return changed(image, lambda unit: _brightened(unit, amount))


def whiten(image: Image, mask: Mask, amount: float) -> Image:
    """`image` brightened by `amount` as far as `mask` says; where that is 0 a pixel is as it was.

    Raises:
        ValueError: if `amount` is not above -1, the mask is outside [0, 1] or of another size, or
            `image` is no picture.
    """
    _check_brightening(amount)
    check_mask(mask, image)
    return changed(image, lambda unit: unit + mask[..., None] * (_brightened(unit, amount) - unit))


def contrast(image: Image, amount: float) -> Image:
    """`image` by an S-shaped curve: the share `amount` of 3 x^2 - 2 x^3, the rest as it is.

    Black, middle grey and white stay; a negative amount flattens.

    Raises:
        ValueError: if `amount` is not in [-1, 1], or `image` no picture.
    """
    if not -1 <= amount <= 1:
        raise ValueError(f"amount must be in [-1, 1], got {amount}")
    share = np.float32(amount)
    return changed(image, lambda unit: unit + share * (unit * unit * (3 - 2 * unit) - unit))


def fade(image: Image, amount: float) -> Image:
    """`image` with black lifted to `amount` and all between black and white in proportion.

    Raises:
        ValueError: if `amount` is not in [0, 1], or `image` no picture.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount must be in [0, 1], got {amount}")
    lift = np.float32(amount)
    return changed(image, lambda unit: lift + (1 - lift) * unit)


def cast(image: Image, shadows: Sequence[float], lights: Sequence[float]) -> Image:
    """`image` with one colour added to its dark parts and another to its light ones.

    A channel's x grows by `shadows` times (1 - x)^2 and by `lights` times x^2.

    Args:
        image: the picture.
        shadows: red, green and blue, in [-0.5, 0.5] so that the order of values stays.
        lights: likewise.

    Raises:
        ValueError: if a colour is out of its range or not of three numbers, or `image` no picture.
    """
    for colour in (shadows, lights):
        if len(colour) != 3 or not max(map(abs, colour)) <= 0.5:
            raise ValueError(f"a cast is three numbers in [-0.5, 0.5], got {tuple(colour)}")
    dark, light = np.array(shadows, np.float32), np.array(lights, np.float32)
    return changed(image, lambda unit: unit + dark * (1 - unit) ** 2 + light * unit * unit)


def vignette(image: Image, amount: float) -> Image:
    """`image` darkened towards its corners, which lose the share `amount` of their light.

    The loss grows with the fourth power of the distance from the middle, where 1 is a corner of
    whatever shape the picture has: half way there it is a sixteenth.

    Raises:
        ValueError: if `amount` is not in [0, 1], or `image` no picture.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount must be in [0, 1], got {amount}")
    rows, columns = (from_middle(side) ** 2 for side in image.shape[:2])
    squared = (rows[:, None] + columns) / 2
    kept = (1 - amount * squared**2).astype(np.float32)[..., None]
    return changed(image, lambda unit: unit * kept)


def _check_brightening(amount: float) -> None:
    if amount <= -1:
        raise ValueError(f"amount must be above -1, got {amount}")


def _brightened(unit: np.ndarray, amount: float) -> np.ndarray:
    more = np.float32(amount)
    return np.asarray(unit * (1 + more) / (1 + more * unit))
