"""FaceRenov: real degraded portraits beside the best of several restorations (ISPL, 4.1)."""

from pathlib import Path
from typing import Final, final

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules.augmentation import Augmentation
from datamodules.halves import Pairs, check_shapes, paired
from datamodules.identities import check_disjoint, shared_out
from datamodules.index import FileIndex, Positions, examine, open_index, refuse
from datamodules.loading import NEEDED, Feed, Loading
from datamodules.photographs import FolderPhotographs, PairedPhotographs, SinglePhotographs
from datamodules.reading import Covering, FramedReader
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

UNPAIRED: Final = "real_lq"
HALVES: Final = ("train/lq", "train/hq", "test/lq", "test/hq")
_NEEDED: Final = NEEDED | {"predict": ()}
_HOW_TO_GET: Final = (
    "FaceRenov has not been published; make a set of this layout from your own photographs: "
    "make prepare SET=facerenov FROM=<photographs>"
)


@final
class FaceRenov(pl.LightningDataModule):
    """Degraded portraits beside their restorations, and degraded ones alone for prediction.

    The set is internal to the authors' company (Lotayou/Face-Renovation) and has no licence for
    others; a set of your own takes its place, in this tree:

        <root>/{train,test}/{lq,hq}/[<person>/]<name>.<ending>
        <root>/real_lq/.../<name>.<ending>

    Both halves of a pair have one name, but for the ending, and one shape. Only what a command
    needs has to be there: predicting takes real_lq alone, testing takes test alone.

    A batch for training (train but the part held out), validation (that part) and testing (test)
    holds "image", "target", (b, 3, size, size) float32 in [0, 1], and "name"; one for prediction
    (real_lq) has no "target". Pictures are the largest middle squares of the photographs.

    Args:
        root: folder of the set.
        size: side of the pictures in pixels.
        batch_size: pairs in a batch of one process.
        val: share of the training pairs held out for validation, chosen by a checksum of their
            names; the paper tells of none. All pairs in one sub-folder go together.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        seed: of the order and of augmentation in training.
        loading: workers, cache, checks and augmentation.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        size: int = 512,
        batch_size: int = 1,
        val: float = 0.1,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"size must be 16 or more, got {size}")
        if not 0 < val < 1:
            raise ValueError(f"val must be in (0, 1), got {val}")
        self.root = Path(root)
        self.size = size
        self.val = val
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self._feed = Feed(self, batch_size, seed, loading)
        self._read = FramedReader(self.root, Covering(size, size), loading.cache)
        self._files: FileIndex | None = None
        self._pairs: dict[Split, Pairs] = {}

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if a photograph lacks its other half or differs from it in shape, or
                pictures are broken; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "facerenov", self.draw)
        self._require()
        files, broken = examine(self.root, self.loading.verify, oblong=True, choose=_used)
        used = _used(files)
        refuse(broken, self.root, len(used))
        for folder in ("train", "test"):
            check_shapes(files, _pairs(files, folder))
        if self.loading.cache:
            paths = [files.path(i) for i in used.tolist()]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Lists the set, pairs its halves and holds pairs out for validation.

        Raises:
            FileNotFoundError: if what `stage` needs is not there.
            ValueError: if a photograph lacks its other half, or somebody is in two splits.
        """
        self._require()
        self._files = open_index(self.root)
        known, tested = _pairs(self._files, "train"), _pairs(self._files, "test")
        parts = shared_out([_person(name) for name in known.names], self.val, 0.0)
        self._pairs = {
            "train": known.some(parts["train"]),
            "val": known.some(parts["val"]),
            "test": tested,
        }
        check_disjoint(
            {split: [n for n in map(_folder, p.names) if n] for split, p in self._pairs.items()}
        )
        if stage == "predict":
            self._alone()
        for split in _NEEDED[stage]:
            self._some(split)  # whatever is missing shows before anything is trained

    def train_dataloader(self) -> DataLoader:
        """Endless batches of training pairs from step `first_batch` on.

        Raises:
            FileNotFoundError: if there are none.
        """
        augmentation = Augmentation(self.loading.transform)
        return self._feed.training(PairedPhotographs(*self._some("train"), augmentation, self.seed))

    def val_dataloader(self) -> DataLoader:
        """The pairs held out.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if there are fewer than processes.
        """
        return self._feed.evaluation(PairedPhotographs(*self._some("val")), "val")

    def test_dataloader(self) -> DataLoader:
        """The pairs for testing.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if there are fewer than processes.
        """
        return self._feed.evaluation(PairedPhotographs(*self._some("test")), "test")

    def predict_dataloader(self) -> DataLoader:
        """The photographs of real_lq, without targets.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if there are fewer than processes.
        """
        return self._feed.evaluation(SinglePhotographs(self._alone()), "predict")

    def _require(self) -> None:
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no folder {self.root}; {_HOW_TO_GET}")

    def _opened(self) -> FileIndex:
        if self._files is None:
            raise RuntimeError("setup comes before the loaders")
        return self._files

    def _some(self, split: Split) -> tuple[FolderPhotographs, FolderPhotographs]:
        """The degraded and the clean photographs of `split`."""
        pairs = self._pairs[split]
        if not pairs.names and split == "val" and self._pairs["train"].names:
            raise FileNotFoundError(
                f"no pair of {self.root / 'train'} is held out at val={self.val}; add pairs or "
                "raise it"
            )
        if not pairs.names:
            folder = self.root / ("test" if split == "test" else "train")
            raise FileNotFoundError(f"there are no pairs in {folder}/lq and hq; {_HOW_TO_GET}")
        return self._photographs(pairs.images), self._photographs(pairs.targets)

    def _alone(self) -> FolderPhotographs:
        """The degraded photographs that have no clean form."""
        alone = self._opened().below(UNPAIRED)
        if not len(alone):
            raise FileNotFoundError(
                f"there is no photograph to predict in {self.root / UNPAIRED}; put some there, or "
                "name their folder as root of datamodules.frwild.FRWild"
            )
        return self._photographs(alone)

    def _photographs(self, positions: Positions) -> FolderPhotographs:
        return FolderPhotographs(self._opened(), positions, None, self._read)


def _used(files: FileIndex) -> Positions:
    return np.concatenate([files.below(folder) for folder in (*HALVES, UNPAIRED)])


def _pairs(files: FileIndex, folder: str) -> Pairs:
    return paired(files, f"{folder}/lq", f"{folder}/hq")


def _folder(name: str) -> str:
    """The first folder in a pair's name, which stands for a person; empty if there is none."""
    return name.partition("/")[0] if "/" in name else ""


def _person(name: str) -> str:
    return name.partition("/")[0]
