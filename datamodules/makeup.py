"""Portraits beside what a photo editor made of them (Makeup-Go, Section 5)."""

from pathlib import Path
from typing import Final, final

import albumentations
import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules.augmentation import Augmentation
from datamodules.degradations.beautify import EDITORS, Editor
from datamodules.folder import Shares
from datamodules.halves import Pairs, check_shapes, paired
from datamodules.identities import check_disjoint, shared_out
from datamodules.index import FileIndex, Positions, examine, open_index, refuse
from datamodules.loading import NEEDED, Feed, Loading
from datamodules.photographs import FolderPhotographs, PairedPhotographs
from datamodules.reading import Covering, FramedReader
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

ORIGINAL: Final = "original"
SHARES: Final = Shares(val=0.1, test=0.1)
"""Of the people, kept from training; of three or more at least one for each."""

_HOW_TO_GET: Final = (
    "the paper's pairs were not published; make pairs from your own photographs: "
    "make prepare SET=makeup FROM=<photographs>"
)


@final
class Makeup(pl.LightningDataModule):
    """Portraits edited by one program, as images, beside the originals, as targets.

    The paper's edited portraits were not published, nor can its programs be run here, so that
    make prepare SET=makeup FROM=<photographs> edits portraits of your own by stand-ins
    (`datamodules.degradations.beautify`); their licence is yours to know. Portraits that you have
    edited by the programs themselves fit in the same tree, where only the folder of the `editor`
    in use has to be there, and not another:

        <root>/original/[<person>/]<name>.<ending>
        <root>/{mt,ps,ins}/[<person>/]<name>.<ending>

    Both halves of a pair have one name, but for the ending, and one shape. Where all originals lie
    in sub-folders each is one person; else each portrait is. A tenth of the people each is for
    validation and for testing, chosen by a checksum of their names: for every editor the same.

    A batch holds "image", "target" and "name"; both pictures float32 in [0, 1]. For training they
    are (batch_size, 3, crop, crop), one random part of a pair, mirrored half the time; in
    validation and testing (b, 3, size, size), whole, in batches of no more pixels than those for
    training where one portrait has not more already.

    The paper tells neither a size of its portraits nor of what it trained on, nor a batch; all
    defaults are ours. Portraits should have `size` already: resizing them also changes what
    the edit took away.

    Args:
        root: folder of the set.
        editor: whose edits are the images: "mt", "ps" or "ins".
        size: side of the portraits in pixels; others are cut to their largest middle square.
        crop: side of the parts for training.
        batch_size: pairs in a training batch of one process.
        draw: faces to draw and edit at `root` first, unless a set of photographs is there.
        seed: of the order, the parts and the augmentation in training.
        loading: workers, cache, checks and augmentation, which follows the cropping.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        editor: Editor = "mt",
        size: int = 512,
        crop: int = 96,
        batch_size: int = 16,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if editor not in EDITORS:
            raise ValueError(f"editor must be one of {', '.join(EDITORS)}, got {editor}")
        if not 16 <= crop <= size:
            raise ValueError(f"crop must be at least 16 and at most size {size}, got {crop}")
        self.root = Path(root)
        self.editor = editor
        self.size = size
        self.crop = crop
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self._feed = Feed(self, batch_size, seed, loading)
        whole = max(1, batch_size * crop**2 // size**2)
        self._whole_feed = Feed(self, whole, seed, loading)
        self._read = FramedReader(self.root, Covering(size, size), loading.cache)
        self._files: FileIndex | None = None
        self._pairs: dict[Split, Pairs] = {}

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if a portrait lacks its other half or differs from it in shape, or pictures
                are broken; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "makeup", self.draw)
        self._require()
        files, broken = examine(self.root, self.loading.verify, oblong=True, choose=self._used)
        used = self._used(files)
        refuse(broken, self.root, len(used))
        check_shapes(files, paired(files, self.editor, ORIGINAL))
        if self.loading.cache:
            paths = [files.path(i) for i in used.tolist()]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Lists the set, pairs its halves and shares the people out.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if a portrait lacks its other half, or too few people are there for what
                `stage` needs.
        """
        self._require()
        self._files = open_index(self.root)
        pairs = paired(self._files, self.editor, ORIGINAL)
        people = _people(pairs.names)
        parts = shared_out(people, SHARES.val, SHARES.test)
        check_disjoint({split: [people[i] for i in chosen] for split, chosen in parts.items()})
        self._pairs = {split: pairs.some(chosen) for split, chosen in parts.items()}
        for split in NEEDED[stage]:
            self._some(split)  # whatever is missing shows before anything is trained

    def train_dataloader(self) -> DataLoader:
        """Endless batches of parts of training pairs from step `first_batch` on.

        Raises:
            ValueError: if there are none.
        """
        follows = self.loading.transform or albumentations.HorizontalFlip(p=0.5)
        part = albumentations.RandomCrop(self.crop, self.crop)
        augmentation = Augmentation(albumentations.Compose([part, follows]))
        return self._feed.training(PairedPhotographs(*self._some("train"), augmentation, self.seed))

    def val_dataloader(self) -> DataLoader:
        """Each pair for validation once, whole.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """Each pair for testing once, whole.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader:
        """The batches of `test_dataloader`; `predict` writes an answer for each portrait.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def _require(self) -> None:
        for folder in (self.root, self.root / ORIGINAL, self.root / self.editor):
            if not folder.is_dir():
                raise FileNotFoundError(f"there is no folder {folder}; {_HOW_TO_GET}")

    def _used(self, files: FileIndex) -> Positions:
        return np.concatenate([files.below(self.editor), files.below(ORIGINAL)])

    def _some(self, split: Split) -> tuple[FolderPhotographs, FolderPhotographs]:
        """The edited and the original portraits of `split`."""
        if self._files is None:
            raise RuntimeError("setup comes before the loaders")
        pairs = self._pairs[split]
        if not pairs.names:
            count = sum(len(each.names) for each in self._pairs.values())
            raise ValueError(
                f"none of the {count} pairs in {self.root} falls to {split}; three people are the "
                "least, one in each sub-folder where all originals lie in such; " + _HOW_TO_GET
            )
        edited = FolderPhotographs(self._files, pairs.images, None, self._read)
        return edited, FolderPhotographs(self._files, pairs.targets, None, self._read)

    def _evaluation(self, split: Split) -> DataLoader:
        return self._whole_feed.evaluation(PairedPhotographs(*self._some(split)), split)


def _people(names: list[str]) -> list[str]:
    """Who is on each pair: its first folder where all lie in folders, else the pair itself."""
    in_folders = all("/" in name for name in names)
    return [name.partition("/")[0] if in_folders else name for name in names]
