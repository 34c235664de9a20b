"""Photographs whose embeddings are to be inverted, each beside images that guide the inversion.

A batch of targets holds the first photograph of each of n people: "image" (n, 3, h, w) float32 in
[0, 1], "name", "identity", "guides" (n, k, 3, h, w), and what tells whether somebody is recognised:
"gallery" (m, 3, h, w), other photographs of all people of the split, and "gallery_identity".

Inverting a face template shows how much of a face leaks from it. These sets are for such audits, of
people who agreed to them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from datamodules.guides import Guide
from datamodules.images import planes
from datamodules.loading import Batches, Loading, as_floats
from datamodules.photographs import Photographs
from datamodules.reading import Covering
from datamodules.selection import in_company
from datamodules.stream import Purpose, sample_generator
from datamodules.synthetic import DrawnSet
from datamodules.vggface2 import HELD_OUT, HeldOut, VGGFace2

Batch = dict[str, Any]

_COMPARED: Final = 2  # photographs: one to invert, one to recognise its person by


@dataclass(frozen=True)
class Choice:
    """Whose photographs are inverted, and with what beside them.

    Attributes:
        guides: each gives every target one guiding image.
        count: of people, one photograph each; those who come first by name.
        gallery: other photographs of each person of the split, at most.

    Raises:
        ValueError: if a number is below 1 or there are no guides.
    """

    guides: list[Guide]
    count: int = 100  # the paper's, Section 5.2
    gallery: int = 1

    def __post_init__(self) -> None:
        if min(self.count, self.gallery, len(self.guides)) < 1:
            raise ValueError(
                "targets need a count, a gallery and guides of 1 or more, "
                f"got {self.count}, {self.gallery} and {len(self.guides)} guides"
            )


@final
class Targets(pl.LightningDataModule):
    """The same targets in every batch, read once: people held out for testing.

    Whose people are in which split is as in `datamodules.vggface2.VGGFace2`; its trees are read.
    Validation and testing look at the same targets as training, for what is trained is the images.

    Args:
        root: folder of the set.
        choice: which targets, and what comes beside them.
        size: side of the pictures in pixels.
        people: who is held out.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        loading: how files are looked at; no workers are needed.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        choice: Choice,
        size: int = 224,
        people: HeldOut = HELD_OUT,
        draw: DrawnSet | None = None,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        self.first_batch = 0  # all batches are the same, so it does not matter
        self.choice = choice
        self._people = VGGFace2(root, size, people=people, draw=draw, loading=loading)
        self._batch: Batch = {}

    def prepare_data(self) -> None:
        """Draws the set if asked to, and looks at every picture.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the tree is another one or holds broken pictures; names them.
        """
        self._people.prepare_data()

    def setup(self, stage: str) -> None:
        """Reads the targets, their guides and the gallery, unless they are there.

        Raises:
            FileNotFoundError: if there is no set, or a guide's file is missing.
            ValueError: if nobody for testing is on two photographs, or a guide cannot be made.
        """
        if not self._batch:
            self._people.setup(stage)
            prepare(self._people, self.choice)
            self._batch = targets_of(self._people.photographs["test"], self.choice)

    @property
    def targets(self) -> Batch:
        """The batch of targets that every loader gives."""
        return self._batch

    def faces(self, count: int) -> torch.Tensor:
        """The first photographs of people to train on, (k, 3, h, w), at most `count`."""
        return first_faces(self._people.photographs["train"], count)

    def train_dataloader(self) -> DataLoader:
        """The batch without its gallery, endlessly."""
        seen = {key: value for key, value in self._batch.items() if not key.startswith("gallery")}
        return DataLoader(Endless(seen), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """The batch, once."""
        return one(self._batch)

    def test_dataloader(self) -> DataLoader:
        """The batch, once."""
        return one(self._batch)

    def predict_dataloader(self) -> DataLoader:
        """The batch, once."""
        return one(self._batch)


@final
class Endless(IterableDataset[Batch]):
    """One batch, again and again."""

    def __init__(self, batch: Mapping[str, Any]) -> None:
        self._batch = dict(batch)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield dict(self._batch)


def one(batch: Batch) -> DataLoader:
    """A loader of nothing but `batch`."""
    return Batches([batch], batch_size=None)  # type: ignore[arg-type]


def prepare(people: VGGFace2, choice: Choice) -> None:
    """Lets the guides read what they need of the people to train on.

    Raises:
        FileNotFoundError: if a guide's file is missing.
        ValueError: if a guide cannot be made.
    """
    for guide in choice.guides:
        guide.prepare(people.photographs["train"], Covering(people.size, people.size))


def targets_of(photographs: Photographs, choice: Choice) -> Batch:
    """The batch of targets among `photographs`.

    Raises:
        ValueError: if nobody is on two of them, or the set does not say who is on which.
    """
    if not len(photographs):
        raise ValueError("there is nobody whose photograph could be inverted: hold out people")
    several = in_company(photographs, _COMPARED)
    people = np.asarray(several.people)
    order = [np.flatnonzero(people == person) for person in np.unique(people)]
    chosen = [int(own[0]) for own in order[: choice.count]]
    others = [int(i) for own in order for i in own[1 : 1 + choice.gallery]]
    return as_floats(
        {
            "image": _pictures(several, chosen),
            "name": [several.name(i) for i in chosen],
            "identity": torch.from_numpy(people[chosen]),
            "guides": torch.stack([_guides(several, i, choice.guides) for i in chosen]),
            "gallery": _pictures(several, others),
            "gallery_identity": torch.from_numpy(people[others]),
        }
    )


def first_faces(photographs: Photographs, count: int) -> torch.Tensor:
    """The first photograph of each of the first `count` people, (k, 3, h, w) in [0, 1]."""
    firsts = np.unique(np.asarray(photographs.people), return_index=True)[1][:count]
    faces: torch.Tensor = as_floats(_pictures(photographs, [int(i) for i in firsts]))
    return faces


def _pictures(photographs: Photographs, chosen: Sequence[int]) -> torch.Tensor:
    return torch.stack([planes(photographs.picture(i)) for i in chosen])


def _guides(photographs: Photographs, i: int, guides: Sequence[Guide]) -> torch.Tensor:
    generator = sample_generator(0, 0, i, Purpose.EVALUATION)
    return torch.stack([planes(guide.of(photographs, i, generator)) for guide in guides])
