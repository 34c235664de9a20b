"""Photographs made into pairs in the layout of FFHQR: who gets which number, and the two steps.

A prepared folder's `prepared.json` holds the settings that decide its bytes, and of every source
file the checksum, landmarks and numbers, or why it was skipped. Numbers follow from the sorted
names, the seed and which photographs show a face; once given they never change.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from datamodules.alignment import crop, ffhq_quad, quad_side, to_crop
from datamodules.detection import FaceDetector
from datamodules.images import UnreadableImage, read_image, resize
from datamodules.retouch import retouch

SPLITS = {"train": range(56_000), "val": range(56_000, 63_000), "test": range(63_000, 70_000)}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
MANIFEST = "prepared.json"
WORK_SIDE = 512  # faces are retouched at their own size, up to this one, and shrunk afterwards


class PreparationError(ValueError):
    """The folders and the settings do not fit; the message is one sentence for the user."""


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of a prepared folder; it keeps them for life.

    Attributes:
        size: side of the pictures in pixels.
        seed: decides who is in which split.
        val: share of the pictures for validation.
        test: share of the pictures for testing.
        faces: of a photograph, "largest" or "all".
        min_eyes: least distance of the eyes in pixels of the photograph.
        group: what is one person, "folder" (right below the top) or "file".
        group_pattern: its first group in a file's name is the person; above `group` if not "".
    """

    size: int
    seed: int
    val: float
    test: float
    faces: str
    min_eyes: float
    group: str
    group_pattern: str


@dataclass
class Photograph:
    """One source file as the manifest records it.

    Attributes:
        name: path below the folder of photographs, with forward slashes.
        group: the person; one person's pictures never lie in two splits.
        bytes: length of the file; another length means that the photograph was replaced.
        sha256: of the file.
        reason: why it was skipped; empty if it was not.
        landmarks: five points (x, y) for each face used.
        numbers: of the pairs, one a face; empty until given.
    """

    name: str
    group: str
    bytes: int
    sha256: str = ""
    reason: str = ""
    landmarks: list[list[list[float]]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def paths(root: Path, number: int) -> tuple[Path, Path]:
    """The raw and the retouched file of pair `number`, which `split_of` checks."""
    tail = Path(f"{number // 1000 * 1000:05d}") / f"{number:05d}.png"
    return root / "images1024x1024" / tail, root / "FFHQR" / tail


def split_of(number: int) -> str:
    """train, val or test.

    Raises:
        ValueError: if `number` is not in [0, 70000).
    """
    found = [name for name, numbers in SPLITS.items() if number in numbers]
    if not found:
        raise ValueError(f"number must be in [0, 70000), got {number}")
    return found[0]


def usual_group(source: Path) -> str:
    """folder, if all photographs lie in sub-folders, which then stand for people; else file.

    Raises:
        OSError: if `source` cannot be listed.
    """
    return "file" if any(_is_photograph(path) for path in source.iterdir()) else "folder"


def _is_photograph(path: Path) -> bool:
    known = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return known and path.is_file()


def listing(source: Path, settings: Settings, limit: int | None = None) -> list[Photograph]:
    """The photographs below `source` sorted by name; of many, `limit` drawn by the seed.

    Raises:
        PreparationError: if there are none, or a name has no person by the pattern.
    """
    files = [path for path in source.rglob("*") if _is_photograph(path)]
    names = [path.relative_to(source).as_posix() for path in files]
    if not names:
        kinds = ", ".join(sorted(SUFFIXES))
        raise PreparationError(f"{source} holds no photograph, looked for {kinds}")
    if limit is not None:
        names = sorted(names, key=lambda name: _digest(settings.seed, name))[:limit]
    sizes = {name: (source / name).stat().st_size for name in sorted(names)}
    return [Photograph(name, _person(name, settings), size) for name, size in sizes.items()]


def _digest(seed: int, text: str) -> bytes:
    """A key whose order is a shuffle, the same on every machine."""
    return hashlib.sha256(f"{seed} {text}".encode()).digest()


def _person(name: str, settings: Settings) -> str:
    if not settings.group_pattern:
        return name.partition("/")[0] if settings.group == "folder" else name
    match = re.search(settings.group_pattern, name.rpartition("/")[2])
    if match is None or match.group(1) is None:
        msg = f"the group pattern {settings.group_pattern} finds no person in the name of {name}"
        raise PreparationError(msg)
    return match.group(1)


def load(root: Path, settings: Settings) -> dict[str, Photograph]:
    """The photographs that `root` already knows, by name.

    Raises:
        PreparationError: if `root` was prepared with other settings, or its manifest is broken.
    """
    path = root / MANIFEST
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text())
        before = Settings(**manifest["settings"])
        known = {entry["name"]: Photograph(**entry) for entry in manifest["photographs"]}
    except (ValueError, TypeError, KeyError) as error:
        raise PreparationError(f"{path} is no manifest, choose another folder: {error}") from error
    for key, value in asdict(settings).items():
        if getattr(before, key) != value:
            was = f"{key.replace('_', '-')}={getattr(before, key)}"
            msg = f"{root} was prepared with {was}, got {value}; give the same or another --to"
            raise PreparationError(msg)
    return known


def save(root: Path, settings: Settings, known: dict[str, Photograph]) -> None:
    """Writes the manifest.

    Raises:
        OSError: if `root` cannot be written.
    """
    photographs = [asdict(known[name]) for name in sorted(known)]
    manifest = {"settings": asdict(settings), "photographs": photographs}
    write_whole(root / MANIFEST, json.dumps(manifest, indent=1).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Writes `path` so that a kill leaves the old file or the new one, never a part of it.

    Raises:
        OSError: if its folder cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def give_numbers(photographs: Iterable[Photograph], settings: Settings) -> None:
    """Numbers for all faces that have none yet; numbers given before stay as they are.

    New people come in an order drawn by the seed, and each goes, with all their pictures, to the
    split that is furthest below its share.

    Raises:
        PreparationError: if a split of FFHQR is full.
    """
    ordered = sorted(photographs, key=lambda photo: photo.name)
    share = {"train": 1 - settings.val - settings.test, "val": settings.val, "test": settings.test}
    used = Counter(dict.fromkeys(SPLITS, 0))
    following = {name: numbers.start for name, numbers in SPLITS.items()}
    home: dict[str, str] = {}
    weight: Counter[str] = Counter()
    for photo in ordered:
        weight[photo.group] += len(photo.landmarks) - len(photo.numbers)
        for number in photo.numbers:
            split = home[photo.group] = split_of(number)
            used[split] += 1
            following[split] = max(following[split], number + 1)
    for person in sorted(weight, key=lambda person: _digest(settings.seed, person)):
        total = sum(used.values()) + weight[person]
        lack = {name: share[name] * total - used[name] for name in SPLITS}
        used[home.setdefault(person, max(lack, key=lambda name: lack[name]))] += weight[person]
    for photo in ordered:
        split = home[photo.group]
        for _ in photo.landmarks[len(photo.numbers) :]:
            if following[split] not in SPLITS[split]:
                msg = f"{len(SPLITS[split])} pictures fill the {split} split; use --limit"
                raise PreparationError(msg)
            photo.numbers.append(following[split])
            following[split] += 1


def is_missing(root: Path, photo: Photograph) -> bool:
    """Whether a file of `photo`'s pairs is still to be written.

    Raises:
        OSError: if `root` cannot be looked into.
    """
    return any(not path.exists() for number in photo.numbers for path in paths(root, number))


@cache
def _detector(path: Path) -> FaceDetector:
    return FaceDetector(path)


def examine(source: Path, detector: Path, settings: Settings, photo: Photograph) -> Photograph:
    """`photo` with its checksum and the landmarks of its faces, or the reason why it has none.

    Raises:
        OSError: if the file cannot be opened.
    """
    path = source / photo.name
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        faces = _detector(detector)(read_image(path))
    except UnreadableImage as error:
        return Photograph(photo.name, photo.group, photo.bytes, sha256, f"unreadable: {error}")
    wide = [face for face in faces if face.eye_distance >= settings.min_eyes]
    reason = "" if wide else "no face"
    if faces and not wide:
        reason = f"face too small: {faces[0].eye_distance:.0f} px between the eyes"
    used = wide if settings.faces == "all" else wide[:1]
    points = [np.round(face.landmarks, 2).tolist() for face in used]
    return Photograph(photo.name, photo.group, photo.bytes, sha256, reason, points)


def write_pairs(source: Path, root: Path, settings: Settings, photo: Photograph) -> str:
    """Why the pairs of `photo` could not be written; empty when they are there.

    Raises:
        OSError: if `root` cannot be written.
    """
    try:
        image = read_image(source / photo.name)
        for number, points in zip(photo.numbers, photo.landmarks, strict=True):
            pair = make_pair(image, np.array(points), settings.size)
            for path, picture in zip(paths(root, number), pair, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, _png(picture))
    except (ValueError, cv2.error) as error:
        return f"could not be made into a pair: {error}"
    return ""


def make_pair(image: np.ndarray, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The aligned face of `image`, (size, size, 3) uint8, as it is and retouched.

    Raises:
        ValueError: if the landmarks span no face, or one outside the photograph.
    """
    quad = ffhq_quad(landmarks)
    side = max(size, min(round(quad_side(quad)), WORK_SIDE))
    raw = crop(image, quad, side)
    retouched = retouch(raw, to_crop(landmarks, quad, side)).image
    return resize(raw, size), resize(retouched, size)


def _png(image: np.ndarray) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return bytes(data)
