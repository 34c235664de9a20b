"""CelebA: 202,599 photographs of 10,177 people (Liu et al., ICCV 2015), aligned by their eyes."""

from pathlib import Path
from typing import Final, final

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules import shards
from datamodules.augmentation import Augmentation
from datamodules.celeba_lists import PARTITION, SPLITS, Lists, place, positions, read_lists
from datamodules.degradations.base import Degradation
from datamodules.index import (
    FileIndex,
    Positions,
    examine,
    open_index,
    refuse,
)
from datamodules.loading import Feed, Loading
from datamodules.photographs import DegradedPhotographs, FolderPhotographs, Making, Photographs
from datamodules.reading import FramedReader, Middle
from datamodules.selection import EVERYTHING, Selection, in_company, say_left_out, training
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

PICTURES: Final = "img_align_celeba"
SHAPE: Final = (218, 178)
"""Height and width of the aligned pictures."""


@final
class CelebA(pl.LightningDataModule):
    """Photographs with the people on them, in the official splits, each degraded if asked for.

    Get the aligned pictures and both lists from mmlab.ie.cuhk.edu.hk/projects/CelebA.html: for
    research that is not commercial, and not to be passed on. Or make a set from your own
    photographs: make prepare SET=celeba FROM=<photographs>. The tree:

        <root>/img_align_celeba/NNNNNN.jpg      178 wide and 218 high; or in Img/
        <root>/list_eval_partition.txt          or in Eval/
        <root>/identity_CelebA.txt              or in Anno/

    A batch holds "image", "target", (b, 3, height, width) float32 in [0, 1], "name", and
    "identity", numbers of the people of the split from 0 without gaps; with a degradation "label"
    and "degradation", with references "references" (b, n, 3, height, width); see
    `datamodules.photographs`.

    Args:
        root: folder of the set, or of shards made of it.
        crop: height and width cut out of the middle; without it, the whole picture. NASFE's text
            has 176 x 144 and does not say where it cuts.
        batch_size: pictures in a batch of one process; where `selection` has batches, in
            validation and testing only.
        selection: of the training photographs, and which come together.
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
        crop: tuple[int, int] | None = (176, 144),
        batch_size: int = 40,
        selection: Selection = EVERYTHING,
        degradation: Degradation | None = None,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        height, width = crop or SHAPE
        if not (16 <= height <= SHAPE[0] and 16 <= width <= SHAPE[1]):
            raise ValueError(f"crop must be from 16 x 16 to {SHAPE[0]} x {SHAPE[1]}, got {crop}")
        self.root = Path(root)
        self.size = (height, width)
        self.selection = selection
        self.degradation = degradation
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self.photographs: dict[Split, Photographs] = {}
        self._feed = Feed(self, batch_size, seed, loading)
        self._read = FramedReader(self.root, Middle(height, width), loading.cache)

    @property
    def packed_as(self) -> str:
        """The set and how it is split, which shards of it keep."""
        return "celeba"

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the set is incomplete or holds broken pictures; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "celeba", self.draw)
        if shards.is_sharded(self.root):
            return
        lists = read_lists(self.root)

        def listed(found: FileIndex) -> Positions:
            return positions(found, lists.numbers)  # what is missing shows before a long look

        pictures = place(self.root, "Img", PICTURES)
        index, broken = examine(pictures, self.loading.verify, oblong=True, choose=listed)
        refuse(broken, pictures, len(lists.numbers))
        splits = self._shared_out(index, lists)
        _refuse_other_shapes(index, positions(index, lists.numbers))
        say_left_out(splits, self.selection)
        if self.loading.cache:
            paths = [split.path(i) for split in splits.values() for i in range(len(split))]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Lists the set and shares it out.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if it is incomplete, somebody is in two splits, or before training a split
                is empty.
        """
        found: dict[Split, Photographs]
        if shards.is_sharded(self.root):
            found = {**shards.shard_photographs(self.root, self._read.frame, self.packed_as)}
        else:
            lists = read_lists(self.root)
            found = {**self._shared_out(open_index(place(self.root, "Img", PICTURES)), lists)}
        self.photographs = {
            split: in_company(some, self.selection.least(split)) for split, some in found.items()
        }
        for split in SPLITS if stage == "fit" else ():
            self._some(split)  # whatever is missing shows before anything is trained

    def train_dataloader(self) -> DataLoader:
        """Endless batches from step `first_batch` on.

        Raises:
            ValueError: if there are fewer photographs or people than `selection` asks for.
        """
        making = Making(self.degradation, Augmentation(self.loading.transform), self.seed)
        return training(self._feed, self._samples("train", making), self.selection)

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

    def _shared_out(self, index: FileIndex, lists: Lists) -> dict[Split, FolderPhotographs]:
        at = positions(index, lists.numbers)
        found: dict[Split, FolderPhotographs] = {}
        for i, split in enumerate(SPLITS):
            some = lists.splits == i
            people = np.unique(lists.people[some], return_inverse=True)[1]
            found[split] = FolderPhotographs(index, at[some], people, self._read)
        return found

    def _some(self, split: Split) -> Photographs:
        if not len(self.photographs[split]):
            raise ValueError(
                f"{self.root} holds no photograph for {split}: no line of {PARTITION} ends in "
                f"{SPLITS.index(split)}"
            )
        return self.photographs[split]

    def _samples(self, split: Split, making: Making) -> DegradedPhotographs:
        return DegradedPhotographs(self._some(split), making, self.selection.references)

    def _evaluation(self, split: Split) -> DataLoader:
        making = Making.evaluation(self.degradation)
        return self._feed.evaluation(self._samples(split, making), split)


def _refuse_other_shapes(index: FileIndex, at: Positions) -> None:
    heights, widths = index.listing.heights[at], index.listing.widths[at]
    if len(wrong := np.flatnonzero((heights != SHAPE[0]) | (widths != SHAPE[1]))):
        first = wrong[0]
        raise ValueError(
            f"{len(wrong)} of {len(at)} pictures in {index.root} are not {SHAPE[1]} x {SHAPE[0]}, "
            f"the first, {index.name(int(at[first]))}, is {widths[first]} x {heights[first]}; "
            "take the aligned pictures"
        )
