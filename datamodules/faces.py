"""Which part of a photograph a network sees of a face, in which pixels, and steadily in a clip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from datamodules.alignment import CELEBA_HEIGHT, celeba_quad, ffhq_quad
from datamodules.original import largest

Corners = Float64[np.ndarray, "4 2"]
"""Of a rectangle in a photograph: top left, bottom left, bottom right, top right."""

Crop = Float32[np.ndarray, "h w 3"]
Landmarks = Float64[np.ndarray, "5 2"]

_STEP: Final = 0.5  # share of the way that a steadied landmark goes to where it was found
_JUMP: Final = 0.35  # of the distance of the eyes; a face that moves further is another one


@final
@dataclass(frozen=True)
class View:
    """The rectangle around a face that a network was trained on.

    Attributes:
        size: height and width of the crops in pixels.
        quad: the square around five landmarks.
        share: how much of the square's height and of its width the network sees, in the middle.
    """

    size: tuple[int, int]
    quad: Callable[[np.ndarray], np.ndarray] = ffhq_quad
    share: tuple[float, float] = (1.0, 1.0)

    def corners(self, landmarks: Landmarks) -> Corners:
        """The rectangle around a face.

        Raises:
            ValueError: if the landmarks span no face.
        """
        quad = self.quad(landmarks)
        centre = quad.mean(axis=0)
        right, down = (quad[3] - quad[0]) / 2, (quad[1] - quad[0]) / 2
        right, down = right * self.share[1], down * self.share[0]
        left, right = centre - right, centre + right
        return np.stack([left - down, left + down, right + down, right - down])


def ffhq_view(size: int) -> View:
    """FFHQ's square at `size` pixels."""
    return View((size, size))


def celeba_view(height: int, width: int) -> View:
    """The middle of CelebA's aligned pictures, as its crops are."""
    return View((height, width), celeba_quad, (height / CELEBA_HEIGHT, width / CELEBA_HEIGHT))


def cut(pixels: np.ndarray, corners: Corners, size: tuple[int, int]) -> Crop:
    """The rectangle of a photograph in [0, 1], resized without aliasing.

    Where it leaves the photograph it shows the reflected picture, blurred the more the further
    out, as FFHQ's crops do.

    Args:
        pixels: of the photograph, 8 or 16 bits.
        corners: of the rectangle.
        size: height and width of the result.

    Raises:
        ValueError: if the rectangle does not touch the photograph.
    """
    height, width = extent(corners)
    part, corners = _around(pixels, corners)
    values = part.astype(np.float32) / largest(pixels)
    shrink = min(1.0, max(size[0] / height, size[1] / width))
    if shrink < 1:
        small = [max(1, round(side * shrink)) for side in part.shape[:2]]
        factor = np.array([small[1] / part.shape[1], small[0] / part.shape[0]])
        corners = (corners + 0.5) * factor - 0.5
        values = cv2.resize(values, (small[1], small[0]), interpolation=cv2.INTER_AREA)
    matrix = to_crop(corners, size)
    warped = cv2.warpAffine(
        values,
        matrix,
        (size[1], size[0]),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.clip(_blurred_outside(warped, matrix, values.shape[:2]), 0, 1)


def extent(corners: Corners) -> tuple[float, float]:
    """Height and width of the rectangle in pixels of the photograph."""
    return (
        float(np.linalg.norm(corners[1] - corners[0])),
        float(np.linalg.norm(corners[3] - corners[0])),
    )


def to_crop(corners: Corners, size: tuple[int, int]) -> Float64[np.ndarray, "2 3"]:
    """The affine map from the photograph to the crop, both with pixel centres at integers."""
    high, wide = size[0] - 0.5, size[1] - 0.5
    # A corner of the rectangle is the outer corner of a pixel, half a pixel off its centre.
    inside = np.array([[-0.5, -0.5], [-0.5, high], [wide, high]])
    from_corners = np.concatenate([corners[:3], np.ones((3, 1))], axis=1)
    return np.ascontiguousarray(np.linalg.solve(from_corners, inside).T)


@final
class Steadied:
    """Landmarks of the faces in a clip, smoothed from frame to frame against flicker.

    Each face goes half of the way to where it was found; one that jumped, as at a cut, is where it
    was found.
    """

    def __init__(self) -> None:
        self._known: list[Landmarks] = []

    def __call__(self, found: list[Landmarks]) -> list[Landmarks]:
        """The faces of the next frame, in the order in which they were found."""
        left = list(self._known)
        self._known = [self._steadied(face, left) for face in found]
        return self._known

    @staticmethod
    def _steadied(face: Landmarks, left: list[Landmarks]) -> Landmarks:
        gaps = [float(np.linalg.norm(face - other, axis=1).mean()) for other in left]
        limit = _JUMP * float(np.linalg.norm(face[1] - face[0]))
        if not gaps or min(gaps) > limit:
            return face
        nearest = left.pop(int(np.argmin(gaps)))  # no two faces follow the same one
        return nearest + _STEP * (face - nearest)


def _around(pixels: np.ndarray, corners: Corners) -> tuple[np.ndarray, Corners]:
    """The part of the photograph that is needed, so that large ones cost no more."""
    height, width = pixels.shape[:2]
    margin = 0.1 * max(extent(corners)) + 3
    low = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0) + margin), (width, height)).astype(int)
    if (high - low < 2).any():
        raise ValueError(f"the face lies outside the photograph of {width} x {height}")
    return pixels[low[1] : high[1], low[0] : high[0]], corners - low


def _blurred_outside(crop: Crop, matrix: np.ndarray, shape: tuple[int, ...]) -> Crop:
    size = crop.shape[1::-1]
    inside = cv2.warpAffine(np.full(shape, 255, np.uint8), matrix, size)
    if inside.min() == 255:
        return crop
    side = max(size)
    distance = cv2.distanceTransform((inside < 255).astype(np.uint8), cv2.DIST_L2, 5)
    weight = np.clip(distance / (0.08 * side), 0, 1)[..., None].astype(np.float32)
    blurred = cv2.GaussianBlur(crop, (0, 0), 0.02 * side, borderType=cv2.BORDER_REFLECT)
    return np.asarray(crop + weight * (blurred - crop))
