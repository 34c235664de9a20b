"""Where a face's skin is: coordinates from five landmarks, and skin by its own colour."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FaceFrame:
    """Coordinates of the face: origin between the eyes, x from eye to eye, y to the chin."""

    x: np.ndarray
    y: np.ndarray
    points: np.ndarray  # the five landmarks in these coordinates
    unit: float  # pixels per unit

    @staticmethod
    def of(landmarks: np.ndarray, shape: tuple[int, ...]) -> "FaceFrame":
        """The frame of a face in a picture of `shape`, from its landmarks (5, 2) in pixels.

        Raises:
            ValueError: if the landmarks are not five finite, distinct points.
        """
        if landmarks.shape != (5, 2) or not np.isfinite(landmarks).all():
            msg = f"landmarks must be five finite points (5, 2), got {landmarks.tolist()}"
            raise ValueError(msg)
        eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
        across, down = landmarks[1] - landmarks[0], mouth - eyes
        unit = float(max(np.linalg.norm(across), 0.9 * np.linalg.norm(down)))
        right = across + np.array([down[1], -down[0]])
        if unit < 1e-6 or np.linalg.norm(right) < 1e-6:
            raise ValueError(f"landmarks span no face, got {landmarks.tolist()}")
        right = right / np.linalg.norm(right)
        turn = np.stack([right, [-right[1], right[0]]]) / unit
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        x, y = columns - eyes[0], rows - eyes[1]
        return FaceFrame(
            turn[0, 0] * x + turn[0, 1] * y,
            turn[1, 0] * x + turn[1, 1] * y,
            (landmarks - eyes) @ turn.T,
            unit,
        )

    def ellipse(self, x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
        """Bool (h, w), true inside.

        Raises:
            ValueError: never; half widths are positive.
        """
        inside = ((self.x - x) / half_width) ** 2 + ((self.y - y) / half_height) ** 2 < 1
        return np.asarray(inside)


def skin_region(lab: np.ndarray, face: FaceFrame) -> np.ndarray:
    """Bool (h, w): facial skin that may be retouched.

    Raises:
        ValueError: never for a float32 Lab picture and a valid frame.
    """
    seen = cv2.GaussianBlur(lab, (0, 0), max(0.5, 0.012 * face.unit))
    oval = face.ellipse(0.5 * face.points[2, 0], 0.38, 1.12, 1.58)
    samples = seen[_sample_region(face)]
    if len(samples) < 16:
        return np.zeros(lab.shape[:2], bool)
    skin = oval & (_colour_distance(seen, samples) < 1)
    skin = morph(skin, cv2.MORPH_OPEN, 0.03 * face.unit)
    skin = morph(skin, cv2.MORPH_CLOSE, 0.07 * face.unit)
    skin &= ~_hairy(lab, _sample_region(face), face.unit) & ~_protected(face)
    middle = face.ellipse(0.5 * face.points[2, 0], 0.4, 0.95, 1.4)
    return _parts(morph(skin, cv2.MORPH_OPEN, 0.04 * face.unit), middle, face.unit)


def _sample_region(face: FaceFrame) -> np.ndarray:
    """Cheeks, nose and forehead."""
    (left, right, nose, *corners) = face.points
    region = face.ellipse(nose[0] * 0.6, nose[1] * 0.6, 0.1, 0.18)
    region |= face.ellipse(0.3 * nose[0], -0.62, 0.3, 0.12)
    for eye, corner in zip((left, right), corners, strict=True):
        x, y = 0.5 * (eye + corner)
        region |= face.ellipse(1.15 * x, y + 0.05, 0.16, 0.16)
    return region


def _protected(face: FaceFrame) -> np.ndarray:
    """Eyes with lashes, brows, nostrils and mouth."""
    left, right, nose, *corners = face.points
    width = max(float(np.linalg.norm(corners[1] - corners[0])), 0.6)
    middle = 0.5 * (corners[0] + corners[1])
    region = face.ellipse(middle[0], middle[1] + 0.02, 0.58 * width, 0.36 * width)
    region |= face.ellipse(nose[0] * 0.85, nose[1] + 0.09, 0.28, 0.15)
    for eye in (left, right):
        region |= face.ellipse(1.04 * eye[0], eye[1], 0.34, 0.19)
        region |= face.ellipse(1.1 * eye[0], eye[1] - 0.29, 0.5, 0.18)
    return region


def _colour_distance(lab: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Distance (h, w) to the samples' colours; below 1 counts as skin."""
    centre = np.median(samples, axis=0)
    spread = 1.4826 * np.median(np.abs(samples - centre), axis=0) + 1.0
    kept = samples[(np.abs(samples - centre) < 3 * spread).all(axis=1)]
    centre, spread = kept.mean(axis=0), kept.std(axis=0)
    lightness, hue_a, hue_b = np.moveaxis(lab - centre, -1, 0)
    # Shade lies on one side of most faces, highlights are small: darker is let in further.
    below = 13 + 2.2 * spread[0]
    above = 10 + 2.5 * spread[0]
    lightness = np.where(lightness < 0, lightness / below, lightness / above)
    chroma = (hue_a / (6 + 2.5 * spread[1])) ** 2 + (hue_b / (7 + 2.5 * spread[2])) ** 2
    return np.asarray(np.sqrt(chroma + lightness**2))


def _hairy(lab: np.ndarray, samples: np.ndarray, unit: float) -> np.ndarray:
    """Bool (h, w): where lightness varies far more than on the cheeks (hair, beards)."""
    lightness = lab[..., 0]
    fine = np.abs(lightness - gaussian(lightness, 0.03 * unit))
    busy = gaussian(fine, 0.06 * unit)
    hairy = busy > 1.2 + 2.2 * np.median(busy[samples])
    # A single strong spot is busy too, but hair covers more ground.
    return _parts(hairy, np.ones_like(hairy), unit)


def _parts(mask: np.ndarray, middle: np.ndarray, unit: float) -> np.ndarray:
    """The islands of `mask` of at least 0.08 square units that lie in the `middle` by half."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    area = np.bincount(labels.ravel(), minlength=count)
    central = np.bincount(labels.ravel(), middle.ravel(), count)
    kept = (area >= 0.08 * unit**2) & (central >= 0.5 * area)
    kept[0] = False
    return np.asarray(kept[labels])


def shadowed(face: FaceFrame) -> np.ndarray:
    """Where folds and features cast round shadows: nose, mouth corners, around the eyes.

    Raises:
        ValueError: never for a valid frame.
    """
    left, right, nose, *corners = face.points
    region = face.ellipse(0.5 * nose[0], 0.35 * nose[1], 0.28, 0.5)
    region |= face.ellipse(nose[0] * 0.9, nose[1], 0.42, 0.26)
    for eye in (left, right):
        region |= face.ellipse(1.04 * eye[0], eye[1] + 0.03, 0.46, 0.28)
    for corner in corners:
        region |= face.ellipse(1.1 * corner[0], corner[1] - 0.05, 0.22, 0.3)
    return region


def morph(mask: np.ndarray, operation: int, radius: float) -> np.ndarray:
    """OpenCV's morphological `operation` on a bool mask with a disc of `radius` pixels.

    Raises:
        ValueError: never; the radius is at least one pixel.
    """
    side = 2 * max(1, round(radius)) + 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(mask.astype(np.uint8), operation, element).astype(bool)


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """`image` blurred; wide blurs are made on a smaller copy, which differs by under 1 percent.

    Raises:
        ValueError: if `sigma` is not positive.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    shrink = int(sigma // 3)
    if shrink < 2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))
    height, width = image.shape[:2]
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    blurred = cv2.GaussianBlur(
        cv2.resize(image, small, interpolation=cv2.INTER_AREA), (0, 0), sigma / shrink
    )
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR))


def mean_over(image: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean over the pixels of positive `weight` only: nothing bleeds in from outside.

    Raises:
        ValueError: if `sigma` is not positive.
    """
    weight = weight.astype(np.float32)
    shaped = weight if image.ndim == 2 else weight[..., None]
    total = gaussian(weight, sigma).reshape(shaped.shape)
    return np.asarray(gaussian(image * shaped, sigma) / np.maximum(total, 1e-4))
