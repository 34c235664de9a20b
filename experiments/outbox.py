"""Writes what was restored: photographs, clips, panels, and a record of what is finished."""

import io
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from PIL import Image

from datamodules.clip_writer import ClipWriter
from datamodules.faces import Corners
from datamodules.inbox import Entry, Piece
from datamodules.original import Pixels, encoded
from datamodules.preparation import write_whole
from experiments.pasting import Patch, panel, pasted
from experiments.records import NO_FACE, RECORDS, SUMMARY, add_record, begun, join_records
from experiments.restorer import Answer

import pytorch_lightning as pl  # isort: skip

PANELS: Final = "panels"
_TELL_EVERY: Final = 15.0  # seconds
_HALF: Final = re.compile(r"(.+)\.\d+\.tmp", re.DOTALL)  # as `write_whole` calls it


class NotMadeError(ValueError):
    """A result that cannot be made of a file; the others can."""


@contextmanager
def _alone(*ending: type[Exception]) -> Iterator[None]:
    """Whatever a library raises on a picture is the failure of its file, but for what is `ending`.

    Raises:
        NotMadeError: in place of it.
    """
    try:
        yield
    except ending:
        raise
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise NotMadeError(told) from error


def leftovers(folder: Path, entries: Sequence[Entry]) -> list[Path]:
    """What a killed call left half written of the files that these become, and nothing else."""
    whole = {folder / SUMMARY, folder / RECORDS}
    whole |= {folder / entry.output for entry in entries}
    whole |= {_panel_of(folder, entry) for entry in entries}
    clips = [folder / entry.output for entry in entries if entry.is_clip]
    parts = {path.with_name(f".{path.stem}.part{path.suffix}") for path in clips}
    found = []
    for parent in {path.parent for path in whole}:
        for path in parent.iterdir() if parent.is_dir() else ():
            half = _HALF.fullmatch(path.name)
            if path in parts or (half and parent / half[1] in whole):
                found.append(path)
    return [path for path in found if not path.is_dir()]


def _panel_of(folder: Path, entry: Entry) -> Path:
    return folder / PANELS / f"{entry.name}.jpg"


@final
class Outbox(pl.Callback):
    """Writes each picture as soon as it is restored, and what became of each file.

    Args:
        folder: where to write.
        key: of the checkpoint and the options.
        entries: the files that will be restored.
        shown: names of those that get a panel.
    """

    def __init__(
        self, folder: Path, key: str, entries: Sequence[Entry], shown: frozenset[str] = frozenset()
    ) -> None:
        self.folder, self.key, self.entries, self.shown = folder, key, entries, shown
        self._clip = _OpenClip()
        self._told, self._files, self._pictures = time.monotonic(), 0, 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Removes what a killed call left half written, before any process writes."""
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in leftovers(self.folder, self.entries):
                path.unlink(missing_ok=True)
        trainer.strategy.barrier()

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Answer, batch: dict[str, Any], *_: Any
    ) -> None:
        """Writes a photograph, or adds a frame to its clip.

        Raises:
            OSError: if the outbox cannot be written.
        """
        piece: Piece = batch["piece"]
        failure = piece.failure or outputs.failure
        if piece.entry.path == self._clip.lost:
            return  # the rest of a clip that failed
        if not failure:
            try:
                self._take(piece, outputs, trainer.global_rank)
            except NotMadeError as error:
                failure = str(error)
        if failure:
            self._clip.drop(piece.entry.path)
        if failure or piece.last:
            self._note(piece, outputs, failure, trainer.global_rank)
            self._files += 1
        self._pictures += 1
        if trainer.is_global_zero:
            self._tell()

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Makes one record of all processes' records."""
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            join_records(self.folder)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Removes the clip that is half written."""
        self._clip.drop(None)

    def _tell(self) -> None:
        """Says now and then how far it is."""
        if time.monotonic() - self._told >= _TELL_EVERY:
            self._told = time.monotonic()
            sys.stderr.write(f"{self._files} files done, {self._pictures} pictures\n")

    def _take(self, piece: Piece, answer: Answer, rank: int) -> None:
        with _alone():
            patches = _patches(piece, answer)
            grey = piece.original is not None and piece.original.grey
            result = pasted(piece.pixels, patches, grey)
            first = piece.clip is None or self._clip.shown == 0
            shows = piece.entry.name in self.shown and first and bool(patches)
            view = _jpeg(panel(piece.pixels, result, patches, answer.masks)) if shows else b""
            data = _photograph(piece, result) if piece.clip is None else b""
        path = self.folder / piece.entry.output
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._clip.frames:  # a kill from here on leaves a result that is known
            claim = begun(piece.entry, self.key, "stopped before it was whole")
            add_record(self.folder, rank, claim)
        if view:
            shown = _panel_of(self.folder, piece.entry)
            shown.parent.mkdir(parents=True, exist_ok=True)
            write_whole(shown, view)
            self._clip.shown = 1
        if piece.clip is None:
            write_whole(path, data)
        else:
            self._clip.add(piece, path, result, answer)

    def _note(self, piece: Piece, answer: Answer, failure: str, rank: int) -> None:
        """Adds the record of a file that is done."""
        record = begun(piece.entry, self.key, failure)
        record.faces, likeness, notes = len(answer.changes), answer.likeness, [piece.note]
        if piece.clip is not None:
            record.faces, likeness, notes = self._clip.told()
        elif piece.original is not None and answer.changes:
            notes.append(piece.original.note)
        if not record.faces and not failure:
            notes.append(NO_FACE)
        record.seconds = round(time.perf_counter() - piece.began, 3)
        record.likeness = sum(likeness) / len(likeness) if likeness else None
        record.note = ", ".join(filter(None, notes))
        self._clip.forget()
        add_record(self.folder, rank, record)


def _patches(piece: Piece, answer: Answer) -> list[Patch]:
    # Where nothing was looked for, the picture itself is the crop.
    corners: list[Corners | None] = [*piece.corners] or [None] * len(answer.changes)
    return [Patch(*pair) for pair in zip(corners, answer.changes, strict=True)]


def _photograph(piece: Piece, result: Pixels) -> bytes:
    """The file with other colours; where nothing was changed as it is, to the byte."""
    assert piece.original is not None
    if result is piece.pixels:
        return piece.entry.path.read_bytes()
    return encoded(piece.original, result)


def _jpeg(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=92)
    return data.getvalue()


class _OpenClip:
    """The clip that is being written, if there is one, and what was seen in it."""

    def __init__(self) -> None:
        self.lost: Path | None = None
        self._writer: ClipWriter | None = None
        self.forget()

    def forget(self) -> None:
        self._open, self._writer = ExitStack(), None
        self.shown = self.frames = self._with_face = self._faces = 0
        self._notes: dict[str, int] = {}
        self._likeness = (0.0, 0)

    def add(self, piece: Piece, path: Path, frame: Pixels, answer: Answer) -> None:
        clip = piece.clip
        assert clip is not None
        with _alone(OSError):  # it encodes and writes at once, and a full disk ends the call
            if self._writer is None:
                writer = ClipWriter(path, clip.size, clip.rate, clip.path, clip.pixel)
                self._writer = self._open.enter_context(writer)
            self._writer.write(frame, piece.second)
            if piece.last:
                self._open.close()
        self.frames += 1
        self._with_face += bool(answer.changes)
        if piece.note:
            self._notes[piece.note] = self._notes.get(piece.note, 0) + 1
        self._faces = max(self._faces, len(answer.changes))
        total, count = self._likeness
        self._likeness = total + sum(answer.likeness), count + len(answer.likeness)

    def drop(self, path: Path | None) -> None:
        """Removes what there is of the clip; what else comes of `path` is passed over."""
        stopped = ValueError("the clip is not whole")
        if self._writer is not None:
            self._open.__exit__(ValueError, stopped, None)
        self.lost = path
        self.forget()

    def told(self) -> tuple[int, list[float], list[str]]:
        total, count = self._likeness
        notes = [f"{self.frames} frames, {self._with_face} with a face"] if self.frames else []
        notes += [f"{note} on {count} frames" for note, count in self._notes.items()]
        return self._faces, [total / count] if count else [], notes
