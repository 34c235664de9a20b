"""Faces found in photographs, and the pictures of them that a layout asks for."""

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from datamodules.alignment import crop, quad_side, to_crop
from datamodules.detection import FaceDetector
from datamodules.images import UnreadableImage, read_image, resize
from datamodules.layouts import LAYOUTS, Kind, Picture, jpeg
from datamodules.preparation import Photograph, Settings, faces_of, write_whole
from datamodules.retouch import retouch
from datamodules.spoiling import spoilt

WORK_SIDE = 512  # faces are retouched at their own size, up to this one, and shrunk afterwards


@cache
def _detector(path: Path) -> FaceDetector:
    return FaceDetector(path)


def examine(
    source: Path, detector: Path | None, settings: Settings, photo: Photograph
) -> Photograph:
    """`photo` with its checksum and the landmarks of its faces, or the reason why it has none.

    Without a detector the whole picture counts as one face without landmarks.

    Raises:
        ValueError: if the detector is no YuNet model.
    """
    path = source / photo.name
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:  # no checksum: another call looks again
        reason = f"cannot be opened: {error.strerror}"
        return Photograph(photo.name, photo.group, photo.bytes, reason=reason)
    try:
        image = read_image(path)
    except UnreadableImage as error:
        return Photograph(photo.name, photo.group, photo.bytes, sha256, f"unreadable: {error}")
    if detector is None:
        return Photograph(photo.name, photo.group, photo.bytes, sha256, landmarks=[[]])
    faces = _detector(detector)(image)
    wide = [face for face in faces if face.eye_distance >= settings.min_eyes]
    reason = "" if wide else "no face"
    if faces and not wide:
        reason = f"face too small: {faces[0].eye_distance:.0f} px between the eyes"
    used = wide if settings.faces == "all" else wide[:1]
    points = [np.round(face.landmarks, 2).tolist() for face in used]
    return Photograph(photo.name, photo.group, photo.bytes, sha256, reason, points)


def write_faces(source: Path, root: Path, settings: Settings, photo: Photograph) -> str:
    """Why the pictures of the faces on `photo` could not be written; empty when they are there.

    Raises:
        OSError: if `root` cannot be written.
    """
    layout = LAYOUTS[settings.set]
    try:
        image = read_image(source / photo.name)
        for face, points in zip(faces_of(photo), photo.landmarks, strict=True):
            files = layout.files(face)
            made = make_pictures(image, np.array(points), settings, face.number, files)
            for kind, name in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                data = jpeg(made[kind]) if name.endswith(".jpg") else _png(made[kind])
                write_whole(root / name, data)
    except (ValueError, cv2.error) as error:
        return f"could not be made into a {layout.unit}: {error}"
    return ""


def make_pictures(
    image: Picture, landmarks: np.ndarray, settings: Settings, number: int, kinds: Collection[Kind]
) -> dict[Kind, Picture]:
    """The pictures of one face on `image`, of the layout's shape; without landmarks all of it.

    Args:
        image: the photograph.
        landmarks: (5, 2), or empty.
        settings: name the layout, the size and the seed of the degradation.
        number: of the face in the set.
        kinds: what is wanted beside "photograph", which is always there.

    Raises:
        ValueError: if the landmarks span no face, or one outside the photograph.
    """
    if not landmarks.size:
        return {"photograph": image, **spoilt(image, kinds, settings.seed, number)}
    layout = LAYOUTS[settings.set]
    height, _ = layout.shape(settings.size)
    quad = layout.quad(landmarks)
    side = max(height, min(round(quad_side(quad)), WORK_SIDE))
    raw = crop(image, quad, side)
    photograph = layout.framed(resize(raw, height))
    made: dict[Kind, Picture] = {"photograph": photograph}
    if "retouched" in kinds:
        retouched = retouch(raw, to_crop(landmarks, quad, side)).image
        made["retouched"] = layout.framed(resize(retouched, height))
    return made | spoilt(photograph, kinds, settings.seed, number)


def _png(image: Picture) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return bytes(data)
