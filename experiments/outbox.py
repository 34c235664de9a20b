"""Writes what was restored: photographs, clips, panels, and a record of what is finished.

A record is a line of JSON. While files are being restored each process adds to a file of its own,
`outbox_<rank>.jsonl`; at the end one `outbox.jsonl` holds the newest record of each file.
"""

import csv
import io
import json
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from PIL import Image

from datamodules.clips import ClipWriter
from datamodules.faces import Corners
from datamodules.inbox import Entry, Piece
from datamodules.original import Pixels, encoded
from datamodules.preparation import write_whole
from experiments.pasting import Patch, panel, pasted
from experiments.restorer import Answer

import pytorch_lightning as pl  # isort: skip

SUMMARY: Final = "summary.csv"
PANELS: Final = "panels"
NO_FACE: Final = "no face found"
_RECORDS: Final = "outbox.jsonl"
_OWN: Final = "outbox_*.jsonl"
_TELL_EVERY: Final = 15.0  # seconds


@final
@dataclass
class Record:
    """What became of a file.

    Attributes:
        file: its name in the outbox.
        key: of the checkpoint and the options.
        size: bytes of the file.
        changed: when it was changed, in nanoseconds.
        faces: on the photograph, or on the frame with the most.
        seconds: from reading to writing.
        likeness: mean cosine between the judge's embeddings of the faces before and after.
        note: what else is to be known.
        failure: why there is nothing; else empty.
        when: seconds since 1970.
    """

    file: str
    key: str
    size: int = -1
    changed: int = -1
    faces: int = 0
    seconds: float = 0.0
    likeness: float | None = None
    note: str = ""
    failure: str = ""
    when: float = 0.0


def read_records(folder: Path) -> dict[str, Record]:
    """The newest record of each file by its name; lines that a kill cut short are passed over."""
    found: dict[str, Record] = {}
    known = {field.name for field in fields(Record)}
    for path in sorted([folder / _RECORDS, *folder.glob(_OWN)]):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            with suppress(ValueError, TypeError):
                record = Record(**{k: v for k, v in json.loads(line).items() if k in known})
                if record.file not in found or record.when >= found[record.file].when:
                    found[record.file] = record
    return found


def finished(entry: Entry, record: Record | None, key: str, folder: Path) -> bool:
    """Whether a file was restored with these options before and has not changed since."""
    if record is None or record.key != key or record.failure:
        return False
    return (record.size, record.changed) == _stamp(entry.path) and (folder / entry.output).is_file()


def _stamp(path: Path) -> tuple[int, int]:
    """Bytes of a file and when it was changed; -1 where there is none."""
    try:
        told = path.stat()
    except OSError:
        return -1, -1
    return told.st_size, told.st_mtime_ns


def write_summary(folder: Path, records: list[Record]) -> None:
    """Writes summary.csv, a line a file.

    Raises:
        OSError: if it cannot be written.
    """
    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(["file", "faces", "seconds", "identity", "note"])
    for record in records:
        likeness = "" if record.likeness is None else f"{record.likeness:.4f}"
        note = f"failed: {record.failure}" if record.failure else record.note
        lines.writerow([record.file, record.faces, f"{record.seconds:.2f}", likeness, note])
    write_whole(folder / SUMMARY, table.getvalue().encode(errors="surrogateescape"))


@final
class Outbox(pl.Callback):
    """Writes each picture as soon as it is restored, and what became of each file.

    Args:
        folder: where to write.
        key: of the checkpoint and the options.
        shown: names of the files that get a panel.
    """

    def __init__(self, folder: Path, key: str, shown: frozenset[str] = frozenset()) -> None:
        self.folder, self.key, self.shown = folder, key, shown
        self._clip = _OpenClip()
        self._told, self._files, self._pictures = time.monotonic(), 0, 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Removes what a killed call left half written, before any process writes."""
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for pattern in ("*.tmp", ".*.part.*"):
                for path in self.folder.rglob(pattern):
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
                self._take(piece, outputs)
            except (ValueError, ImportError) as error:
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
        if not trainer.is_global_zero:
            return
        records = read_records(self.folder)
        lines = [json.dumps(asdict(records[name])) for name in sorted(records)]
        write_whole(self.folder / _RECORDS, "\n".join([*lines, ""]).encode())
        for path in self.folder.glob(_OWN):
            path.unlink()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Removes the clip that is half written."""
        self._clip.drop(None)

    def _tell(self) -> None:
        """Says now and then how far it is."""
        if time.monotonic() - self._told >= _TELL_EVERY:
            self._told = time.monotonic()
            sys.stderr.write(f"{self._files} files done, {self._pictures} pictures\n")

    def _take(self, piece: Piece, answer: Answer) -> None:
        path = self.folder / piece.entry.output
        path.parent.mkdir(parents=True, exist_ok=True)
        # Where nothing was looked for, the picture itself is the crop.
        corners: list[Corners | None] = [*piece.corners] or [None] * len(answer.changes)
        patches = [Patch(*pair) for pair in zip(corners, answer.changes, strict=True)]
        grey = piece.original is not None and piece.original.grey
        result = pasted(piece.pixels, patches, grey)
        first = piece.clip is None or self._clip.shown == 0
        if piece.entry.name in self.shown and first and patches:
            self._show(piece, panel(piece.pixels, result, patches, answer.masks))
            self._clip.shown = 1
        if piece.clip is not None:
            self._clip.add(piece, path, result, answer)
            return
        assert piece.original is not None
        if patches:
            write_whole(path, encoded(piece.original, result))
        else:  # as it is, to the byte
            write_whole(path, piece.entry.path.read_bytes())

    def _show(self, piece: Piece, picture: np.ndarray) -> None:
        path = self.folder / PANELS / f"{piece.entry.name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG", quality=92)
        write_whole(path, data.getvalue())

    def _note(self, piece: Piece, answer: Answer, failure: str, rank: int) -> None:
        """Adds the record of a file that is done."""
        faces, likeness, note = len(answer.changes), answer.likeness, ""
        if piece.clip is not None:
            faces, likeness, note = self._clip.told()
        elif piece.original is not None and piece.original.note:
            note = piece.original.note if answer.changes else ""
        size, when_changed = _stamp(piece.entry.path)
        record = Record(
            piece.entry.name,
            self.key,
            size,
            when_changed,
            faces,
            round(time.perf_counter() - piece.began, 3),
            sum(likeness) / len(likeness) if likeness else None,
            ", ".join(filter(None, [note, "" if faces or failure else NO_FACE])),
            failure,
            time.time(),
        )
        self._clip.forget()
        with (self.folder / f"outbox_{rank}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")


class _OpenClip:
    """The clip that is being written, if there is one, and what was seen in it."""

    def __init__(self) -> None:
        self.lost: Path | None = None
        self._writer: ClipWriter | None = None
        self.forget()

    def forget(self) -> None:
        self._open, self._writer = ExitStack(), None
        self.shown = self._frames = self._with_face = self._faces = 0
        self._likeness = (0.0, 0)

    def add(self, piece: Piece, path: Path, frame: Pixels, answer: Answer) -> None:
        clip = piece.clip
        assert clip is not None
        if self._writer is None:
            writer = ClipWriter(path, clip.size, clip.rate, clip.path)
            self._writer = self._open.enter_context(writer)
        self._writer.write(frame)
        self._frames += 1
        self._with_face += bool(answer.changes)
        self._faces = max(self._faces, len(answer.changes))
        total, count = self._likeness
        self._likeness = total + sum(answer.likeness), count + len(answer.likeness)
        if piece.last:
            self._open.close()

    def drop(self, path: Path | None) -> None:
        """Removes what there is of the clip; what else comes of `path` is passed over."""
        stopped = ValueError("the clip is not whole")
        if self._writer is not None:
            self._open.__exit__(ValueError, stopped, None)
        self.lost = path
        self.forget()

    def told(self) -> tuple[int, list[float], str]:
        total, count = self._likeness
        note = f"{self._frames} frames, {self._with_face} with a face" if self._frames else ""
        return self._faces, [total / count] if count else [], note
