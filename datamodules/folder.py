"""Any folder of photographs, degraded on the fly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules import shards
from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degradation
from datamodules.identities import shared_out
from datamodules.index import SUFFIXES, FileIndex, examine, open_index, refuse
from datamodules.loading import NEEDED, Feed, Loading
from datamodules.photographs import DegradedPhotographs, FolderPhotographs, Making, Photographs
from datamodules.reading import Covering, FramedReader
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

_WAY_OUT: Final = (
    "replace or remove them, or make a set without them: "
    "make prepare SET=folder FROM=<this folder> TO=<another> ARGS=--faces=none"
)


@dataclass(frozen=True)
class Shares:
    """Which part of the people a set keeps from training.

    Attributes:
        val: for validation.
        test: for testing.

    Raises:
        ValueError: if a share is not above 0, or they leave nobody to train on.
    """

    val: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        if min(self.val, self.test) <= 0 or self.val + self.test >= 1:
            raise ValueError(
                "the shares val and test must be above 0 and leave some to train on, "
                f"got {self.val} and {self.test}"
            )


@final
class Folder(pl.LightningDataModule):
    """Anybody's photographs, each degraded and beside itself undegraded.

    Any tree of PNG, JPEG, WebP and TIFF pictures of any shape will do; they are not aligned, only
    cut to their largest middle square. Their licence is yours to know. Where all of them lie in
    sub-folders, each folder right below the root is one person, who is in one split only:

        <root>/<person>/.../<name>.<ending>     or     <root>/<name>.<ending>

    A set with the faces found, aligned and cut out, and without broken files, is made by
    make prepare SET=folder FROM=<photographs>.

    A batch holds "image", "target", (b, 3, size, size) float32 in [0, 1], and "name"; with a
    degradation "label" and "degradation" (see `datamodules.photographs`); where folders tell who is
    on the photographs "identity", numbers of the people of the split from 0.

    Args:
        root: folder of the photographs, or of shards made of them.
        size: side of the pictures in pixels.
        batch_size: pictures in a batch of one process.
        shares: of the people for validation and testing, chosen by a checksum of their names.
        degradation: makes the image of the target; without one they are the same picture.
        draw: faces to draw at `root` first, unless photographs are there.
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
        shares: Shares = Shares(),
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
        self.shares = shares
        self.degradation = degradation
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self.photographs: dict[Split, Photographs] = {}
        self._feed = Feed(self, batch_size, seed, loading)
        self._read = FramedReader(self.root, Covering(size, size), loading.cache)

    @property
    def packed_as(self) -> str:
        """The set and how it is split, which shards of it keep."""
        return f"folder, val {self.shares.val} and test {self.shares.test} of the people"

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no folder.
            ValueError: if it holds no pictures, or broken ones; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "folder", self.draw)
        if shards.is_sharded(self.root):
            return
        _require(self.root)
        files, broken = examine(
            self.root, self.loading.verify, oblong=True, choose=lambda all_: np.arange(len(all_))
        )
        _refuse_nothing(files)
        refuse(broken, self.root, len(files), _WAY_OUT)
        if self.loading.cache:
            paths = [files.path(i) for i in range(len(files))]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Lists the folder and shares the people out.

        Raises:
            FileNotFoundError: if there is no folder.
            ValueError: if it holds no pictures, or too few people for what `stage` needs.
        """
        if shards.is_sharded(self.root):
            frame = Covering(self.size, self.size)
            self.photographs = {**shards.shard_photographs(self.root, frame, self.packed_as)}
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
        _require(self.root)
        files = open_index(self.root)
        _refuse_nothing(files)
        in_folders = "" not in files.folders
        names = _persons(files) if in_folders else [files.name(i) for i in range(len(files))]
        found: dict[Split, FolderPhotographs] = {}
        for split, chosen in shared_out(names, self.shares.val, self.shares.test).items():
            persons = [names[i] for i in chosen] if in_folders else []
            people = np.unique(persons, return_inverse=True)[1] if in_folders else None
            found[split] = FolderPhotographs(files, chosen, people, self._read)
        return found

    def _some(self, split: Split) -> Photographs:
        if not len(self.photographs[split]):
            raise ValueError(
                f"no photograph below {self.root} falls to {split} at shares of "
                f"{self.shares.val} for val and {self.shares.test} for test; where all lie in "
                "sub-folders a folder right below it is one person: add people or raise the share"
            )
        return self.photographs[split]

    def _evaluation(self, split: Split) -> DataLoader:
        making = Making.evaluation(self.degradation)
        return self._feed.evaluation(DegradedPhotographs(self._some(split), making), split)


def _persons(files: FileIndex) -> list[str]:
    """The folder right below the root that each file lies in."""
    tops = [folder.partition("/")[0] for folder in files.folders]
    return [tops[folder] for folder in files.folder_of]


def _require(root: Path) -> None:
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}; name one of photographs as root")


def _refuse_nothing(files: FileIndex) -> None:
    if not len(files):
        endings = ", ".join(sorted(SUFFIXES))
        raise ValueError(f"there is no picture below {files.root}: no file ends in {endings}")
