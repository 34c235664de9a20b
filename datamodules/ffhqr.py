"""FFHQR: 70,000 portraits and their professional retouches (Shafaei et al., WACV 2021)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import albumentations
import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.index import (
    Pair,
    Split,
    Verify,
    check_pairs,
    failures,
    list_pairs,
    of_split,
    refuse,
)
from datamodules.pairs import (
    Augmentation,
    EvaluationPairs,
    SemiSupervisedPairs,
    SizedReader,
    Strangers,
    paired_subset,
)
from datamodules.stream import Key, SliceSampler, StepSampler
from datamodules.synthetic import MARKER, UNFINISHED, DrawnSet, write_ffhqr

EVALUATED: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True)
class Loading:
    """How pictures get from the disk into batches.

    Attributes:
        workers: processes that read; 0 reads in the training process.
        cache: make resized copies in `.cache` below the set's folder first, and read those.
        verify: decode each file that is new or has changed before anything else ("full"), or look
            at both ends of it, which is quick and lets damage inside a PNG stop a training in the
            middle ("header"); `datamodules.index.check_pairs` says what each costs.
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
class FFHQR(pl.LightningDataModule):
    """Semi-supervised batches for training, plain pairs for validation and testing.

    Training gives {"paired": ..., "unpaired": ...}, endlessly, as `datamodules.stream` says; set
    `first_batch` to start in the middle. Each half is a dict of "image", "target" and "name"; an
    unpaired "name" is that of the image and that of the target. Without an unpaired half (gamma 1,
    or `unpaired` false) the key is absent. Validation and testing give one such dict a batch.

    Args:
        root: folder of the set.
        size: side of the pictures in pixels.
        batch_size: pairs in a batch of one process, and as many unpaired pictures beside them.
        gamma: share of the training photographs that are pairs, |X_a| / |X|.
        unpaired: use the other photographs too.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        seed: of the pairs chosen, of the order and of augmentation.
        loading: workers, cache, checks and augmentation.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        size: int = 512,
        batch_size: int = 1,
        gamma: float = 0.1,
        unpaired: bool = True,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        if size < 16 or batch_size < 1 or seed < 0:
            raise ValueError(
                "size must be 16 or more, batch_size 1 or more and seed 0 or more, "
                f"got {size}, {batch_size} and {seed}"
            )
        self.root = Path(root)
        self.size = size
        self.batch_size = batch_size
        self.gamma = gamma
        self.unpaired = unpaired
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self._read = SizedReader(self.root, size, loading.cache)
        self._pairs: list[Pair] = []

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the set is incomplete or holds broken pictures; names them.
        """
        if self.draw is not None and _may_be_drawn(self.root):
            write_ffhqr(self.root, self.draw)
        pairs = list_pairs(self.root)
        check_pairs(self.root, pairs, self.loading.verify)
        self._pairs = pairs  # `setup` of this process need not look again
        if self.loading.cache:
            paths = [path for pair in pairs for path in (pair.raw, pair.retouched)]
            broken = failures(self._read.make_copy, paths, "Resizing pictures")
            refuse(broken, self.root, len(paths))

    def setup(self, stage: str) -> None:
        """Lists the set, and looks at its pictures if nobody has.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the set is incomplete or holds broken pictures; names them.
        """
        if not self._pairs:
            pairs = list_pairs(self.root)
            check_pairs(self.root, pairs, self.loading.verify)
            self._pairs = pairs
        if stage == "fit":  # whatever is wrong shows before anything is trained
            self._training()
            for split in EVALUATED:
                of_split(self._pairs, split)

    def train_dataloader(self) -> DataLoader:
        """Endless batches {"paired", "unpaired"} from step `first_batch` on.

        Raises:
            ValueError: if the set has no photographs for training, or too few for this gamma.
        """
        training = self._training()
        rank, world = self._rank_and_world()
        sampler = StepSampler(
            len(training),
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
            first_batch=self.first_batch,
        )
        return self._loader(training, sampler)

    def val_dataloader(self) -> DataLoader:
        """Batches of pairs 56000 to 62999.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """Batches of pairs 63000 to 69999.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader:
        """The pairs of `test_dataloader`; `predict` writes an answer for each.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def _training(self) -> SemiSupervisedPairs:
        pairs = of_split(self._pairs, "train")
        paired, others = paired_subset(pairs, self.gamma, self.seed)
        strangers = Strangers(others, self.seed) if self.unpaired and self.gamma < 1 else None
        augmentation = Augmentation(self.loading.transform)
        return SemiSupervisedPairs(paired, strangers, self._read, augmentation, self.seed)

    def _evaluation(self, split: Split) -> DataLoader:
        pairs = of_split(self._pairs, split)[: self.loading.eval_limit]
        rank, world = self._rank_and_world()
        if len(pairs) < world:  # Lightning stops the processes without any, and the others hang
            raise ValueError(
                f"{world} processes cannot share {len(pairs)} photographs of {split}: use at most "
                f"{len(pairs)} processes (--trainer.devices), add photographs, or raise eval_limit "
                f"(now {self.loading.eval_limit})"
            )
        batches = SliceSampler(len(pairs), self.batch_size, rank=rank, world=world)
        return self._loader(EvaluationPairs(pairs, self._read), batches)

    def _loader(self, data: Dataset[Any], batches: Sampler[list[Key]]) -> DataLoader:
        workers = self.loading.workers
        return DataLoader(
            data,
            batch_sampler=batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread_each,
        )

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _one_thread_each(worker: int) -> None:  # noqa: ARG001 - the loader says which one
    """Keeps the libraries of a worker from starting threads, of which there are workers enough."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _may_be_drawn(root: Path) -> bool:
    """Whether `root` is new, empty, or holds drawn faces already, finished or not."""
    if not root.exists():
        return True
    marked = any((root / name).exists() for name in (MARKER, UNFINISHED))
    return marked or (root.is_dir() and not any(root.iterdir()))
