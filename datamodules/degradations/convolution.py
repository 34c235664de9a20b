"""Convolution of whole pictures with any kernel, by the Fourier transform.

In float64 with one rounding at the end, so that the bytes do not depend on the machine; for kernels
of more than about 9 x 9 that is also the fastest way OpenCV has.
"""

import threading

import cv2
import numpy as np
from jaxtyping import Float64, Shaped

from datamodules.degradations.base import Image, check_image

Kernel = Float64[np.ndarray, "kh kw"]
_KEPT = threading.local()


def convolve(image: Image, kernel: Kernel) -> Image:
    """`image` convolved with `kernel`, mirrored at its edges without repeating the edge pixels.

    Args:
        image: what to filter.
        kernel: point spread function, of odd height and width, its origin in the middle.

    Raises:
        ValueError: if a side of `kernel` is even, a weight negative, or `image` no picture.
    """
    check_image(image)
    height, width = kernel.shape
    if height % 2 == 0 or width % 2 == 0 or kernel.min() < 0:
        raise ValueError(
            "a kernel must have odd sides and no negative weight, "
            f"got {height} x {width} with {kernel.min():.3g} as its least"
        )
    border = (height // 2, height // 2, width // 2, width // 2)
    planes = [
        cv2.copyMakeBorder(plane, *border, cv2.BORDER_REFLECT_101) for plane in cv2.split(image)
    ]
    by = _Convolution(planes[0].shape, kernel)
    return cv2.merge([_as(image.dtype, by(plane)) for plane in planes])


def convolve_inside(plane: Shaped[np.ndarray, "h w"], kernel: Kernel) -> Float64[np.ndarray, "a b"]:
    """`plane` convolved with `kernel` where all of it overlaps: (h - kh + 1, w - kw + 1).

    Raises:
        ValueError: if `kernel` is larger than `plane`.
    """
    if plane.shape[0] < kernel.shape[0] or plane.shape[1] < kernel.shape[1]:
        raise ValueError(
            f"a kernel of {kernel.shape[0]} x {kernel.shape[1]} does not fit into a plane of "
            f"{plane.shape[0]} x {plane.shape[1]}"
        )
    return _Convolution(plane.shape, kernel)(plane).copy()


class _Convolution:
    """One kernel for several planes of one size."""

    def __init__(self, size: tuple[int, ...], kernel: np.ndarray) -> None:
        self.height, self.width = size
        self.first = kernel.shape[0] - 1, kernel.shape[1] - 1
        self.memory = _memory(cv2.getOptimalDFTSize(size[0]), cv2.getOptimalDFTSize(size[1]))
        self.kernel = self._transformed(kernel, self.memory[1])

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """What overlaps whole; overwritten by the next call."""
        spectrum = self._transformed(plane, self.memory[2])
        cv2.mulSpectrums(spectrum, self.kernel, 0, spectrum)
        inverse = cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT
        whole = cv2.dft(spectrum, spectrum, flags=inverse)
        return whole[self.first[0] : self.height, self.first[1] : self.width]

    def _transformed(self, plane: np.ndarray, into: np.ndarray) -> np.ndarray:
        padded = self.memory[0]
        padded[:] = 0
        padded[: plane.shape[0], : plane.shape[1]] = plane
        return cv2.dft(padded, into, nonzeroRows=plane.shape[0])


def _memory(height: int, width: int) -> np.ndarray:
    """Three planes, kept for the next call of this thread: fresh pages cost what a blur costs."""
    if getattr(_KEPT, "planes", None) is None or _KEPT.planes.shape != (3, height, width):
        _KEPT.planes = np.empty((3, height, width))
    return _KEPT.planes


def _as(dtype: np.dtype, plane: np.ndarray) -> np.ndarray:
    if dtype == np.uint8:
        return cv2.convertScaleAbs(plane)
    return np.clip(plane, 0, 1, out=plane).astype(np.float32)
