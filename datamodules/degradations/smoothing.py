"""Edge-preserving smoothing, and where skin is by its colour alone.

All is computed in float32 from [0, 1] units with means over boxes, which OpenCV sums in float64;
8-bit pictures are rounded once, at the end. Beyond its border a picture goes on as its mirror
image, the border itself not repeated. Lengths are radii of boxes in pixels.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from datamodules.degradations.base import Image, check_image

Unit = Float32[np.ndarray, "h w 3"]
Mask = Float32[np.ndarray, "h w"]

# Where skin lies among the colours, as shares of R and G in R + G + B of sRGB's values. Measured
# on faces of all tones, lit well and badly, and set wide; grey is at 1 / 3 of both.
_LEAST_RED: Final = (0.338, 0.360)  # none below the first, whole above the second
_MOST_RED: Final = (0.56, 0.62)  # whole below the first
_GREEN_AT: Final = (0.40, 0.322)  # of the middle of the band, which falls where red rises
_GREEN_SLOPE: Final = -0.20
_GREEN_WIDTH: Final = (0.026, 0.040)  # of half the band: whole within the first
_DARK: Final = (0.30, 0.55)  # of the usual brightness of such colours: darker ones are hair


def changed(image: Image, change: Callable[[Unit], np.ndarray]) -> Image:
    """`image` after `change` of its values in [0, 1]: held to the range, rounded if 8 bits.

    Raises:
        ValueError: if it is no picture.
    """
    check_image(image)
    if image.dtype == np.float32:
        return np.clip(change(image), 0, 1).astype(np.float32, copy=False)
    levels = 255 * change(image / np.float32(255))
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


def smooth(image: Image, radius: int, edge: float) -> Image:
    """`image` with swings much weaker than `edge` flattened, and edges much stronger kept.

    The guided filter (He, Sun and Tang, ECCV 2010) of each channel with itself as the guide: where
    the variance in a box is v, the share v / (v + edge^2) of the swing about its mean stays.

    Args:
        image: what to smooth.
        radius: of the box, 1 or more.
        edge: the standard deviation of which half is kept, in [0, 1] units; positive.

    Raises:
        ValueError: if `radius` is below 1, `edge` not positive, or `image` no picture.
    """
    _check(radius, edge)
    return changed(image, lambda unit: _guided(unit, radius, edge))


def smooth_where(image: Image, mask: Mask, radius: int, edge: float, amount: float) -> Image:
    """`image` with the share `amount` of what `smooth` takes away gone, as far as `mask` says.

    Where the mask is 0 a pixel keeps its value.

    Raises:
        ValueError: if `amount` or the mask is outside [0, 1], the mask of another size, or
            `smooth` would refuse the rest.
    """
    _check(radius, edge)
    check_mask(mask, image)
    if not 0 <= amount <= 1:
        raise ValueError(f"amount must be in [0, 1], got {amount}")
    weight = np.float32(amount) * mask[..., None]
    return changed(image, lambda unit: unit + weight * (_guided(unit, radius, edge) - unit))


def clarity(image: Image, radius: int, edge: float, amount: float) -> Image:
    """`image` with its swings about a smoothed form of itself raised by the share `amount`.

    Only brightness is raised, by one step for all channels; edges much stronger than `edge` get
    no halo, since `smooth` keeps them.

    Raises:
        ValueError: if `amount` is negative, or `smooth` would refuse the rest.
    """
    _check(radius, edge)
    if amount < 0:
        raise ValueError(f"amount must be 0 or more, got {amount}")

    def raised(unit: Unit) -> np.ndarray:
        grey = _brightness(unit)[..., None]
        return np.asarray(unit + np.float32(amount) * (grey - _guided(grey, radius, edge)))

    return changed(image, raised)


def skin_mask(image: Image, radius: int) -> Mask:
    """How much each pixel looks like skin, in [0, 1], by its colour and nothing else.

    Hues of skin are much alike in people of all tones, brightness is not: what is much darker than
    such hues usually are around the middle of this picture counts as hair. Wood, sand and fair
    hair look like skin too, and lips often not: whoever has landmarks knows better
    (`datamodules.skin`). Further than 2 `radius` from any colour of skin the mask is 0.

    Args:
        image: the picture.
        radius: of the boxes that colours are averaged over, and the mask's edge is softened by.

    Raises:
        ValueError: if `radius` is below 1, or `image` no picture.
    """
    check_image(image)
    if radius < 1:
        raise ValueError(f"the radius of a box must be 1 pixel or more, got {radius}")
    unit = image / np.float32(255) if image.dtype == np.uint8 else image
    seen = _mean(unit, radius)
    total = np.maximum(seen.sum(2), np.float32(0.05))
    red, green = seen[..., 0] / total, seen[..., 1] / total
    middle = _GREEN_AT[1] + np.float32(_GREEN_SLOPE) * (red - np.float32(_GREEN_AT[0]))
    likely = _ramp(red, *_LEAST_RED) * (1 - _ramp(red, *_MOST_RED))
    likely *= 1 - _ramp(np.abs(green - middle), *_GREEN_WIDTH)
    usual = _usual(total, likely)
    mask = likely * _ramp(total, _DARK[0] * usual, _DARK[1] * usual)
    return np.clip(_mean(mask, radius), 0, 1)


def check_mask(mask: Mask, image: Image) -> None:
    """Nothing, for a mask that says of each pixel of `image` how much it is meant.

    Raises:
        ValueError: if it is of another size, or outside [0, 1].
    """
    check_image(image)
    if mask.shape != image.shape[:2] or not (mask.min() >= 0 and mask.max() <= 1):
        raise ValueError(
            f"a mask must be in [0, 1] and of the picture's size {image.shape[:2]}, got "
            f"{mask.min():.3g} to {mask.max():.3g} of {mask.shape}"
        )


def _check(radius: int, edge: float) -> None:
    if radius < 1 or edge <= 0:
        raise ValueError(
            f"radius must be 1 pixel or more and edge positive, got {radius} and {edge}"
        )


def _guided(planes: np.ndarray, radius: int, edge: float) -> np.ndarray:
    mean = _mean(planes, radius)
    variance = np.maximum(_mean(planes * planes, radius) - mean * mean, 0)
    kept = variance / (variance + np.float32(edge * edge))
    level = mean * (1 - kept)
    return np.asarray(_mean(kept, radius) * planes + _mean(level, radius))


def _mean(planes: np.ndarray, radius: int) -> np.ndarray:
    side = 2 * radius + 1
    return np.asarray(cv2.blur(planes, (side, side))).reshape(planes.shape)


def _brightness(unit: np.ndarray) -> np.ndarray:
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray((unit * weights).sum(2))


def _usual(values: np.ndarray, likely: np.ndarray) -> float:
    """The mean of `values` over what is `likely` and in the middle, where portraits have faces."""
    rows, columns = (1 - from_middle(side) ** 2 for side in values.shape)
    weight = likely * rows[:, None] * columns
    total = float(weight.sum())
    return float((weight * values).sum()) / total if total > 0 else 1.0


def from_middle(side: int) -> Float64[np.ndarray, " side"]:
    """Where the middles of `side` pixels lie between -1 and 1, the edges of the picture.

    Raises:
        ValueError: if `side` is negative.
    """
    return (2 * np.arange(side) + 1 - side) / side


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, straight between."""
    return np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
