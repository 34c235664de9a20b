"""VGGFace2: 3.31 million photographs of 9131 people (Cao et al., FG 2018), or any set like it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Int64
from torch.utils.data import DataLoader

from datamodules import shards
from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degradation
from datamodules.identities import check_disjoint, shared_out
from datamodules.index import FileIndex, examine, open_index, refuse
from datamodules.loading import Feed, Loading
from datamodules.photographs import DegradedPhotographs, FolderPhotographs, Making, Photographs
from datamodules.reading import Covering, FramedReader
from datamodules.selection import EVERYTHING, Selection, in_company, say_left_out, training
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
_PUBLISHED: Final[tuple[Split, ...]] = ("train", "test")
_HOW_TO_GET: Final = (
    "VGGFace2 itself was withdrawn by its authors; any other tree <person>/<picture> will do, or "
    "make one from your own photographs: make prepare SET=vggface2 FROM=<photographs>"
)


@dataclass(frozen=True)
class HeldOut:
    """Which people are held out, and which photographs of the others come.

    The people are shared out by a checksum of their names, so more people leave nearly everybody
    where they were, and no seed changes it.

    Attributes:
        val: share of the people for validation; of those in `train` where there is such a folder.
        test: share of the people for testing; without effect where there is a folder `test`.
        selection: of the training photographs, and which come together.

    Raises:
        ValueError: if the shares are negative or leave nobody to train on.
    """

    val: float = 0.02
    test: float = 0.1
    selection: Selection = EVERYTHING

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            raise ValueError(
                f"val and test must leave a share to train on, got {self.val} and {self.test}"
            )


HELD_OUT: Final = HeldOut()
"""A fiftieth of the people for validation, a tenth for testing."""


@final
class VGGFace2(pl.LightningDataModule):
    """Photographs in a folder for each person, each degraded if asked for.

    VGGFace2's authors have withdrawn it, so there is no place to name; whoever has a copy is bound
    by the licence that came with it. Any tree of its kind is read, each under its own licence, or
    make one from your own photographs: make prepare SET=vggface2 FROM=<photographs>. The trees:

        <root>/{train,test}/<person>/<picture>    as published; people of `train` are held out
        <root>/<person>/<picture>                 any other, such as LFW; people are held out

    A batch holds "image", "target", (b, 3, size, size) float32 in [0, 1], "name", and "identity",
    numbers of the people of the split from 0 without gaps; with a degradation "label" and
    "degradation", with references "references" (b, n, 3, size, size); see
    `datamodules.photographs`.

    Args:
        root: folder of the set, or of shards made of it.
        size: side of the pictures in pixels: of the largest square in the middle of each.
        batch_size: pictures in a batch of one process; where a selection has batches, in
            validation and testing only.
        people: who is held out, and which photographs of the others come.
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
        size: int = 224,
        batch_size: int = 40,
        people: HeldOut = HELD_OUT,
        degradation: Degradation | None = None,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"size must be 16 or more, got {size}")
        self.root = Path(root)
        self.size = size
        self.people = people
        self.degradation = degradation
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self.photographs: dict[Split, Photographs] = {}
        self._selection = people.selection
        self._feed = Feed(self, batch_size, seed, loading)
        self._read = FramedReader(self.root, Covering(size, size), loading.cache)

    @property
    def packed_as(self) -> str:
        """The set and how it is split, which shards of it keep."""
        return f"vggface2, val {self.people.val} and test {self.people.test} of the people"

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the tree is another one or holds broken pictures; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "vggface2", self.draw)
        if shards.is_sharded(self.root):
            return
        check_tree(self.root)

        def all_of(found: FileIndex) -> Int64[np.ndarray, " n"]:
            self._shared_out(found)  # what is wrong with the tree shows before a long look
            return np.arange(len(found))

        index, broken = examine(self.root, self.loading.verify, oblong=True, choose=all_of)
        refuse(broken, self.root, len(index))
        splits = self._shared_out(index)
        say_left_out(splits, self._selection)
        if self.loading.cache:
            paths = [split.path(i) for split in splits.values() for i in range(len(split))]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Opens the set's index and shares its people out.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the tree is another one, somebody is in two splits, or before training a
                split is empty.
        """
        found: dict[Split, Photographs]
        if shards.is_sharded(self.root):
            found = {**shards.shard_photographs(self.root, self._read.frame, self.packed_as)}
        else:
            check_tree(self.root)
            found = {**self._shared_out(open_index(self.root))}
        self.photographs = {
            split: in_company(some, self._selection.least(split)) for split, some in found.items()
        }
        for split in SPLITS if stage == "fit" else ():
            self._some(split)  # whatever is missing shows before anything is trained

    def train_dataloader(self) -> DataLoader:
        """Endless batches from step `first_batch` on.

        Raises:
            ValueError: if there are fewer photographs or people than `people` asks for.
        """
        making = Making(self.degradation, Augmentation(self.loading.transform), self.seed)
        return training(self._feed, self._samples("train", making), self._selection)

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

    def _shared_out(self, index: FileIndex) -> dict[Split, FolderPhotographs]:
        split_of = np.array([SPLITS.index(split) for split in splits_of(index, self.people)])
        which = split_of[index.folder_of]
        found: dict[Split, FolderPhotographs] = {}
        for i, split in enumerate(SPLITS):
            positions: Int64[np.ndarray, " n"] = np.flatnonzero(which == i)
            people = np.unique(index.folder_of[positions], return_inverse=True)[1]
            found[split] = FolderPhotographs(index, positions, people, self._read)
        return found

    def _some(self, split: Split) -> Photographs:
        if not len(self.photographs[split]):
            if not any(map(len, self.photographs.values())):
                raise ValueError(f"{self.root} holds no picture: it takes <person>/<picture>")
            raise ValueError(
                f"{self.root} has nobody for {split}: hold out a larger share, or add people"
            )
        return self.photographs[split]

    def _samples(self, split: Split, making: Making) -> DegradedPhotographs:
        return DegradedPhotographs(self._some(split), making, self._selection.references)

    def _evaluation(self, split: Split) -> DataLoader:
        making = Making.evaluation(self.degradation)
        return self._feed.evaluation(self._samples(split, making), split)


def check_tree(root: Path) -> None:
    """Nothing, if `root` is a folder with both `train` and `test` in it, or neither.

    Raises:
        FileNotFoundError: otherwise; names the one missing.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}; {_HOW_TO_GET}")
    there = [name for name in _PUBLISHED if (root / name).is_dir()]
    if len(there) == 1:
        lacking = next(name for name in _PUBLISHED if name not in there)
        raise FileNotFoundError(
            f"there is {root / there[0]}, but no {root / lacking}; add it, or let root be the "
            "folder that holds the people"
        )


def splits_of(index: FileIndex, held_out: HeldOut) -> list[Split]:
    """The split of each of the index's folders, each of which is one person's.

    Raises:
        ValueError: if a picture lies in no person's folder, nobody is left to train on, or
            somebody is both in `train` and in `test`.
    """
    published = (index.root / "train").is_dir()
    _refuse_other_folders(index, published)
    if not published:
        return _held_out(index.folders, held_out.val, held_out.test)
    halves = [folder.split("/") for folder in index.folders]
    names: dict[Split, list[str]] = {
        half: [name for part, name in halves if part == half] for half in _PUBLISHED
    }
    check_disjoint(names)
    trained = iter(_held_out(names["train"], held_out.val, 0))
    return [next(trained) if half == "train" else "test" for half, _ in halves]


def _refuse_other_folders(index: FileIndex, published: bool) -> None:
    for number, folder in enumerate(index.folders):
        parts = folder.split("/") if folder else []
        right = len(parts) == 1 + published and (not published or parts[0] in _PUBLISHED)
        if not right:
            path = index.path(index.listing.rows(number).start)
            tree = f"{index.root}/{'{train,test}/' if published else ''}<person>/<picture>"
            raise ValueError(f"{path} lies in no person's folder; move it, the tree must be {tree}")


def _held_out(names: list[str], val: float, test: float) -> list[Split]:
    found: dict[int, Split] = {
        int(i): split for split, chosen in shared_out(names, val, test).items() for i in chosen
    }
    return [found[i] for i in range(len(names))]
