"""Crops as in FFHQ or CelebA: eyes level, the face in the middle, always the same size."""

from typing import Final

import cv2
import numpy as np

CELEBA_HEIGHT: Final = 218
CELEBA_WIDTH: Final = 178
_CELEBA_POINTS: Final = np.array([69 + 111j, 109 + 111j, 89 + 152j])  # eye, eye, mouth


def ffhq_quad(landmarks: np.ndarray) -> np.ndarray:
    """Corners (4, 2) of the FFHQ crop in the photograph: top left, bottom left and on around.

    Coordinates are indices: (0, 0) is the centre of the first pixel.

    The published rule (Karras et al. 2019, appendix C) speaks of 68 landmarks: with the vector e
    from eye to eye and m from the eyes' middle to the mouth's, the crop's horizontal runs along
    e - rot90(m), half a side is max(2 |e|, 1.8 |m|) long and the centre lies 0.1 m below the
    eyes. Eyes and mouth corners of a five-landmark detector stand for the same points.

    Args:
        landmarks: (5, 2): eye, eye, nose tip, mouth corner, mouth corner, left ones first.

    Raises:
        ValueError: if the shape is wrong, a value is not finite, or all points coincide.
    """
    if landmarks.shape != (5, 2) or not np.isfinite(landmarks).all():
        raise ValueError(f"landmarks must be five finite points (5, 2), got {landmarks.tolist()}")
    points = landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    eye_to_eye, eye_to_mouth = points[1] - points[0], mouth - eyes
    along = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])
    length = float(np.linalg.norm(along))
    if length < 1e-6:
        raise ValueError(f"landmarks span no face, got {landmarks.tolist()}")
    half = max(2.0 * np.linalg.norm(eye_to_eye), 1.8 * np.linalg.norm(eye_to_mouth))
    right = along / length * half
    down = np.array([-right[1], right[0]])
    centre = eyes + 0.1 * eye_to_mouth
    return np.stack(
        [centre - right - down, centre - right + down, centre + right + down, centre + right - down]
    )


def celeba_quad(landmarks: np.ndarray) -> np.ndarray:
    """Corners (4, 2) of the square of 218 pixels whose middle 178 columns are CelebA's crop.

    In CelebA's aligned pictures the eyes lie at about (69, 111) and (109, 111) and the middle of
    the mouth at about (89, 152). The similarity transform (shift, turn and scale) that takes the
    face there is the one with the least squared distances of these three points.

    Args:
        landmarks: (5, 2): eye, eye, nose tip, mouth corner, mouth corner, left ones first.

    Raises:
        ValueError: if the shape is wrong, a value is not finite, or all points coincide.
    """
    ffhq_quad(landmarks)  # refuses what is no face
    points = landmarks.astype(np.float64) @ np.array([1, 1j])
    found = np.array([points[0], points[1], points[3:].mean()])
    margin = (CELEBA_HEIGHT - CELEBA_WIDTH) // 2
    wanted = _CELEBA_POINTS + margin
    centred, target = found - found.mean(), wanted - wanted.mean()
    # Points as complex numbers: a turn and a scale are one factor, here the least-squares one.
    factor = np.vdot(centred, target) / np.vdot(centred, centred)
    low, high = -0.5, CELEBA_HEIGHT - 0.5
    corners = np.array([low + low * 1j, low + high * 1j, high + high * 1j, high + low * 1j])
    quad = (corners - wanted.mean()) / factor + found.mean()
    return np.stack([quad.real, quad.imag], axis=1)


def quad_side(quad: np.ndarray) -> float:
    """Pixels of the photograph along one side of the crop.

    Raises:
        ValueError: if `quad` is not (4, 2).
    """
    if quad.shape != (4, 2):
        raise ValueError(f"a quad has four corners (4, 2), got {quad.shape}")
    return float(np.linalg.norm(quad[3] - quad[0]))


def to_crop(points: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """Where points (n, 2) of the photograph lie in its crop of `size` pixels.

    Raises:
        ValueError: if `quad` is not (4, 2).
    """
    matrix = _matrix(quad, size)
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def crop(image: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The square of `image` inside `quad`, (size, size, 3) uint8, free of aliasing.

    Where the square leaves the photograph it shows the reflected picture, blurred the more the
    further out, as FFHQ does.

    Args:
        image: uint8 RGB (h, w, 3).
        quad: corners from `ffhq_quad`, pixels of `image`.
        size: side of the result, >= 8.

    Raises:
        ValueError: if `size` is below 8 or the square does not touch the photograph.
    """
    if size < 8:
        raise ValueError(f"size must be at least 8, got {size}")
    image, quad = _cut(image, quad)
    shrink = min(1.0, size / quad_side(quad))
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in image.shape[:2])
        factor = np.array([width / image.shape[1], height / image.shape[0]])
        quad = (quad + 0.5) * factor - 0.5
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    matrix = _matrix(quad, size)
    out = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return _blur_outside(out, matrix, image.shape[:2])


def _matrix(quad: np.ndarray, size: int) -> np.ndarray:
    """Affine (2, 3) from the photograph to the crop, both with pixel centres at integers."""
    side = quad_side(quad)
    right, down = (quad[3] - quad[0]) / side, (quad[1] - quad[0]) / side
    linear = np.stack([right, down]) * (size / side)
    # A corner of the quad is the outer corner of the crop's pixel, half a pixel off its centre.
    offset = -linear @ quad[0] - 0.5
    return np.concatenate([linear, offset[:, None]], axis=1)


def _cut(image: np.ndarray, quad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of the photograph that the quad needs, so that large ones cost no more."""
    height, width = image.shape[:2]
    margin = 0.1 * quad_side(quad) + 3
    low = np.maximum(np.floor(quad.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(quad.max(axis=0) + margin), (width, height)).astype(int)
    if (high - low < 2).any():
        raise ValueError(f"the face's square lies outside the photograph of {width} x {height}")
    return image[low[1] : high[1], low[0] : high[0]], quad - low


def _blur_outside(crop: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    inside = cv2.warpAffine(np.full(shape, 255, np.uint8), matrix, crop.shape[1::-1])
    if inside.min() == 255:
        return crop
    size = crop.shape[0]
    distance = cv2.distanceTransform((inside < 255).astype(np.uint8), cv2.DIST_L2, 5)
    weight = np.clip(distance / (0.08 * size), 0, 1)[..., None].astype(np.float32)
    blurred = cv2.GaussianBlur(crop, (0, 0), 0.02 * size, borderType=cv2.BORDER_REFLECT)
    mixed = crop + weight * (blurred.astype(np.float32) - crop)
    return np.rint(mixed).astype(np.uint8)
