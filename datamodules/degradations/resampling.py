"""Loss of resolution at a kept size: down by areas and up by cubics, and mosaics."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np

from datamodules.degradations.base import Degradation, Degraded, Image, Step, check_image


def resample(image: Image, scale: float) -> Image:
    """`image` brought down by area means and up to its own size again by cubic interpolation.

    In between it is `scale` times as high and wide, rounded, at least one pixel; an 8-bit picture
    is rounded to 8 bits there. The cubic is OpenCV's (a = -0.75); what it overshoots is cut off.

    Args:
        image: the sharp picture.
        scale: in (0, 1].

    Raises:
        ValueError: if `scale` is not in (0, 1] or the picture is of another kind.
    """
    check_image(image)
    if not 0 < scale <= 1:
        raise ValueError(f"scale must be in (0, 1], got {scale}")
    height, width = image.shape[:2]
    small = (max(1, round(scale * width)), max(1, round(scale * height)))
    exact = image if image.dtype == np.uint8 else image.astype(np.float64)
    with _same_on_all_processors():
        down = cv2.resize(exact, small, interpolation=cv2.INTER_AREA)
        up = cv2.resize(down, (width, height), interpolation=cv2.INTER_CUBIC)
    return up if image.dtype == np.uint8 else np.clip(up, 0, 1).astype(np.float32)


def mosaic(image: Image, block: int) -> Image:
    """`image` with every block of `block` x `block` pixels replaced by its mean.

    Blocks start at the upper left corner. Where the size is no multiple of `block`, those at the
    right and lower border are smaller and take the mean of what they have. 8-bit means are cut
    to whole levels, not rounded, as in the authors' data.

    Raises:
        ValueError: if `block` is below 1 or the picture is of another kind.
    """
    check_image(image)
    if block < 1:
        raise ValueError(f"block must be at least 1 pixel, got {block}")
    height, width = image.shape[:2]
    tops, lefts = np.arange(0, height, block), np.arange(0, width, block)
    exact = np.int64 if image.dtype == np.uint8 else np.float64
    sums = np.add.reduceat(image, tops, axis=0, dtype=exact)
    sums = np.add.reduceat(sums, lefts, axis=1)
    heights, widths = np.diff(tops, append=height), np.diff(lefts, append=width)
    pixels = (heights[:, None] * widths)[..., None]
    means = sums // pixels if image.dtype == np.uint8 else sums / pixels
    return means.astype(image.dtype).repeat(heights, axis=0).repeat(widths, axis=1)


@final
@dataclass(frozen=True)
class Downsampled(Degradation):
    """Resolution divided by a fixed number, at the size as it was.

    Attributes:
        factor: how many times smaller in between, at least 1.

    Raises:
        ValueError: if `factor` is below 1.
    """

    factor: float

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1, got {self.factor}")

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` at the lower resolution; nothing is drawn."""
        step = Step("other", "resampling", {"scale": 1 / self.factor})
        return Degraded(resample(image, 1 / self.factor), (step,))


@final
@dataclass(frozen=True)
class Resampled(Degradation):
    """Resolution times a number drawn uniformly, at the size as it was.

    Attributes:
        low: least scale, in (0, 1].
        high: greatest scale, in (0, 1].

    Raises:
        ValueError: if they are not 0 < low <= high <= 1.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise ValueError(f"0 < low <= high <= 1 must hold, got {self.low} and {self.high}")

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` at the resolution drawn."""
        scale = generator.uniform(self.low, self.high)
        return Degraded(resample(image, scale), (Step("other", "resampling", {"scale": scale}),))


@final
@dataclass(frozen=True)
class Mosaic(Degradation):
    """Means of square blocks.

    Attributes:
        block: side of a block in pixels, at least 1.

    Raises:
        ValueError: if `block` is below 1.
    """

    block: int

    def __post_init__(self) -> None:
        if self.block < 1:
            raise ValueError(f"block must be at least 1 pixel, got {self.block}")

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` in blocks; nothing is drawn."""
        return Degraded(
            mosaic(image, self.block), (Step("other", "mosaic", {"block": self.block}),)
        )


@contextmanager
def _same_on_all_processors() -> Iterator[None]:
    # Intel's library under OpenCV rounds a cubic by one level more or less from one instruction
    # set to another. The switch is this thread's own.
    used = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        yield
    finally:
        cv2.ipp.setUseIPP(used)
