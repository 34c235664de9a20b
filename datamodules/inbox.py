"""Photographs and clips of anybody, with the faces on them, to be restored and written again."""

import glob
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, final

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from datamodules import clips
from datamodules.clip_writer import WRITTEN
from datamodules.clips import Clip
from datamodules.detection import Face
from datamodules.faces import Corners, Crop, Steadied, View, cut
from datamodules.images import UnreadableImage
from datamodules.listing import SUFFIXES
from datamodules.original import Original, eight_bits, largest, read_original
from datamodules.preparation import NOT_READ

Detect = Callable[[np.ndarray], Sequence[Face]]
"""The faces on a picture, uint8 RGB (h, w, 3)."""

SLACK: Final = 0.02
"""Relative difference in shape up to which an aligned picture is stretched to the network's."""


SEVERAL: Final = "several faces, references not used"


@final
@dataclass(frozen=True)
class Entry:
    """A file to restore.

    Attributes:
        path: of the file.
        name: what it is called in the outbox, a path with forward slashes.
    """

    path: Path
    name: str

    @property
    def is_clip(self) -> bool:
        """Whether it is read frame by frame."""
        return clips.is_clip(self.path)

    @property
    def output(self) -> str:
        """What its restored form is called; a clip that cannot be written as such gets .mp4."""
        written = not self.is_clip or self.path.suffix.lower() in WRITTEN
        return self.name if written else f"{self.name}.mp4"


@final
class Piece:
    """One picture to restore: a photograph, or a frame of a clip.

    Attributes:
        entry: where it is from.
        pixels: (h, w, 3) RGB of 8 or 16 bits; none where it could not be read.
        corners: of each face's crop; none where the picture itself is the crop.
        original: what to write a photograph with; None for a frame.
        clip: whose frame it is; None for a photograph.
        second: of the clip at which the frame is shown; None where that is not told.
        last: whether nothing more comes of its file.
        note: what was done otherwise than asked for; else empty.
        failure: why it, and the rest of its file, could not be read; else empty.
        began: when its file was begun, by `time.perf_counter`.
    """

    def __init__(self, entry: Entry, began: float) -> None:
        self.entry = entry
        self.pixels = np.zeros((0, 0, 3), np.uint8)
        self.corners: list[Corners] = []
        self.original: Original | None = None
        self.clip: Clip | None = None
        self.second: Fraction | None = None
        self.last = True
        self.note = ""
        self.failure = ""
        self.began = began


def listed(given: str) -> list[Entry]:
    """The photographs and clips that a path or a pattern means, sorted by name.

    Files of a folder are called by their path below it, those of a pattern by their path below the
    last folder that is no pattern. Files of kinds that look like pictures and cannot be read are
    among them, so that they are told of.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = Path(given)
    if path.is_dir():
        root, found = path, [each for each in path.rglob("*") if _counts(each)]
    elif path.exists() or path.is_symlink():
        return [Entry(path, path.name)]
    else:
        root = _fixed_part(path)
        found = [each for each in root.glob(str(path.relative_to(root))) if not each.is_dir()]
    if not found:
        kinds = ", ".join(sorted(SUFFIXES | clips.SUFFIXES))
        raise FileNotFoundError(f"there is no photograph or clip at {given}; looked for {kinds}")
    return sorted(
        (Entry(each, each.relative_to(root).as_posix()) for each in found), key=lambda e: e.name
    )


def _counts(path: Path) -> bool:
    known = SUFFIXES | NOT_READ | clips.SUFFIXES
    hidden = path.name.startswith(".")
    return path.suffix.lower() in known and not hidden and not path.is_dir()


def _fixed_part(pattern: Path) -> Path:
    parts = pattern.parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:fixed])


@final
@dataclass(frozen=True)
class Crops:
    """How a picture becomes what the network sees.

    Attributes:
        view: around a face.
        detect: finds the faces; without it the whole picture is the crop.
        whole: leave pictures that are crops at their own size.
    """

    view: View
    detect: Detect | None = None
    whole: bool = False

    def located(self, pixels: np.ndarray, steadied: Steadied | None = None) -> list[Corners]:
        """The crops of the faces on a picture; none where the picture itself is the crop."""
        if self.detect is None:
            return []
        landmarks = [face.landmarks.astype(float) for face in self.detect(eight_bits(pixels))]
        if steadied is not None:
            landmarks = steadied(landmarks)
        return [self.view.corners(points) for points in landmarks]

    def of(self, pixels: np.ndarray, corners: Sequence[Corners]) -> Float[Tensor, "n 3 h w"]:
        """What the network sees of a picture, in [0, 1].

        Raises:
            UnreadableImage: if the picture is to be a crop and has another shape.
        """
        if self.detect is not None:
            crops = [cut(pixels, each, self.view.size) for each in corners]
            return _stacked(crops, self.view.size)
        values = pixels.astype(np.float32) / largest(pixels)
        if self.whole:
            return _stacked([values], pixels.shape[:2])
        return _stacked([_resized(values, self.view.size)], self.view.size)


def _stacked(crops: list[Crop], size: tuple[int, ...]) -> Tensor:
    if not crops:
        return torch.zeros(0, 3, *size)
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))


def _resized(values: Crop, size: tuple[int, int]) -> Crop:
    height, width = values.shape[:2]
    if abs(height * size[1] / (width * size[0]) - 1) > SLACK:
        raise UnreadableImage(
            f"is {width} x {height}, and an aligned picture has the shape of {size[1]} x {size[0]} "
            "(width x height)"
        )
    shrinks = height >= size[0] and width >= size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized = cv2.resize(values, (size[1], size[0]), interpolation=method)
    return np.clip(resized, 0, 1)


@final
class Visits(IterableDataset[dict[str, Any]]):
    """The pictures of some files one after the other, each read when it is asked for.

    An item holds "piece", "image", (n, 3, h, w) in [0, 1], the crops of the piece's n faces, and
    where there are references those; a picture of several faces gets none, as nobody knows which of
    them is the person. Of a file that cannot be read one piece comes that says why.

    Args:
        entries: the files.
        crops: how a picture becomes what the network sees.
        references: (k, 3, h, w) clean photographs of the person; None for none.
    """

    def __init__(
        self, entries: Sequence[Entry], crops: Crops, references: Tensor | None = None
    ) -> None:
        self._entries, self._crops, self._references = entries, crops, references

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for entry in self._entries:
            began = time.perf_counter()
            try:
                yield from (
                    self._frames(entry, began) if entry.is_clip else self._photo(entry, began)
                )
            except (ValueError, cv2.error, OSError, ImportError) as error:  # of this file alone
                piece = Piece(entry, began)
                told = " ".join(str(error).removeprefix(f"{entry.path}: ").split())
                piece.failure = told or type(error).__name__
                yield self._item(piece)

    def _photo(self, entry: Entry, began: float) -> Iterator[dict[str, Any]]:
        ending = entry.path.suffix.lower()
        if ending in NOT_READ:
            raise UnreadableImage(f"{ending} is not read, convert it to JPEG or PNG")
        piece = Piece(entry, began)
        piece.original = read_original(entry.path)
        piece.pixels = piece.original.colours
        piece.corners = self._crops.located(piece.pixels)
        yield self._item(piece)

    def _frames(self, entry: Entry, began: float) -> Iterator[dict[str, Any]]:
        clip, steadied = Clip(entry.path), Steadied()
        before: dict[str, Any] | None = None
        for frame, second in clip.timed():
            if before is not None:
                yield before
            piece = Piece(entry, began)
            piece.pixels, piece.clip, piece.last = frame, clip, False
            piece.second = second
            piece.corners = self._crops.located(frame, steadied)
            before = self._item(piece)
        if before is None:
            raise UnreadableImage("holds no frame")
        before["piece"].last = True  # only now is it known
        yield before

    def _item(self, piece: Piece) -> dict[str, Any]:
        if piece.failure:
            return {"piece": piece, "image": torch.zeros(0, 3, *self._crops.view.size)}
        image = self._crops.of(piece.pixels, piece.corners)
        item: dict[str, Any] = {"piece": piece, "image": image}
        if self._references is None:
            return item
        if len(image) == 1:
            item["references"] = self._references[None]
        elif len(image):
            piece.note = SEVERAL
        return item


@final
class Inbox(pl.LightningDataModule):
    """Files to restore, shared out among the processes: a clip is one file and stays together.

    Args:
        entries: all files, the same list on every process.
        finished: names of those that need not be read; the share of a process does not depend on
            them.
        crops: how a picture becomes what the network sees.
        references: (k, 3, h, w) clean photographs of the person; None for none.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        finished: frozenset[str],
        crops: Crops,
        references: Tensor | None = None,
    ) -> None:
        super().__init__()
        self._entries, self._finished = entries, finished
        self._crops, self._references = crops, references

    def predict_dataloader(self) -> DataLoader:
        """The pictures of this process's share of the files."""
        rank, world = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        share = [each for each in self._entries[rank::world] if each.name not in self._finished]
        visits = Visits(share, self._crops, self._references)
        return DataLoader(visits, batch_size=None, collate_fn=_as_it_is)


def _as_it_is(item: Any) -> Any:
    return item
