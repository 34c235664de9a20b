"""From a dataset to batches: how pictures are loaded, and the loaders of every DataModule."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, final

import albumentations
import cv2
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Sampler

from datamodules.images import floats
from datamodules.index import Verify
from datamodules.stream import Key, SliceSampler, Split, StepSampler

NEEDED: Final[dict[str, tuple[Split, ...]]] = {
    "fit": ("train", "val", "test"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
}
"""The splits without which a stage of Lightning's cannot start; `fit` is followed by a test."""


@dataclass(frozen=True)
class Loading:
    """How pictures get from the disk into batches.

    Attributes:
        workers: processes that read; 0 reads in the training process.
        cache: make resized copies in `.cache` below the set's folder first, and read those.
        verify: decode each file that is new or has changed before anything else ("full"), or look
            at both ends of it, which is quick and lets damage inside a PNG stop a training in the
            middle ("header"); `datamodules.index.make_index` says what each costs.
        eval_limit: at most so many pictures, the first ones, in validation and in testing.
        transform: of the training pictures; without one they are mirrored half the time.

    Raises:
        ValueError: if a number is out of its range.
    """

    workers: int = 4
    cache: bool = False
    verify: Verify = "full"
    eval_limit: int | None = None
    transform: albumentations.Compose | None = None

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers must be 0 or more, got {self.workers}")
        if self.eval_limit is not None and self.eval_limit < 1:
            raise ValueError(f"eval_limit must be 1 or more, or null, got {self.eval_limit}")


@final
class Batches(DataLoader[Any]):
    """A DataLoader whose 8-bit pictures come out as float32 in [0, 1].

    They travel between processes as 8 bits: fresh shared memory costs more than reading a picture.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return map(as_floats, super().__iter__())


def as_floats(batch: Any) -> Any:
    """`batch` with its 8-bit tensors in [0, 1], in dicts of any depth; the rest as it is."""
    if isinstance(batch, dict):
        return {key: as_floats(value) for key, value in batch.items()}
    is_picture = isinstance(batch, Tensor) and batch.dtype == torch.uint8
    return floats(batch) if is_picture else batch


class Items(Protocol):
    """What a loader reads: samples by keys (epoch, index)."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Key) -> Any: ...


@final
class Feed:
    """The loaders of one DataModule.

    Training goes on from the module's `first_batch`; ranks come from its trainer.

    Args:
        module: whose loaders they are; has the attribute `first_batch`.
        batch_size: samples in a batch of one process.
        seed: of the order.
        loading: workers and limits.

    Raises:
        ValueError: if `batch_size` is below 1 or `seed` negative.
    """

    def __init__(
        self, module: pl.LightningDataModule, batch_size: int, seed: int, loading: Loading
    ) -> None:
        if batch_size < 1 or seed < 0:
            raise ValueError(
                f"batch_size must be 1 or more and seed 0 or more, got {batch_size} and {seed}"
            )
        self._module = module
        self.batch_size = batch_size
        self.seed = seed
        self.loading = loading

    @property
    def rank_and_world(self) -> tuple[int, int]:
        """The number of this process and how many there are; (0, 1) without a trainer."""
        trainer = self._module.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    @property
    def first_batch(self) -> int:
        """The step that training starts at."""
        return int(getattr(self._module, "first_batch"))  # noqa: B009 - unknown to Lightning

    def training(self, data: Items) -> DataLoader:
        """Endless shuffled batches of `data`.

        Raises:
            ValueError: if `data` is empty.
        """
        rank, world = self.rank_and_world
        order = StepSampler(
            len(data),
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
            first_batch=self.first_batch,
        )
        return self.ordered(data, order)

    def evaluation(self, data: Items, split: str) -> DataLoader:
        """The samples of `data` in order, each once over all processes, up to `eval_limit`.

        Raises:
            ValueError: if there are fewer than processes.
        """
        limit = self.loading.eval_limit
        count = len(data) if limit is None else min(limit, len(data))
        rank, world = self.rank_and_world
        if count < world:  # Lightning stops the processes without any, and the others hang
            raise ValueError(
                f"{world} processes cannot share {count} photographs of {split}: use at most "
                f"{count} processes (--trainer.devices), add photographs, or raise eval_limit "
                f"(now {limit})"
            )
        return self.ordered(data, SliceSampler(count, self.batch_size, rank=rank, world=world))

    def ordered(self, data: Items, order: Sampler[list[Key]]) -> DataLoader:
        """Batches of `data` in the given order of keys."""
        return Batches(data, batch_sampler=order, **self._common())  # type: ignore[arg-type]

    def streamed(self, batches: IterableDataset[Any]) -> DataLoader:
        """The batches that `batches` gives, as they come."""
        return Batches(batches, batch_size=None, **self._common())

    def _common(self) -> dict[str, Any]:
        workers = self.loading.workers
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "worker_init_fn": _one_thread_each,
        }


def _one_thread_each(worker: int) -> None:  # noqa: ARG001 - the loader says which one
    """Keeps the libraries of a worker from starting threads, of which there are workers enough."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
