"""JPEG compression: 8 bits, baseline, colour at half resolution (4:2:0).

OpenCV's encoder and decoder are used: their bytes and pixels equal Pillow's (a test), and they are
half as fast again. libjpeg-turbo computes in whole numbers, the same on every processor.
"""

from dataclasses import dataclass
from typing import final

import cv2
import numpy as np

from datamodules.degradations.base import Degradation, Degraded, Image, Step, check_image
from datamodules.degradations.ranges import check_range

LARGEST = 65500  # pixels a side, libjpeg's own limit


def jpeg(image: Image, quality: int) -> Image:
    """`image` written as JPEG and read again; a float32 picture is rounded to 8 bits for it.

    Args:
        image: the clean picture.
        quality: of libjpeg, in 1 ... 100.

    Raises:
        ValueError: if `quality` is not in 1 ... 100, or the picture is too large or of another
            kind.
    """
    file = np.frombuffer(encode(image, quality), np.uint8)
    decoded = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB))
    if image.dtype == np.uint8:
        return decoded
    return decoded.astype(np.float32) / np.float32(255)


def encode(image: Image, quality: int) -> bytes:
    """The JPEG file of `image`.

    Args:
        image: the picture; float32 is rounded to 8 bits.
        quality: of libjpeg, in 1 ... 100.

    Raises:
        ValueError: if `quality` is not in 1 ... 100, or the picture is too large or of another
            kind.
    """
    check_image(image)
    _check_quality(quality)
    if not 0 < min(image.shape[:2]) <= max(image.shape[:2]) <= LARGEST:
        raise ValueError(
            f"a JPEG has 1 to {LARGEST} pixels a side, got shape {image.shape}; resize it first"
        )
    levels = image if image.dtype == np.uint8 else np.rint(255 * image).astype(np.uint8)
    swapped = cv2.cvtColor(levels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def quality_of(compression: float) -> int:
    """The quality that imgaug means by a compression: 50 gives 51, 85 gives 17.

    Args:
        compression: in [0, 100], 100 being the strongest.

    Raises:
        ValueError: if `compression` is not in [0, 100].
    """
    if not 0 <= compression <= 100:
        raise ValueError(f"compression must be in [0, 100], got {compression}")
    return min(100, max(1, round(1 + 99 * (1 - compression / 101))))


@final
@dataclass(frozen=True)
class Jpeg(Degradation):
    """JPEG of a quality drawn uniformly from whole numbers.

    Attributes:
        low: least quality, in 1 ... 100.
        high: greatest quality, which is drawn too.

    Raises:
        ValueError: if they are not 1 <= low <= high <= 100.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        check_range("quality", (self.low, self.high), 1, 100)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` compressed."""
        quality = int(generator.integers(self.low, self.high, endpoint=True))
        step = Step("other", "JPEG", {"quality": quality})
        return Degraded(jpeg(image, quality), (step,))


@final
@dataclass(frozen=True)
class CompressedJpeg(Degradation):
    """JPEG of a compression, as imgaug counts it, drawn uniformly from whole numbers.

    Attributes:
        low: least compression, in 0 ... 100; `quality_of` gives the quality.
        high: greatest compression, which is drawn too.

    Raises:
        ValueError: if they are not 0 <= low <= high <= 100.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        check_range("compression", (self.low, self.high), 0, 100)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` compressed."""
        quality = quality_of(int(generator.integers(self.low, self.high, endpoint=True)))
        step = Step("other", "JPEG", {"quality": quality})
        return Degraded(jpeg(image, quality), (step,))


def _check_quality(quality: int) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be in 1 ... 100, got {quality}")
