"""A classical retouch of facial skin: blemishes healed, blotches evened, pores kept.

The steps are those of a careful retoucher. The skin is found by its colour, learned from the
cheeks, nose and forehead of this very face, so that it holds for every skin tone; eyes, brows,
nostrils, lips and hair are left out. Small dark or red blobs are inpainted, with fine texture
carried over from clean skin next to them. Last, frequency separation: what lies between the pores
and the shape of the face (blotches, shadows under the eyes) is damped by an edge-preserving
filter, while the fine band is put back as it was. Outside the mask every byte stays the same.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.skin import FaceFrame, gaussian, mean_over, morph, shadowed, skin_region

# All lengths are in units of the face: the larger of eye distance and 0.9 eye-to-mouth distance.
SPOT_SIGMAS = (0.010, 0.016, 0.025, 0.038)
PORES = 0.016  # details finer than this are kept
BLOTCHES = 0.16  # radius of the evening filter: what is wider is the shape of the face
EVENNESS = np.array([0.7, 0.8, 0.8], np.float32)  # share of L, a, b unevenness that is removed


@dataclass(frozen=True)
class Retouched:
    """A retouched picture.

    Attributes:
        image: uint8 RGB (h, w, 3).
        mask: float32 (h, w) in [0, 1], how far each pixel was open to the retouch; where it is 0
            the image is the original, byte for byte.
    """

    image: np.ndarray
    mask: np.ndarray


def retouch(image: np.ndarray, landmarks: np.ndarray, *, strength: float = 1.0) -> Retouched:
    """`image` with its largest face's skin retouched.

    Args:
        image: uint8 RGB (h, w, 3) with an upright or rotated face.
        landmarks: (5, 2) in pixels of `image`: eye, eye, nose tip, mouth corner, mouth corner.
        strength: 0 changes nothing, 1 is the full retouch.

    Raises:
        ValueError: if `image` is not uint8 RGB, `landmarks` are not five finite, distinct points,
            or `strength` is not in [0, 1].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 (h, w, 3), got {image.dtype} {image.shape}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], got {strength}")
    face = FaceFrame.of(landmarks, image.shape[:2])
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    skin = skin_region(lab, face)
    mask = strength * _feather(skin, 0.07 * face.unit)
    if not mask.any():
        return Retouched(image.copy(), mask)
    healed = _heal(lab, skin, find_spots(lab, skin, face), face.unit)
    smooth = _lift(_even(healed, skin, face.unit), skin, face)
    rgb = 255 * np.clip(cv2.cvtColor(smooth, cv2.COLOR_LAB2RGB), 0, 1)
    mixed = image + mask[..., None] * (rgb - image)
    return Retouched(np.where(mask[..., None] > 0, np.rint(mixed), image).astype(np.uint8), mask)


def _feather(skin: np.ndarray, width: float) -> np.ndarray:
    """From 0 outside `skin` to 1 at `width` pixels inside."""
    padded = np.pad(skin.astype(np.uint8), 1, mode="edge")
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = np.clip(inside / max(width, 1.0), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def find_spots(lab: np.ndarray, skin: np.ndarray, face: FaceFrame) -> np.ndarray:
    """Bool (h, w): blemishes, found as dark or red blobs at several scales.

    Each scale asks a difference of Gaussians for contrast against this skin's own noise and the
    Hessian for roundness, so that wrinkles, single hairs and the edges of features are left.
    Close to features only small spots count: larger ones are their shadows. Below the nose only
    red ones count: a dark dot there may be stubble.

    Raises:
        ValueError: never for pictures of equal size.
    """
    redness = 1.2 * lab[..., 1] - lab[..., 0]
    filled = np.where(skin, redness, mean_over(redness, skin, 0.1 * face.unit))
    inner = morph(skin, cv2.MORPH_ERODE, 0.025 * face.unit)
    plain = inner & ~shadowed(face)
    spots = np.zeros(skin.shape, bool)
    for sigma in SPOT_SIGMAS:
        pixels = sigma * face.unit
        if pixels >= 0.6:
            spots |= _spots_of_scale(filled, inner if sigma < PORES else plain, pixels)
    return spots & skin & ~_hair_like(lab[..., 1], spots & skin, face)


def _hair_like(red: np.ndarray, spots: np.ndarray, face: FaceFrame) -> np.ndarray:
    """Those of the `spots` that are stubble (below the nose and not red) or too dense for acne."""
    excess = gaussian(red, max(0.5, 0.01 * face.unit)) - gaussian(red, 0.08 * face.unit)
    side = 2 * round(0.2 * face.unit) + 1
    density = cv2.boxFilter(spots.astype(np.float32), -1, (side, side))
    count, labels = cv2.connectedComponents(spots.astype(np.uint8))
    area = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(labels.ravel(), values.ravel(), count) / area)

    low = mean(face.y) > face.points[2, 1] + 0.1
    dropped = (low & (mean(excess) < 0.5)) | (mean(density) > 0.28)
    return np.asarray(dropped[labels] & spots)


def _spots_of_scale(redness: np.ndarray, skin: np.ndarray, sigma: float) -> np.ndarray:
    narrow = cv2.GaussianBlur(redness, (0, 0), sigma)
    contrast = narrow - cv2.GaussianBlur(redness, (0, 0), 2 * sigma)
    noise = 1.4826 * float(np.median(np.abs(contrast[skin]))) if skin.any() else 0.0
    level = 0.25 + noise
    found = (contrast > 1.3 * level).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=4)
    good = np.zeros(count, bool)
    good[np.unique(labels[(contrast > 2.3 * level) & _roundness(narrow)])] = True
    good[np.unique(labels[~skin])] = False  # a blob that leaves the skin is the edge of something
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    good &= (sides.max(axis=1) < 7 * sigma + 2) & (sides.max(axis=1) <= 2.5 * sides.min(axis=1))
    good[0] = False
    return morph(good[labels], cv2.MORPH_DILATE, 0.8 * sigma)


def _roundness(image: np.ndarray) -> np.ndarray:
    """Bool (h, w): peaks that fall off in every direction, not ridges."""
    xx = cv2.Sobel(image, cv2.CV_32F, 2, 0, ksize=3)
    yy = cv2.Sobel(image, cv2.CV_32F, 0, 2, ksize=3)
    xy = cv2.Sobel(image, cv2.CV_32F, 1, 1, ksize=3)
    middle, swing = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.asarray((middle + swing) < 0.35 * (middle - swing))


def _heal(lab: np.ndarray, skin: np.ndarray, spots: np.ndarray, unit: float) -> np.ndarray:
    """`lab` with `spots` inpainted, and the texture of clean skin near by put over them."""
    if not spots.any():
        return lab
    clean = skin & ~spots
    base = mean_over(lab, clean, max(0.7, PORES * unit))
    bytes_ = np.rint(np.clip(base * (2.55, 1, 1) + (0, 128, 128), 0, 255)).astype(np.uint8)
    hole = (spots | ~skin).astype(np.uint8)
    hole &= morph(spots, cv2.MORPH_DILATE, 0.1 * unit).astype(np.uint8)
    filled = cv2.inpaint(bytes_, hole, 0.05 * unit, cv2.INPAINT_TELEA).astype(np.float32)
    filled = (filled - (0, 128, 128)) / (2.55, 1, 1)
    soft = cv2.GaussianBlur(spots.astype(np.float32), (0, 0), max(0.5, 0.008 * unit))
    soft = np.maximum(soft, spots)[..., None] * skin[..., None]
    texture = _carried(np.where(clean[..., None], lab - base, 0), clean, spots, unit)
    healed = np.where(spots[..., None], filled + texture, lab)
    return np.asarray(lab + soft * (healed - lab), np.float32)


def _carried(texture: np.ndarray, clean: np.ndarray, wanted: np.ndarray, unit: float) -> np.ndarray:
    """`texture` with the `wanted` pixels taken from the nearest of 24 shifts that lands clean."""
    out, missing = texture.copy(), wanted.copy()
    for radius in (0.1, 0.18, 0.3):
        for angle in np.arange(8) * np.pi / 4:
            step = np.rint(radius * unit * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            taken = missing & np.roll(clean, step, axis=(0, 1))
            out[taken] = np.roll(texture, step, axis=(0, 1))[taken]
            missing &= ~taken
    return out


def _even(lab: np.ndarray, skin: np.ndarray, unit: float) -> np.ndarray:
    """`lab` with blotches damped; the band finer than pores passes through unchanged."""
    coarse = mean_over(lab, skin, max(0.7, PORES * unit))
    shape = _guided(coarse, skin.astype(np.float32)[..., None], round(BLOTCHES * unit))
    return np.asarray(lab - EVENNESS * (coarse - shape), np.float32)


def _lift(lab: np.ndarray, skin: np.ndarray, face: FaceFrame) -> np.ndarray:
    """`lab` with half of the darkness under the eyes taken away."""
    around = mean_over(lab, skin, 0.3 * face.unit)
    here = mean_over(lab, skin, 0.08 * face.unit)
    under = np.zeros(skin.shape, np.float32)
    for eye in face.points[:2]:
        x, y = (face.x - 0.95 * eye[0]) / 0.26, (face.y - eye[1] - 0.27) / 0.11
        under += np.exp(-(x * x + y * y) / 2)
    missing = np.clip(around[..., :1] - here[..., :1], 0, 8) / 8
    share = 0.5 * np.minimum(under, 1)[..., None] * np.minimum(1, 4 * missing)
    return np.asarray(lab + share * np.clip(around - here, -8, 8), np.float32)


def _guided(image: np.ndarray, weight: np.ndarray, radius: int) -> np.ndarray:
    """Self-guided filter over positive `weight`: flattens small swings and keeps edges."""
    window = (2 * max(1, radius) + 1,) * 2
    total = np.maximum(cv2.boxFilter(weight, -1, window), 1e-4)[..., None]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(values * weight, -1, window) / total)

    average = mean(image)
    variance = np.maximum(mean(image * image) - average**2, 0)
    share = variance / (variance + np.array([14.0, 8.0, 8.0], np.float32))
    return np.asarray(mean(share) * image + mean(average * (1 - share)))
