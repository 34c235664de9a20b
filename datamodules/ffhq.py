"""FFHQ: 70,000 aligned portraits (Karras et al., CVPR 2019), degraded on the fly."""

from pathlib import Path
from typing import Final, Literal, final

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules import shards
from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degradation
from datamodules.identities import check_disjoint
from datamodules.loading import NEEDED, Feed, Loading
from datamodules.numbered import RAW, SPLITS, check_photographs, numbered_photographs, people
from datamodules.photographs import DegradedPhotographs, FolderPhotographs, Making, Photographs
from datamodules.reading import FramedReader, Square
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

Division = Literal["ispl", "ffhqr"]

DIVISIONS: Final[dict[Division, dict[Split, range]]] = {
    "ispl": {"train": range(10_000), "val": range(60_000, 65_000), "test": range(65_000, 70_000)},
    "ffhqr": SPLITS,
}
"""The numbers in each split; ISPL's code trains and tests on these, validation is our choice."""


@final
class FFHQ(pl.LightningDataModule):
    """Portraits, each degraded and beside itself undegraded.

    Get `images1024x1024` with NVIDIA's ffhq-dataset (the set as a whole CC BY-NC-SA 4.0, each
    photograph under the licence named in its metadata; not for developing face recognition), or
    make a set from your own photographs: make prepare SET=ffhq FROM=<photographs>. The tree:

        <root>/images1024x1024/[NN000/]NNNNN.png

    A batch holds "image", "target", (b, 3, size, size) float32 in [0, 1], and "name"; with a
    degradation "label" and "degradation" (see `datamodules.photographs`); for a drawn or prepared
    set that tells who is on the photographs "identity", numbers of the people of the split from 0.

    Args:
        root: folder of the set, or of shards made of it.
        size: side of the pictures in pixels.
        batch_size: pictures in a batch of one process.
        splits: "ispl" trains on 0 to 9999, validates on 60000 to 64999 and tests on 65000 to
            69999; "ffhqr" has 56000, 7000 and 7000, as FFHQR.
        degradation: makes the image of the target; without one they are the same picture.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        seed: of the order, augmentation and degradation in training; evaluation needs none.
        loading: workers, cache, checks and augmentation.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        size: int = 512,
        batch_size: int = 1,
        splits: Division = "ispl",
        degradation: Degradation | None = None,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"size must be 16 or more, got {size}")
        if splits not in DIVISIONS:
            raise ValueError(f"splits must be one of {', '.join(DIVISIONS)}, got {splits}")
        self.root = Path(root)
        self.size = size
        self.splits = splits
        self.degradation = degradation
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self.photographs: dict[Split, Photographs] = {}
        self._feed = Feed(self, batch_size, seed, loading)
        self._read = FramedReader(self.root, Square(size), loading.cache)

    @property
    def packed_as(self) -> str:
        """The set and how it is split, which shards of it keep."""
        return f"ffhq, splits {self.splits}"

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the set is incomplete or holds broken pictures; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "ffhq", self.draw)
        if shards.is_sharded(self.root):
            return
        check_photographs(self.root, self.loading.verify, DIVISIONS[self.splits].values())
        if self.loading.cache:
            splits = self._in_folder().values()
            paths = [split.path(i) for split in splits for i in range(len(split))]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Lists the set and shares it out.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if somebody is in two splits, or one that `stage` needs is empty.
        """
        if shards.is_sharded(self.root):
            self.photographs = {
                **shards.shard_photographs(self.root, Square(self.size), self.packed_as)
            }
        else:
            self.photographs = {**self._in_folder()}
        for split in NEEDED[stage]:
            self._some(split)  # whatever is missing shows before anything is trained

    def train_dataloader(self) -> DataLoader:
        """Endless batches from step `first_batch` on.

        Raises:
            ValueError: if there are no photographs for training.
        """
        making = Making(self.degradation, Augmentation(self.loading.transform), self.seed)
        return shards.training(self._feed, DegradedPhotographs(self._some("train"), making))

    def val_dataloader(self) -> DataLoader:
        """Each photograph for validation once, degraded alike in every run.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """Each photograph for testing once, degraded alike in every run.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader:
        """The batches of `test_dataloader`; `predict` writes an answer for each picture.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def _in_folder(self) -> dict[Split, FolderPhotographs]:
        files, numbers, positions = numbered_photographs(self.root)
        who = people(self.root)
        persons: dict[Split, list[str]] = {}
        found: dict[Split, FolderPhotographs] = {}
        for split, wanted in DIVISIONS[self.splits].items():
            chosen = np.flatnonzero((numbers >= wanted.start) & (numbers < wanted.stop))
            persons[split] = [who(number) for number in numbers[chosen].tolist()]
            # FFHQ as it is published does not say who is on a photograph: their number stands in.
            known = None if who is str else np.unique(persons[split], return_inverse=True)[1]
            found[split] = FolderPhotographs(files, positions[chosen], known, self._read)
        check_disjoint(persons)
        return found

    def _some(self, split: Split) -> Photographs:
        if not len(self.photographs[split]):
            numbers = DIVISIONS[self.splits][split]
            raise ValueError(
                f"{self.root} holds no photograph for {split}: none in {RAW} is numbered "
                f"{numbers.start:05d} to {numbers.stop - 1:05d} (splits: {self.splits})"
            )
        return self.photographs[split]

    def _evaluation(self, split: Split) -> DataLoader:
        making = Making.evaluation(self.degradation)
        return self._feed.evaluation(DegradedPhotographs(self._some(split), making), split)
