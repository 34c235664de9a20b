"""Blur kernels and the blur itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64

from datamodules.degradations.trajectory import HandShake, motion_kernels

CHUNK = 250
"""Kernels made at a time; a chunk takes about 50 ms."""
_SIDE, _LEAST, _MOST = 15, 0.1, 12.0  # SRMD's Gaussians: pixels, and variances


@final
@dataclass(frozen=True, eq=False)
class Kernel:
    """A blur kernel that sums to 1 about its central pixel.

    Attributes:
        values: odd in side.
        name: in words, such as "motion blur".
        parameters: what it was made from.
    """

    values: Float64[np.ndarray, "k k"]
    name: str
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)


def blurred(
    light: Float64[np.ndarray, "h w c"], kernel: Float64[np.ndarray, "k k"]
) -> Float64[np.ndarray, "h w c"]:
    """`light` convolved with `kernel` (the k * x of NASFE Eq. 1); same size.

    It is a true convolution: a bright point becomes the kernel as it is, not its mirror image.
    Beyond the border the picture goes on mirrored about its outermost pixels.

    Raises:
        ValueError: if `kernel` is not square with an odd side.
    """
    height, width = kernel.shape
    if height != width or height % 2 == 0:
        raise ValueError(f"a kernel must be square with an odd side, got shape {kernel.shape}")
    # OpenCV correlates; its large kernels go through a Fourier transform, exact to 1e-15.
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    return cv2.filter2D(light, cv2.CV_64F, flipped, borderType=cv2.BORDER_REFLECT_101)


def gaussian_kernel(
    size: int, angle: float, major: float, minor: float
) -> Float64[np.ndarray, "size size"]:
    """An anisotropic Gaussian kernel that sums to 1.

    Args:
        size: its side, odd, in pixels.
        angle: of the first axis, from the x axis towards the y axis, which points down.
        major: variance along the first axis.
        minor: variance across it.

    Raises:
        ValueError: if `size` is not odd and positive or a variance is not positive.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and positive, got {size}")
    if min(major, minor) <= 0:
        raise ValueError(f"variances must be above 0, got {major} and {minor}")
    y, x = np.mgrid[:size, :size] - size // 2
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    values = np.exp(-0.5 * (along**2 / major + across**2 / minor))
    return values / values.sum()


def draw_gaussian(generator: np.random.Generator) -> Kernel:
    """An anisotropic Gaussian as in SRMD: variances, angle, and a side of 15 that cuts it.

    The angle is uniform over half a turn, the first variance from 0.1 to 12, the second from 0.1
    up to the first.
    """
    angle = float(generator.uniform(0, np.pi))
    first = float(generator.uniform(_LEAST, _MOST))
    second = float(generator.uniform(_LEAST, first))
    values = gaussian_kernel(_SIDE, angle, first, second)
    return Kernel(values, "Gaussian blur", _told(angle, first**0.5, second**0.5, _SIDE))


def gaussian_by_deviation(angle: float, major: float, minor: float) -> Kernel:
    """An anisotropic Gaussian of those standard deviations, in pixels, held to 4 of them.

    Raises:
        ValueError: if a deviation is not positive.
    """
    size = 2 * int(np.ceil(4 * max(major, minor))) + 1
    values = gaussian_kernel(size, angle, major**2, minor**2)
    return Kernel(values, "Gaussian blur", _told(angle, major, minor, size))


def motion_kernel(law: HandShake, seed: int, index: int) -> Kernel:
    """Motion kernel number `index` of that seed, cut to its own side.

    Kernels are made and kept in chunks of 250, as float32; they are normalised in float64.

    Raises:
        ValueError: if `seed` or `index` is negative.
    """
    kernels, sides = _chunk(law, seed, index // CHUNK)
    canvas, side = kernels[index % CHUNK].astype(np.float64), int(sides[index % CHUNK])
    edge = (canvas.shape[0] - side) // 2
    values = canvas[edge : edge + side, edge : edge + side]
    return Kernel(values / values.sum(), "motion blur", {"kernel": index, "size": side})


@dataclass(frozen=True)
class KernelBank:
    """The kernels that NASFE trains with: motion first, then anisotropic Gaussians.

    Kernel i is a function of (seed, i). Motion kernels are made when first wanted, and kept: all
    25,000 take 7 s and 75 MB (float32, 27 by 27) in each worker, whose memory then stops growing.

    Deviation: the paper draws from 25,000 motion kernels and 8 Gaussians without saying how. Drawn
    evenly, a Gaussian would come once in 3,126 pictures, while 12 of the 52 kernels of its test
    sets are Gaussians; so here that is their share
    (`test_gaussians_are_drawn_with_their_share`). 8 / 25,008 draws evenly.

    Attributes:
        motion: law of the motion kernels.
        count: of motion kernels.
        gaussians: how many there are.
        gaussian_share: probability of drawing one of them.
        seed: of all kernels.

    Raises:
        ValueError: if a number cannot be.
    """

    motion: HandShake = field(default_factory=HandShake)
    count: int = 25_000
    gaussians: int = 8
    gaussian_share: float = 12 / 52
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.gaussians) < 1 or self.seed < 0:
            raise ValueError(
                "count and gaussians must be 1 or more and seed 0 or more, "
                f"got {self.count}, {self.gaussians} and {self.seed}"
            )
        if not 0 <= self.gaussian_share <= 1:
            raise ValueError(f"gaussian_share must be in [0, 1], got {self.gaussian_share}")

    def __len__(self) -> int:
        return self.count + self.gaussians

    def __getitem__(self, index: int) -> Kernel:
        """Kernel number `index`.

        Raises:
            IndexError: if there is none of that number.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"kernel must be in [0, {len(self)}), got {index}")
        if index < self.count:
            return motion_kernel(self.motion, self.seed, index)
        sequence = np.random.SeedSequence(self.seed, spawn_key=(index - self.count,))
        return draw_gaussian(np.random.default_rng(sequence))

    def draw(self, generator: np.random.Generator) -> Kernel:
        """A kernel: first which sort, then evenly among that sort."""
        if generator.random() < self.gaussian_share:
            return self[self.count + int(generator.integers(self.gaussians))]
        return self[int(generator.integers(self.count))]


@lru_cache(maxsize=25_000 // CHUNK + 8)  # NASFE's bank and its test kernels
def _chunk(
    law: HandShake, seed: int, number: int
) -> tuple[Float32[np.ndarray, "kernels side side"], Int64[np.ndarray, " kernels"]]:
    kernels, sides = motion_kernels(law, seed, range(number * CHUNK, (number + 1) * CHUNK))
    return kernels.astype(np.float32), sides


def _told(angle: float, major: float, minor: float, size: int) -> dict[str, float | int | str]:
    return {"angle": angle, "sigma": major, "sigma across": minor, "size": size}
