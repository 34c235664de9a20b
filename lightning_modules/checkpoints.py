"""Checkpoints that survive a kill, a full disk and a flipped bit."""

import hashlib
import logging
import os
import pickle
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Protocol, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import CheckpointIO

from lightning_modules.guard import LossGuard, StoppedByLosses

_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64  # a zip archive may end in a comment; ours is the checksum
_CHUNK = 1 << 24


log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the reason."""


class _Hashing:
    """A binary file that hashes what is written to it in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write_checkpoint(state: object, path: Path) -> None:
    """Saves `state` so that `path` holds either all of it or what it held before.

    The state streams into a temporary file beside `path` (no copy in memory), is synchronised to
    the disk and renamed. Its SHA-256 becomes the comment of the zip archive that torch writes.

    Raises:
        OSError: if the disk is full or the folder cannot be written; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in path.parent.glob(f".{path.name}.*.tmp"):
        left_by_a_kill.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(state, hashing)  # type: ignore[arg-type]
            file.seek(-2, os.SEEK_END)  # the comment's length, zero so far
            file.write(_COMMENT.to_bytes(2, "little"))
            file.write(_MARK + hashing.hash.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _synchronise_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"could not write {path}: {reason}; the file there is unchanged") from error
    except RuntimeError as error:  # how torch reports a failed write
        raise OSError(f"could not write {path}: {_first_line(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Any:
    """What `write_checkpoint` saved; only tensors and plain types are ever unpickled.

    Raises:
        CheckpointError: if the file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    _verify(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values; none of it was read"
        ) from error
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {_first_line(error)}") from error


def _verify(path: Path) -> None:
    size = path.stat().st_size - _COMMENT
    with path.open("rb") as file:
        digest, left = hashlib.sha256(), max(0, size - 2)
        while left and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        digest.update(b"\0\0")  # the comment's length at the time of hashing
        tail = file.read()
    if tail[2 : 2 + len(_MARK)] != _MARK or tail[:2] != _COMMENT.to_bytes(2, "little"):
        raise CheckpointError(f"{path} is truncated, or was not written by this suite")
    if tail[2 + len(_MARK) :] != digest.hexdigest().encode():
        raise CheckpointError(f"{path} is damaged: its checksum does not match its content")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def keep_as(path: Path, other: Path) -> None:
    """Gives the file at `path` a second name, which it keeps when another file takes the first.

    Where the file system knows no links it is copied.
    """
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def _synchronise_folder(folder: Path) -> None:
    """Makes a rename in `folder` last through a power cut (POSIX only)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Counted(Protocol):
    """What a callback has to know of a training."""

    batches_done: int
    guard: LossGuard

    @property
    def trustworthy(self) -> bool:
        """Whether the weights are worth saving."""
        ...


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to `write_checkpoint` and `read_checkpoint`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes `checkpoint` to `path`; see `write_checkpoint` for what may be raised."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint at `path`, on the CPU; see `read_checkpoint` for what may be raised."""
        checkpoint: dict[str, Any] = read_checkpoint(Path(path))
        checkpoint.get("visagist", {})["path"] = str(path)  # for what may be said of it later
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes the file at `path`."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(pl.Callback):
    """Writes last.ckpt between two batches and best.ckpt after a validation, and stops on signals.

    previous.ckpt is the last.ckpt before; a run that its losses stop goes back to it.

    A state is saved before a batch starts: by then everything that belongs to the batch before it
    (steps, averages, validation, logged rows) has happened, so going on from it repeats nothing.

    Args:
        folder: where the checkpoints lie.
        every: batches between two saves of last.ckpt.
        monitor: the logged metric whose largest value makes best.ckpt.
    """

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self, folder: str, every: int = 500, monitor: str = "val/psnr") -> None:
        if every < 1:
            raise ValueError(f"checkpoints must be at least 1 batch apart, got every={every}")
        self.folder, self.every, self.monitor = Path(folder), every, monitor
        self.best = -float("inf")
        self._received: int | None = None
        self._saved_at = 0

    @property
    def last(self) -> Path:
        """The checkpoint from which a run goes on."""
        return self.folder / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last one."""
        return self.folder / "previous.ckpt"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listens for signals; Lightning gives the old handlers back at the end."""
        self._saved_at = cast(Counted, pl_module).batches_done
        for number in self.signals:
            signal.signal(number, self._receive)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves the state before this batch where one is due, and stops if a signal came."""
        stop = trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)
        training = cast(Counted, pl_module)
        done = training.batches_done
        due = done % self.every == 0 and training.trustworthy
        if stop or due:
            self._save_last(trainer, pl_module)
        if stop:
            log.warning("stopped after batch %d; RESUME=1 goes on from %s", done, self.last)
            raise SystemExit(128 + (self._received or signal.SIGTERM))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves best.ckpt where the monitored metric is better than ever.

        Raises:
            CheckpointError: if no such metric is logged.
        """
        if trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if "/" in name))
            raise CheckpointError(f"monitor={self.monitor} is not logged; there are {known}")
        score = float(trainer.callback_metrics[self.monitor])
        if score > self.best:
            self.best = score
            trainer.save_checkpoint(self.folder / "best.ckpt")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the finished run and lets go of the signals."""
        self._save_last(trainer, pl_module)
        for number in self.signals:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Goes back one checkpoint if the last one may hold the weights that ruined the losses.

        A step that is too large shows in the losses of the batch after it, when the weights may
        have been saved already.
        """
        training = cast(Counted, pl_module)
        ruined = training.batches_done - training.guard.in_a_row
        if not isinstance(exception, StoppedByLosses) or self._saved_at < ruined:
            return
        if trainer.is_global_zero and self.previous.exists():
            self.previous.replace(self.last)

    def state_dict(self) -> dict[str, Any]:
        """The best score so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the best score so far."""
        self.best = state_dict["best"]

    def _save_last(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batches_done = cast(Counted, pl_module).batches_done
        if self._saved_at == batches_done:
            return
        for logger in trainer.loggers:
            logger.save()
        if trainer.is_global_zero and self.last.exists():
            keep_as(self.last, self.previous)
        trainer.save_checkpoint(self.last)
        self._saved_at = batches_done

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received == signal.SIGINT == number:
            raise KeyboardInterrupt  # asked twice: do not wait for the batch
        self._received = number
