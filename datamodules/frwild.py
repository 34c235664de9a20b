"""FR-wild: photographs of faces in the wild, to be restored or retouched; nothing beside them."""

from pathlib import Path
from typing import final

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules.index import FileIndex, make_index, open_index
from datamodules.loading import Feed, Loading
from datamodules.photographs import FolderPhotographs, SinglePhotographs
from datamodules.reading import Covering, FramedReader
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn


@final
class FRWild(pl.LightningDataModule):
    """Photographs as they are, for testing without a target and for prediction.

    The authors of RetouchFormer, who show results on FR-wild, have not published it, so it has no
    licence; put photographs of your own in its place. Any tree of PNG, JPEG, WebP and TIFF pictures
    will do:

        <root>/.../<name>.<ending>

    A batch holds "image", (b, 3, size, size) float32 in [0, 1], the largest middle square of each
    photograph, and "name". To train on another set, put both into `datamodules.across.Across`.

    Args:
        root: folder of the photographs.
        size: side of the pictures in pixels.
        batch_size: pictures in a batch of one process.
        draw: faces to draw at `root` first, unless photographs are there.
        loading: workers, cache, checks and limits.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        size: int = 512,
        batch_size: int = 1,
        draw: DrawnSet | None = None,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"size must be 16 or more, got {size}")
        self.root = Path(root)
        self.size = size
        self.draw = draw
        self.loading = loading
        self.first_batch = 0
        self._feed = Feed(self, batch_size, 0, loading)
        self._read = FramedReader(self.root, Covering(size, size), loading.cache)
        self._files: FileIndex | None = None

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no folder.
            ValueError: if it holds no pictures, or broken ones; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "frwild", self.draw)
        self._require()
        files = make_index(self.root, self.loading.verify)
        if self.loading.cache:
            paths = [files.path(i) for i in range(len(files))]
            self._read.make_copies(paths)

    def setup(self, stage: str) -> None:
        """Lists the folder.

        Raises:
            FileNotFoundError: if there is no folder.
            ValueError: if `stage` needs clean photographs, which this set has not.
        """
        if stage in ("fit", "validate"):
            raise ValueError(
                "FRWild has no clean photographs to train on or to compare with; train on another "
                "set, which datamodules.across.Across puts beside it, or run test or predict"
            )
        self._require()
        self._files = open_index(self.root)

    def test_dataloader(self) -> DataLoader:
        """Each photograph once, in the order of the names.

        Raises:
            ValueError: if there are fewer photographs than processes.
            RuntimeError: before `setup`.
        """
        if self._files is None:
            raise RuntimeError("setup comes before test_dataloader")
        files = self._files
        photographs = FolderPhotographs(files, np.arange(len(files)), None, self._read)
        return self._feed.evaluation(SinglePhotographs(photographs), "test")

    def predict_dataloader(self) -> DataLoader:
        """The batches of `test_dataloader`.

        Raises:
            ValueError: if there are fewer photographs than processes.
            RuntimeError: before `setup`.
        """
        return self.test_dataloader()

    def _require(self) -> None:
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"there is no folder {self.root}; FR-wild is not published, put photographs of "
                "your own there or name their folder as root"
            )
