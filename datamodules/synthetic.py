"""Data sets of drawn faces on disk, in the layout of any set here.

See `datamodules.drawing.face` for what a drawn face is. The same people are in every layout, and
the pictures have the same bytes on every machine.
"""

import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from datamodules.drawing.face import LARGEST, SMALLEST, DrawnFace, draw_face, draw_parts
from datamodules.layouts import LAYOUTS, Face, Files, Kind, Layout, Picture, jpeg
from datamodules.spoiling import spoilt
from datamodules.stream import Split

__all__ = ["DrawnFace", "DrawnSet", "draw_face", "may_be_drawn", "write_drawn", "write_parts"]

VERSION = 1  # of the drawings and their parts: another number means other bytes
MARKER, UNFINISHED = "drawn.json", "drawn.unfinished.json"
FIRST: dict[Split, int] = {"train": 0, "val": 56_000, "test": 63_000}
LIMITS = {"train": 56_000, "val": 7_000, "test": 7_000}
WORTH_A_PROCESS = 50  # pictures; a new process takes seconds to start


@dataclass(frozen=True)
class DrawnSet:
    """A data set of drawn faces; no person is in two splits.

    Attributes:
        train: pictures for training.
        val: pictures for validation.
        test: pictures for testing.
        size: side of the pictures in pixels.
        seed: of the world of people.
        photographs: of each person.

    Raises:
        ValueError: if a number is out of its range.
    """

    train: int = 600
    val: int = 40
    test: int = 80
    size: int = 128
    seed: int = 0
    photographs: int = 1

    def __post_init__(self) -> None:
        for name, most in LIMITS.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in [0, {most}], got {getattr(self, name)}")
        if not SMALLEST <= self.size <= LARGEST:
            raise ValueError(f"size must be in [{SMALLEST}, {LARGEST}], got {self.size}")
        if self.seed < 0 or self.photographs < 1:
            raise ValueError(
                "seed must be at least 0 and photographs at least 1, "
                f"got {self.seed} and {self.photographs}"
            )

    @property
    def numbers(self) -> list[int]:
        """The numbers of all pictures."""
        return [FIRST[name] + k for name in FIRST for k in range(getattr(self, name))]

    def shown(self, number: int) -> tuple[int, int]:
        """Which person and which photograph of them picture `number` is."""
        first = max(first for first in FIRST.values() if first <= number)
        person, photograph = divmod(number - first, self.photographs)
        return first + person, photograph

    def drawn(self, number: int) -> DrawnFace:
        """Picture `number` of this set."""
        return draw_face(*self.shown(number), self.size, self.seed)


def may_be_drawn(root: Path) -> bool:
    """Whether `root` is new, empty, or holds drawn faces already, finished or not."""
    if not root.exists():
        return True
    marked = any((root / name).exists() for name in (MARKER, UNFINISHED))
    return marked or (root.is_dir() and not any(root.iterdir()))


def write_drawn(root: Path, layout: str, faces: DrawnSet, workers: int = 0) -> None:
    """Writes `faces` below `root` in the layout of a data set, unless they are there already.

    What an interrupted call has written is kept by the next one. `drawn.json`, written last, holds
    the set and the version of the drawings. In a layout of one shape only, such as CelebA's, the
    size of `faces` is not used.

    Args:
        root: a new or empty folder, or one that an earlier call has begun.
        layout: one of `datamodules.layouts.LAYOUTS`.
        faces: what to draw.
        workers: processes; 0 means one for each processor core, but none for few pictures.

    Raises:
        ValueError: if `workers` is negative, there is no such layout or it has too few numbers, or
            `root` holds anything else.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 (one for each core) or more, got {workers}")
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout}")
    sitters = _sitters(LAYOUTS[layout], faces)
    told = _told(layout, faces)
    if _finished(root, told):
        return
    root.mkdir(parents=True, exist_ok=True)
    _replace(root / UNFINISHED, told.encode())
    missing = [sitter for sitter in sitters if _is_missing(root, LAYOUTS[layout], sitter)]
    _draw_all(partial(_draw, (root, layout, faces)), missing, workers, "Drawing faces")
    for stale in root.rglob("*.tmp"):
        stale.unlink()
    for name, text in LAYOUTS[layout].annotations([sitter.face for sitter in sitters]).items():
        _replace(root / name, text.encode())
    (root / UNFINISHED).replace(root / MARKER)


def write_parts(root: Path, folder: str, faces: DrawnSet, workers: int = 0) -> None:
    """Writes what is where on the faces of a drawn set in FFHQ's layout, as far as it is not there.

    Each map lies at `<root>/<folder>/NN000/NNNNN.png`, an 8-bit `datamodules.drawing.parts.Part`
    for each pixel.

    Args:
        root: of the set that `write_drawn` has written.
        folder: below it.
        faces: what was drawn.
        workers: as in `write_drawn`.

    Raises:
        ValueError: if `root` holds no such set.
    """
    if not _finished(root, _told("ffhq", faces)):
        raise ValueError(f"{root} holds no set of drawn faces in the layout of ffhq; draw it first")
    into = root / folder
    sitters = _sitters(LAYOUTS["ffhq"], faces)
    missing = [sitter for sitter in sitters if not _parts_of(into, sitter).exists()]
    _draw_all(partial(_draw_parts, (into, faces)), missing, workers, "Drawing parsing maps")
    for stale in into.rglob("*.tmp"):
        stale.unlink()


@dataclass(frozen=True, slots=True)
class _Sitter:
    """A face's place in a layout, and the number of its picture in the drawn set."""

    face: Face
    picture: int


def _sitters(layout: Layout, faces: DrawnSet) -> list[_Sitter]:
    """The same people in every layout; in FFHQ's each number shows what it does in FFHQR's."""
    free = {split: iter(numbers) for split, numbers in layout.numbers.items()}
    found = []
    for split, first in FIRST.items():
        home = layout.home(split)
        offset = first + layout.place(layout.numbers[home].start)
        for picture in range(offset, offset + getattr(faces, split)):
            number = next(free[home], None)
            if number is None:
                most = len(layout.numbers[home])
                raise ValueError(f"this layout has {most} numbers for {split}, draw fewer faces")
            person, photograph = faces.shown(picture)
            name = f"n{person:06d}"
            found.append(_Sitter(Face(number, name, f"{name}/{photograph + 1:04d}"), picture))
    return found


def _told(layout: str, faces: DrawnSet) -> str:
    notes: dict[str, Any] = {"version": VERSION, "faces": asdict(faces)}
    if layout != "ffhqr":  # sets drawn when there was no other layout do not name theirs
        notes["layout"] = layout
    if LAYOUTS[layout].note:
        notes["note"] = LAYOUTS[layout].note
    return json.dumps(notes, indent=2) + "\n"


def _finished(root: Path, told: str) -> bool:
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; name a new or empty folder for the drawn faces")
    for name in (MARKER, UNFINISHED):
        path = root / name
        if path.exists() and path.read_text() != told:
            raise ValueError(
                f"{path} tells of another set or version of drawn faces; "
                "name another folder or remove this one"
            )
        if path.exists():
            return name == MARKER
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{root} holds files that are not drawn faces; name a new or empty folder")
    return False


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_missing(root: Path, layout: Layout, sitter: _Sitter) -> bool:
    return not all((root / name).exists() for name in layout.files(sitter.face).values())


def _parts_of(folder: Path, sitter: _Sitter) -> Path:
    number = sitter.face.number
    return folder / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png"


_Draw = Callable[[_Sitter], None]


def _draw_all(draw: _Draw, sitters: list[_Sitter], workers: int, title: str) -> None:
    """Calls `draw` for all sitters, in `workers` processes, 0 for as many as are worth it."""
    if not sitters:
        return
    processes = workers or min(_cores(), len(sitters) // WORTH_A_PROCESS + 1)
    drawn = _drawing(draw, sitters, processes)
    for _ in track(drawn, title, total=len(sitters), console=Console(stderr=True)):
        pass


def _drawing(draw: _Draw, sitters: list[_Sitter], processes: int) -> Iterator[None]:
    if processes == 1:
        yield from map(draw, sitters)
        return
    # A forked child would inherit the locks of this process's threads; a spawned one has its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(draw, sitters, chunksize=8)


def _draw_parts(into: tuple[Path, DrawnSet], sitter: _Sitter) -> None:
    folder, faces = into
    path = _parts_of(folder, sitter)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = draw_parts(*faces.shown(sitter.picture), faces.size, faces.seed)
    _replace(path, _png(parts))


def _draw(into: tuple[Path, str, DrawnSet], sitter: _Sitter) -> None:
    root, name, faces = into
    layout = LAYOUTS[name]
    drawn = replace(faces, size=layout.shape(faces.size)[0]).drawn(sitter.picture)
    files = layout.files(sitter.face)
    made = _pictures(layout, drawn, faces.seed, sitter.face.number, files)
    for kind, below in files.items():
        path = root / below
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, jpeg(made[kind]) if path.suffix == ".jpg" else _png(made[kind]))


def _pictures(
    layout: Layout, drawn: DrawnFace, seed: int, number: int, files: Files
) -> dict[Kind, Picture]:
    photograph = layout.framed(drawn.raw)
    made: dict[Kind, Picture] = {"photograph": photograph}
    made["retouched"] = layout.framed(drawn.clean)
    return made | spoilt(photograph, files, seed, number)


def _png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(content)
    unfinished.replace(path)
