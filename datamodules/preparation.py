"""Which photographs become which faces of a set: the list, the numbers and the manifest.

A prepared folder's `prepared.json` holds the settings that decide its bytes, and of every source
file the checksum, landmarks and numbers, or why it was skipped. Numbers follow from the sorted
names, the seed and which photographs show a face; once given they never change.
`datamodules.layouts` says where the pictures go, `datamodules.portraits` makes them.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from datamodules.index import SUFFIXES
from datamodules.layouts import LAYOUTS, Face
from datamodules.stream import Split

MANIFEST = "prepared.json"
DRAWN = ("drawn.json", "drawn.unfinished.json")
NOT_READ = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".svg", ".tga"}
)


class PreparationError(ValueError):
    """The folders and the settings do not fit; the message is one sentence for the user."""


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of a prepared folder; it keeps them for life.

    Attributes:
        size: side of the pictures in pixels.
        seed: decides who is in which split, and how pictures are degraded.
        val: share of the pictures for validation.
        test: share of the pictures for testing.
        faces: of a photograph, "largest", "all", or "none": the whole picture instead.
        min_eyes: least distance of the eyes in pixels of the photograph.
        group: what is one person, "folder" (right below the top) or "file".
        group_pattern: its first group in a file's name is the person; above `group` if not "".
        set: name of the layout.
    """

    size: int
    seed: int
    val: float
    test: float
    faces: str
    min_eyes: float
    group: str
    group_pattern: str
    set: str = "ffhqr"

    def noted(self) -> dict[str, Any]:
        """As a manifest holds it: what was added later only where it differs from the default."""
        default = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        return {k: v for k, v in asdict(self).items() if k not in default or v != default[k]}


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
        numbers: in the set, one a face; empty until given.
    """

    name: str
    group: str
    bytes: int
    sha256: str = ""
    reason: str = ""
    landmarks: list[list[list[float]]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def faces_of(photo: Photograph) -> list[Face]:
    """The faces on `photo` that have numbers."""
    return [Face(n, photo.group, photo.name, nth) for nth, n in enumerate(photo.numbers)]


def usual_group(source: Path) -> str:
    """folder, if all photographs lie in sub-folders, which then stand for people; else file.

    Raises:
        OSError: if `source` cannot be listed.
    """
    return "file" if any(_is_photograph(path) for path in source.iterdir()) else "folder"


def _is_photograph(path: Path) -> bool:
    return _is_named_like(path, SUFFIXES) and path.is_file()


def _is_named_like(path: Path, endings: Collection[str]) -> bool:
    return path.suffix.lower() in endings and not path.name.startswith(".")


def strangers(source: Path) -> dict[str, str]:
    """Why each entry that is named like a picture is passed over by `listing`, by its name.

    Raises:
        OSError: if `source` cannot be listed.
    """
    found = {}
    for path in source.rglob("*"):
        name = path.relative_to(source).as_posix()
        if _is_named_like(path, NOT_READ) and path.is_file():
            ending = path.suffix.lower()
            found[name] = f"unknown kind: {ending} is not read, convert it to JPEG or PNG"
        elif _is_named_like(path, SUFFIXES) and not path.is_file():
            dead = path.is_symlink() and not path.exists()
            found[name] = "dead link" if dead else "folder" if path.is_dir() else "no plain file"
    return found


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
    return hashlib.sha256(f"{seed} {text}".encode(errors="surrogateescape")).digest()


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
        PreparationError: if `root` was prepared with other settings, its manifest is broken, or it
            holds drawn faces.
    """
    path = root / MANIFEST
    drawn = [root / name for name in DRAWN if (root / name).exists()]
    if drawn:
        raise PreparationError(f"{drawn[0]} says that {root} holds drawn faces; give another --to")
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
    """Writes the manifest, unless it is as it was.

    Raises:
        OSError: if `root` cannot be written.
    """
    photographs = [asdict(known[name]) for name in sorted(known)]
    note = LAYOUTS[settings.set].note
    about = {"note": note} if note else {}
    manifest = {"settings": settings.noted(), **about, "photographs": photographs}
    _write_changed(root / MANIFEST, json.dumps(manifest, indent=1).encode())


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
        PreparationError: if a split of the layout is full.
    """
    layout = LAYOUTS[settings.set]
    ordered = sorted(photographs, key=lambda photo: photo.name)
    share = {"train": 1 - settings.val - settings.test, "val": settings.val, "test": settings.test}
    used: Counter[Split] = Counter(dict.fromkeys(layout.numbers, 0))
    following = {name: numbers.start for name, numbers in layout.numbers.items()}
    home: dict[str, Split] = {}
    weight: Counter[str] = Counter()
    for photo in ordered:
        weight[photo.group] += len(photo.landmarks) - len(photo.numbers)
        for number in photo.numbers:
            split = home[photo.group] = layout.split_of(number)
            used[split] += 1
            following[split] = max(following[split], number + 1)
    for person in sorted(weight, key=lambda person: _digest(settings.seed, person)):
        total = sum(used.values()) + weight[person]
        lack = {name: share[name] * total - used[name] for name in layout.numbers}
        used[home.setdefault(person, max(lack, key=lambda name: lack[name]))] += weight[person]
    for photo in ordered:
        split = home[photo.group]
        for _ in photo.landmarks[len(photo.numbers) :]:
            if following[split] not in layout.numbers[split]:
                count = len(layout.numbers[split])
                raise PreparationError(f"{count} pictures fill the {split} split; use --limit")
            photo.numbers.append(following[split])
            following[split] += 1


def picture_files(root: Path, settings: Settings, photo: Photograph) -> list[Path]:
    """The files of all pictures of the faces on `photo`."""
    layout = LAYOUTS[settings.set]
    return [root / name for face in faces_of(photo) for name in layout.files(face).values()]


def is_missing(root: Path, settings: Settings, photo: Photograph) -> bool:
    """Whether a file of `photo`'s pictures is still to be written.

    Raises:
        OSError: if `root` cannot be looked into.
    """
    return any(not path.exists() for path in picture_files(root, settings, photo))


def write_annotations(root: Path, settings: Settings, photographs: Iterable[Photograph]) -> None:
    """Writes the layout's annotation files for these photographs, where they differ.

    Raises:
        OSError: if `root` cannot be written.
    """
    faces = [face for photo in photographs for face in faces_of(photo)]
    for name, text in LAYOUTS[settings.set].annotations(faces).items():
        _write_changed(root / name, text.encode())


def _write_changed(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_whole(path, data)
