"""FFHQ with face parsing maps, for priors that are guided by them (EP-map of ISPL's Table 1)."""

from pathlib import Path
from typing import final

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Int64
from torch.utils.data import DataLoader

from datamodules import shards
from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degradation
from datamodules.ffhq import DIVISIONS, FFHQ
from datamodules.loading import Feed, Loading
from datamodules.numbered import numbered_photographs
from datamodules.parsing import CELEBAMASK, ParsedPhotographs, Parsing, ParsingMaps
from datamodules.photographs import Making, Photographs
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_parts


@final
class ParsedFFHQ(pl.LightningDataModule):
    """Portraits of FFHQ by ISPL's split, each degraded, beside itself and its parsing map.

    The photographs are those of `datamodules.ffhq.FFHQ`. Their maps are not published: a face
    parsing network makes them, as the paper has done, or CelebAMask-HQ's annotators for its own
    photographs. The tree:

        <root>/images1024x1024/[NN000/]NNNNN.png
        <root>/parsing/[NN000/]NNNNN.png

    For drawn faces true maps are drawn, beside a set that is there already too. A map tells of the
    photograph before it is degraded if it was made of that one, and then tells a network more than
    the degraded picture does; whoever makes the maps decides.

    A batch holds what FFHQ's does and "parsing", (b, classes, size, size) float32, 1 in the plane
    of what a pixel shows and 0 in the others.

    Args:
        root: folder of the set; shards keep no maps.
        size: side of the pictures in pixels.
        batch_size: pictures in a batch of one process.
        parsing: where the maps lie, and what their labels are.
        degradation: makes the image of the target; without one they are the same picture.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        seed: of the order, augmentation and degradation in training; evaluation needs none.
        loading: workers, cache (of the photographs alone), checks and augmentation.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        size: int = 512,
        batch_size: int = 1,
        parsing: Parsing = CELEBAMASK,
        degradation: Degradation | None = None,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.size = size
        self.parsing = parsing
        self.degradation = degradation
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self._faces = FFHQ(root, size, batch_size, "ispl", degradation, draw, seed, loading)
        self._feed = Feed(self, batch_size, seed, loading)
        self._maps: dict[Split, ParsingMaps] = {}

    @property
    def photographs(self) -> dict[Split, Photographs]:
        """The photographs of each split."""
        return self._faces.photographs

    def prepare_data(self) -> None:
        """Draws the set and its maps if asked to, and looks at every picture and every map.

        Raises:
            FileNotFoundError: if there is no set, or no folder of maps.
            ValueError: if the set is packed or incomplete, lacks maps or holds broken files.
        """
        self._refuse_shards()
        self._faces.prepare_data()
        if self.draw is not None and may_be_drawn(self.root):
            write_parts(self.root, self.parsing.folder, self.draw)
        _, numbers, _ = numbered_photographs(self.root)
        used = [np.isin(numbers, split) for split in DIVISIONS["ispl"].values()]
        self.parsing.check(self.root, numbers[np.any(used, axis=0)], self.loading.verify)

    def setup(self, stage: str) -> None:
        """Lists the set and shares it out.

        Raises:
            FileNotFoundError: if there is no set, or no folder of maps.
            ValueError: if the set is packed, somebody is in two splits, one that `stage` needs is
                empty, or maps are missing.
        """
        self._refuse_shards()
        self._faces.setup(stage)
        self._maps = {
            split: self.parsing.maps(self.root, _numbers(some), self.size)
            for split, some in self.photographs.items()
        }

    def train_dataloader(self) -> DataLoader:
        """Endless batches from step `first_batch` on."""
        making = Making(self.degradation, Augmentation(self.loading.transform), self.seed)
        return self._feed.training(self._samples("train", making))

    def val_dataloader(self) -> DataLoader:
        """Each photograph for validation once, degraded alike in every run.

        Raises:
            ValueError: if there are fewer than processes.
        """
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """Each photograph for testing once, degraded alike in every run.

        Raises:
            ValueError: if there are fewer than processes.
        """
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader:
        """The batches of `test_dataloader`; `predict` writes an answer for each picture.

        Raises:
            ValueError: if there are fewer than processes.
        """
        return self._evaluation("test")

    def _refuse_shards(self) -> None:
        if shards.is_sharded(self.root):
            raise ValueError(
                f"{self.root} holds shards, which keep no parsing maps; name a folder of pictures"
            )

    def _samples(self, split: Split, making: Making) -> ParsedPhotographs:
        return ParsedPhotographs(self.photographs[split], self._maps[split], making)

    def _evaluation(self, split: Split) -> DataLoader:
        making = Making.evaluation(self.degradation)
        return self._feed.evaluation(self._samples(split, making), split)


def _numbers(photographs: Photographs) -> Int64[np.ndarray, " n"]:
    names = (photographs.name(i) for i in range(len(photographs)))
    return np.array([int(name[-len("00000") :]) for name in names], np.int64)
