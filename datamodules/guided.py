"""Photographs of many people with guiding images, to train networks that invert embeddings."""

from collections.abc import Sequence
from typing import Any, final

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.augmentation import Augmentation
from datamodules.guides import Guide
from datamodules.images import planes
from datamodules.loading import Feed, Loading
from datamodules.photographs import DegradedPhotographs, Making
from datamodules.stream import Key, Purpose, Split, sample_generator
from datamodules.synthetic import DrawnSet
from datamodules.targets import Batch, Choice, first_faces, one, prepare, targets_of
from datamodules.vggface2 import HELD_OUT, HeldOut, VGGFace2


@final
class GuidedPeople(pl.LightningDataModule):
    """Photographs of many people to train on, and targets among those who are held out.

    A training batch holds "image", "target", "name" and "identity" as `VGGFace2` gives them, and
    "guides" (b, k, 3, h, w), drawn anew for each photograph in each epoch where a guide differs
    from photograph to photograph. Every process evaluates all targets: there are few.

    Args:
        root: folder of the set, or of shards made of it.
        choice: which targets, and what comes beside them.
        size: side of the pictures in pixels.
        batch_size: photographs in a training batch of one process.
        people: who is held out.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        seed: of the order, the augmentation and the guides in training.
        loading: workers, cache, checks and augmentation.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        choice: Choice,
        size: int = 224,
        batch_size: int = 32,
        people: HeldOut = HELD_OUT,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        self.first_batch = 0
        self.choice = choice
        self._people = VGGFace2(root, size, people=people, draw=draw, loading=loading)
        self._feed = Feed(self, batch_size, seed, loading)
        self._targets: dict[Split, Batch] = {}

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the tree is another one or holds broken pictures; names them.
        """
        self._people.prepare_data()

    def setup(self, stage: str) -> None:
        """Shares the people out, and reads the guides.

        Raises:
            FileNotFoundError: if there is no set, or a guide's file is missing.
            ValueError: if the tree is another one, a split is empty, or a guide cannot be made.
        """
        self._people.setup(stage)
        prepare(self._people, self.choice)

    def faces(self, count: int) -> torch.Tensor:
        """The first photographs of people to train on, (k, 3, h, w), at most `count`."""
        return first_faces(self._people.photographs["train"], count)

    def train_dataloader(self) -> DataLoader:
        """Endless batches of photographs with their guides, from step `first_batch` on.

        Raises:
            ValueError: if there is nobody to train on.
        """
        loading, seed = self._feed.loading, self._feed.seed
        making = Making(None, Augmentation(loading.transform), seed)
        data = DegradedPhotographs(self._people.photographs["train"], making)
        return self._feed.training(GuidedPhotographs(data, self.choice.guides, seed))

    def val_dataloader(self) -> DataLoader:
        """Targets among the people for validation, in one batch.

        Raises:
            ValueError: if none of them is on two photographs.
        """
        return one(self._of("val"))

    def test_dataloader(self) -> DataLoader:
        """Targets among the people for testing, in one batch.

        Raises:
            ValueError: if none of them is on two photographs.
        """
        return one(self._of("test"))

    def predict_dataloader(self) -> DataLoader:
        """The batch of `test_dataloader`.

        Raises:
            ValueError: if nobody for testing is on two photographs.
        """
        return one(self._of("test"))

    def _of(self, split: Split) -> Batch:
        if split not in self._targets:
            self._targets[split] = targets_of(self._people.photographs[split], self.choice)
        return self._targets[split]


@final
class GuidedPhotographs(Dataset[dict[str, Any]]):
    """Photographs with a guide from each of `guides`, by keys (epoch, index)."""

    def __init__(self, data: DegradedPhotographs, guides: Sequence[Guide], seed: int) -> None:
        self._data, self._guides, self._seed = data, guides, seed

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        generator = sample_generator(self._seed, *key, Purpose.REFERENCES)
        pictures = [guide.of(self._data.photographs, key[1], generator) for guide in self._guides]
        return {**self._data[key], "guides": torch.stack([planes(each) for each in pictures])}
