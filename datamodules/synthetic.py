"""Drawn faces whose blemishes are known, and a data set of them on disk in FFHQR's layout.

A drawn face is a portrait made of arithmetic alone: no photograph and no network is behind it.
The raw picture is the clean one with imperfections under the same light, pores and noise, so the
two are equal to the last bit wherever the mask is 0. The bytes are the same on every machine.
"""

import io
import itertools
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from rich.console import Console
from rich.progress import track

from datamodules.drawing.camera import display, expose, quantised, sensor_noise
from datamodules.drawing.identity import draw_person
from datamodules.drawing.imperfections import Preview, choose_marks, drawn_marks, marks_grain
from datamodules.drawing.photograph import Camera, draw_photograph
from datamodules.drawing.portrait import paint_portrait
from datamodules.drawing.shapes import averaged, blurred

SMALLEST, LARGEST = 32, 512
FINEST = 96  # smaller pictures are drawn at least this large and averaged down
PREVIEW = 64
VERSION = 1  # of the drawings: another number means other bytes
MARKER, UNFINISHED = "drawn.json", "drawn.unfinished.json"
FIRST = {"train": 0, "val": 56_000, "test": 63_000}
LIMITS = {"train": 56_000, "val": 7_000, "test": 7_000}
WORTH_A_PROCESS = 50  # pictures; a new process takes seconds to start
FAINTEST = np.float32(1 / 255)  # a weaker opacity could not change a byte


@dataclass(frozen=True)
class DrawnFace:
    """A face with imperfections, the same face without, and the opacity of the imperfections."""

    raw: UInt8[ndarray, "h w 3"]
    clean: UInt8[ndarray, "h w 3"]
    mask: Float[ndarray, "h w"]


def draw_face(identity: int, photograph: int, size: int, seed: int = 0) -> DrawnFace:
    """One photograph of one drawn person, `size` pixels square.

    Args:
        identity: number of the person; the same number and seed are the same person.
        photograph: number of the photograph: pose, expression, light, background, camera.
        size: side of the square picture in pixels, 32 to 512.
        seed: of the world of people.

    Raises:
        ValueError: if `size` is not in 32 to 512, or a number is negative.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be in [{SMALLEST}, {LARGEST}], got {size}")
    if min(identity, photograph, seed) < 0:
        raise ValueError(
            "identity, photograph and seed must not be negative, "
            f"got {identity}, {photograph} and {seed}"
        )
    person = draw_person(identity, seed)
    shot = draw_photograph(identity, photograph, seed)
    marks = choose_marks(person, shot, Preview(*paint_portrait(PREVIEW, person, shot)))
    factor = -(-FINEST // size)
    canvas, at = paint_portrait(size * factor, person, shot)
    opacity, change = drawn_marks(marks, at, marks_grain(person))
    opacity *= canvas.bare
    marked = canvas.colour + canvas.bare * canvas.colour * (change - 1.0)
    light = np.concatenate([canvas.colour, marked, opacity[None]])
    light = averaged(light, factor)
    return _developed(light, shot.camera)


def _developed(light: Float[ndarray, "7 h w"], camera: Camera) -> DrawnFace:
    light = blurred(light, camera.blur)
    noise = sensor_noise(light.shape[-1], camera)
    clean = quantised(display(expose(light[:3], camera)) + noise)
    marked = quantised(display(expose(light[3:6], camera)) + noise)
    mask = np.clip(light[6], 0.0, 1.0)
    mask = np.where(mask < FAINTEST, np.float32(0.0), mask)
    return DrawnFace(np.where(mask[:, :, None] > 0, marked, clean), clean, mask)


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

    def drawn(self, number: int) -> DrawnFace:
        """Picture `number` of this set."""
        first = max(first for first in FIRST.values() if first <= number)
        person, photograph = divmod(number - first, self.photographs)
        return draw_face(first + person, photograph, self.size, self.seed)


def write_ffhqr(root: Path, faces: DrawnSet, workers: int = 0) -> None:
    """Writes the pairs of `faces` below `root` in FFHQR's layout, unless they are there already.

    What an interrupted call has written is kept by the next one. `drawn.json`, written last, holds
    the set and the version of the drawings.

    Args:
        root: a new or empty folder, or one that an earlier call has begun.
        faces: what to draw.
        workers: processes; 0 means one for each processor core, but none for few pictures.

    Raises:
        ValueError: if `workers` is negative, or `root` holds anything else.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 (one for each core) or more, got {workers}")
    told = json.dumps({"version": VERSION, "faces": asdict(faces)}, indent=2) + "\n"
    if _finished(root, told):
        return
    root.mkdir(parents=True, exist_ok=True)
    _replace(root / UNFINISHED, told.encode())
    missing = [n for n in faces.numbers if not all(path.exists() for path in _pair(root, n))]
    processes = workers or min(_cores(), len(missing) // WORTH_A_PROCESS + 1)
    console = Console(stderr=True)
    drawn = _draw_all(root, faces, missing, processes)
    for _ in track(drawn, "Drawing faces", total=len(missing), console=console):
        pass
    for stale in root.glob("*/*/*.tmp"):
        stale.unlink()
    (root / UNFINISHED).replace(root / MARKER)


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


def _draw_all(root: Path, faces: DrawnSet, numbers: list[int], processes: int) -> Iterator[None]:
    several = itertools.repeat(root), itertools.repeat(faces), numbers
    if processes == 1:
        yield from map(_draw_pair, *several)
        return
    # A forked child would inherit the locks of this process's threads; a spawned one has its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(_draw_pair, *several, chunksize=8)


def _draw_pair(root: Path, faces: DrawnSet, number: int) -> None:
    face = faces.drawn(number)
    for path, picture in zip(_pair(root, number), (face.raw, face.clean), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "PNG", compress_level=1)
        _replace(path, content.getvalue())


def _pair(root: Path, number: int) -> tuple[Path, Path]:
    name = f"{number // 1000 * 1000:05d}/{number:05d}.png"
    return root / "images1024x1024" / name, root / "FFHQR" / name


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(content)
    partial.replace(path)
