"""Motion blur along a straight line, Gaussian blur, and blur by any kernel.

Beyond its border a picture goes on as its mirror image, the border itself not repeated.
8-bit pictures are filtered in whole numbers by lines and Gaussians, so that their bytes do not
depend on the processor; everything else is filtered in float64 and rounded once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
from jaxtyping import Float, Float64, Int64

from datamodules.degradations.base import Degradation, Degraded, Image, Step, check_image

Kernel = Float[np.ndarray, "rows columns"]
UNIT = 256  # a kernel's sum in whole numbers; the largest that 16-bit sums hold
SPARSE = 64  # weights; the longest line of ISPL has some 45
BOX = 6  # side of the pieces of a kernel; OpenCV filters small ones directly, others by Fourier


def line_kernel(size: int, angle: float, direction: float) -> Float64[np.ndarray, "size size"]:
    """The kernel of a motion along a straight line; sums to 1.

    The line is one pixel wide and `size` long; between pixels it is interpolated linearly.

    Args:
        size: length of the line in pixels, odd.
        angle: from the vertical, clockwise, in radians.
        direction: in [-1, 1]; the weights go linearly from (1 + direction) / 2 at the line's
            first end, which is the upper one at angle 0, to (1 - direction) / 2 at its last.

    Raises:
        ValueError: if `size` is even or below 3, or `direction` is not in [-1, 1].
    """
    if size < 3 or size % 2 == 0:
        raise ValueError(f"the size of a line must be odd and at least 3, got {size}")
    if not -1 <= direction <= 1:
        raise ValueError(f"direction must be in [-1, 1], got {direction}")
    radius = size // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    across = math.cos(angle) * x + math.sin(angle) * y
    along = math.cos(angle) * y - math.sin(angle) * x
    ends = [-radius - 1, -radius, radius, radius + 1]
    weights = np.interp(along, ends, [0, (1 + direction) / 2, (1 - direction) / 2, 0])
    kernel = weights * np.clip(1 - np.abs(across), 0, 1)
    return kernel / kernel.sum()


def motion_blur(image: Image, kernel: Kernel) -> Image:
    """`image` correlated with `kernel`.

    For 8-bit pictures the weights of a sparse kernel, such as a line's, are rounded to 1/256, as
    OpenCV does for its Gaussian: then all partial sums are exact, and it takes a sixth of the time.
    On faces that is less than the last rounding. A kernel of more than 64 weights is not rounded.

    Args:
        image: the sharp picture.
        kernel: odd sides, no negative weight, sum 1.

    Raises:
        ValueError: if the kernel is of another kind, or the picture.
    """
    check_image(image)
    _check_kernel(kernel)
    if image.dtype == np.uint8 and np.count_nonzero(kernel) <= SPARSE:
        return _filter_levels(image, _whole(kernel))
    blurred = cv2.filter2D(
        image.astype(np.float64), -1, kernel.astype(np.float64), borderType=cv2.BORDER_REFLECT_101
    )
    if image.dtype == np.uint8:
        return cv2.convertScaleAbs(blurred)
    return np.clip(blurred, 0, 1).astype(np.float32)


def gaussian_blur(image: Image, sigma: float, radius: int | None = None) -> Image:
    """`image` blurred by a Gaussian.

    Args:
        image: the sharp picture.
        sigma: in pixels.
        radius: where the kernel is cut, in pixels; three sigma, rounded up, if not given.

    Raises:
        ValueError: if `sigma` is not positive, `radius` below 1 or the picture of another kind.
    """
    check_image(image)
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, in pixels, got {sigma}")
    radius = math.ceil(3 * sigma) if radius is None else radius
    if radius < 1:
        raise ValueError(f"the radius of a kernel must be at least 1 pixel, got {radius}")
    side = (2 * radius + 1, 2 * radius + 1)
    if image.dtype == np.uint8:
        return cv2.GaussianBlur(image, side, sigma, borderType=cv2.BORDER_REFLECT_101)
    exact = image.astype(np.float64)
    blurred = cv2.GaussianBlur(exact, side, sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.clip(blurred, 0, 1).astype(np.float32)


def released_radius(sigma: float) -> int:
    """Where the released ISPL pipeline cuts a Gaussian of `sigma` pixels.

    That is at about 1.65 sigma below 3 pixels, 1.45 sigma below 5 and 1.3 sigma from there on, so
    that sigma 8 spreads like 5.4.

    Raises:
        ValueError: if `sigma` is not positive.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, in pixels, got {sigma}")
    width = 3.3 if sigma < 3 else 2.9 if sigma < 5 else 2.6
    return int(max(width * sigma, 5)) // 2


@final
@dataclass(frozen=True)
class MotionBlur(Degradation):
    """Blur along a line: length, angle and direction drawn uniformly.

    Attributes:
        shortest: least length drawn, in pixels; an even draw is made odd by adding 1.
        longest: greatest length drawn.

    Raises:
        ValueError: if they are not 2 <= shortest <= longest.
    """

    shortest: int
    longest: int

    def __post_init__(self) -> None:
        if not 2 <= self.shortest <= self.longest:
            raise ValueError(
                f"2 <= shortest <= longest must hold, got {self.shortest} and {self.longest}"
            )

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` blurred."""
        size = int(generator.integers(self.shortest, self.longest, endpoint=True)) | 1
        angle, direction = generator.uniform(0, 2 * math.pi), generator.uniform(-1, 1)
        drawn = {"size": size, "angle": angle, "direction": direction}
        blurred = motion_blur(image, line_kernel(size, angle, direction))
        return Degraded(blurred, (Step("blur", "motion blur", drawn),))


@final
@dataclass(frozen=True)
class GaussianBlur(Degradation):
    """Gaussian blur of a sigma drawn uniformly, the kernel cut at three sigma.

    Attributes:
        low: least sigma in pixels.
        high: greatest sigma in pixels.

    Raises:
        ValueError: if they are not 0 < low <= high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` blurred."""
        sigma = generator.uniform(self.low, self.high)
        step = Step("blur", "Gaussian blur", {"sigma": sigma})
        return Degraded(gaussian_blur(image, sigma), (step,))


@final
@dataclass(frozen=True)
class CutGaussianBlur(Degradation):
    """Gaussian blur of a sigma drawn uniformly, the kernel cut at `released_radius`.

    Attributes:
        low: least sigma in pixels.
        high: greatest sigma in pixels.

    Raises:
        ValueError: if they are not 0 < low <= high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` blurred."""
        sigma = generator.uniform(self.low, self.high)
        radius = released_radius(sigma)
        step = Step("blur", "Gaussian blur", {"sigma": sigma, "radius": radius})
        return Degraded(gaussian_blur(image, sigma, radius), (step,))


def _filter_levels(image: Image, weights: Int64[np.ndarray, "rows columns"]) -> Image:
    rows, columns = (side // 2 for side in weights.shape)
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_REFLECT_101)
    total = np.zeros(image.shape, np.int16)
    for top, left, piece in _pieces(weights):
        bottom, right = top + height + piece.shape[0] - 1, left + width + piece.shape[1] - 1
        # Less 128 for every pixel: then no sum of up to 256 of them leaves 16 bits.
        part = cv2.filter2D(
            padded[top:bottom, left:right],
            cv2.CV_16S,
            piece.astype(np.float32),
            anchor=(0, 0),
            delta=-128 * float(piece.sum()),
        )
        total = cv2.add(total, part[:height, :width])
    return cv2.convertScaleAbs(total, alpha=1 / UNIT, beta=128)


def _pieces(weights: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Boxes that together hold all weights, with their upper left corners."""
    taps = np.stack(np.nonzero(weights))
    along = taps[np.argmax(np.ptp(taps, axis=1))]
    for start in range(along.min(), along.max() + 1, BOX):
        inside = taps[:, (along >= start) & (along < start + BOX)]
        if inside.size:
            (top, left), (bottom, right) = inside.min(axis=1), inside.max(axis=1)
            yield int(top), int(left), weights[top : bottom + 1, left : right + 1]


def _whole(kernel: Kernel) -> Int64[np.ndarray, "rows columns"]:
    # Rounding the running sum keeps the sum exact and never moves weight further than needed.
    sums = np.rint(UNIT * np.cumsum(kernel, dtype=np.float64)).astype(np.int64)
    return np.diff(sums, prepend=0).reshape(kernel.shape)


def _check_kernel(kernel: Kernel) -> None:
    if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
        raise ValueError(f"a kernel must have two odd sides, got shape {kernel.shape}")
    if not (kernel.min() >= 0 and abs(kernel.sum() - 1) < 1e-5):
        raise ValueError(
            "a kernel must have no negative weight and sum to 1, got a least weight of "
            f"{kernel.min()} and a sum of {kernel.sum()}; divide it by its sum"
        )


def _check_range(low: float, high: float) -> None:
    if not 0 < low <= high:
        raise ValueError(f"0 < low <= high must hold, in pixels, got {low} and {high}")
