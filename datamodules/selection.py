"""Which photographs of the people of a set come, and which of them come together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Int64
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from datamodules import shards
from datamodules.identities import PeopleSampler, several
from datamodules.loading import Feed
from datamodules.photographs import DegradedPhotographs, People, Photographs, Sample
from datamodules.reading import Picture
from datamodules.stream import Key, Purpose, Split, sample_generator


@dataclass(frozen=True)
class PerPerson:
    """Batches of P people with K photographs each, for losses over pairs and triplets.

    Attributes:
        people: in a batch of one process, P.
        photographs: of each, K; whoever has fewer is left out of the training.

    Raises:
        ValueError: if there are not two of both.
    """

    people: int
    photographs: int

    def __post_init__(self) -> None:
        if min(self.people, self.photographs) < 2:
            raise ValueError(
                "pairs need 2 or more people and 2 or more photographs of each, "
                f"got {self.people} and {self.photographs}"
            )


@dataclass(frozen=True)
class Selection:
    """Which training photographs come, and which others of the same person come with them.

    Attributes:
        subset: so many training photographs, drawn by the seed; without a number, all of them.
        references: other photographs of the same person beside each one, n of D_C (NASFE,
            Section 3.2), in all splits; whoever is on a single photograph is left out.
        batches: people and photographs of each in a training batch, in place of single photographs
            in a random order.

    Raises:
        ValueError: if a number is out of its range, or both a subset and batches are asked for.
    """

    subset: int | None = None
    references: int = 0
    batches: PerPerson | None = None

    def __post_init__(self) -> None:
        if self.references < 0 or (self.subset is not None and self.subset < 1):
            raise ValueError(
                "references must be 0 or more and subset 1 or more, or null, "
                f"got {self.references} and {self.subset}"
            )
        if self.subset is not None and self.batches is not None:
            raise ValueError(
                "a subset holds few photographs of each person, and batches need several; "
                "set subset or batches to null"
            )

    def least(self, split: Split) -> int:
        """On how many photographs of `split` a person must be."""
        together = self.batches.photographs if self.batches and split == "train" else 1
        return max(together, 2 if self.references else 1)


EVERYTHING: Final = Selection()
"""Each training photograph by itself."""


@final
@dataclass(frozen=True)
class SomePhotographs:
    """Some photographs of a set.

    Attributes:
        whole: all photographs.
        positions: which of them.
        people: who is on each of `positions`; None if the set does not tell.
    """

    whole: Photographs
    positions: Int64[np.ndarray, " n"]
    people: People | None

    def __len__(self) -> int:
        return len(self.positions)

    def name(self, i: int) -> str:
        """What photograph `i` is called in the set."""
        return self.whole.name(int(self.positions[i]))

    def picture(self, i: int) -> Picture:
        """Photograph `i`, in the set's frame."""
        return self.whole.picture(int(self.positions[i]))


def in_company(photographs: Photographs, least: int) -> Photographs:
    """The photographs whose person is on at least `least` of them; all, as they are, for 1.

    The people that are left are numbered anew from 0 without gaps.

    Raises:
        ValueError: if there are none, or the set does not say who is on them.
    """
    if least <= 1 or not len(photographs):
        return photographs
    if photographs.people is None:
        raise ValueError("this set does not say who is on which photograph")
    positions = several(photographs.people, least)
    people = np.unique(photographs.people[positions], return_inverse=True)[1]
    return SomePhotographs(photographs, positions, people)


@final
class SomeSamples(Dataset[Sample]):
    """Some samples of a dataset under new numbers, each as it is in the whole.

    References still come from all photographs of the dataset.

    Raises:
        ValueError: if `count` is more than there are.
    """

    def __init__(self, whole: Dataset[Sample], size: int, count: int, seed: int) -> None:
        if count > size:
            raise ValueError(
                f"subset must be at most {size}, all photographs for training, got {count}; "
                "null takes all"
            )
        self._whole = whole
        order = sample_generator(seed, 0, 0, Purpose.SUBSET).permutation(size)
        self.chosen = np.sort(order[:count])

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: Key) -> Sample:
        return self._whole[key[0], int(self.chosen[key[1]])]


def training(feed: Feed, data: DegradedPhotographs, selection: Selection) -> DataLoader:
    """Endless training batches of `data` as `selection` says.

    Of shards, batches of people, subsets and references are read at random; the rest is streamed.

    Raises:
        ValueError: if there are fewer photographs or people than asked for.
    """
    if selection.batches is not None:
        return feed.ordered(data, _people(feed, data, selection.batches))
    if selection.subset is not None:
        return feed.training(SomeSamples(data, len(data), selection.subset, feed.seed))
    return shards.training(feed, data)


def _people(feed: Feed, data: DegradedPhotographs, batches: PerPerson) -> PeopleSampler:
    people = data.photographs.people
    if people is None:
        raise ValueError("this set does not say who is on its photographs; set batches to null")
    rank, world = feed.rank_and_world
    return PeopleSampler(
        people,
        batches.people,
        batches.photographs,
        seed=feed.seed,
        rank=rank,
        world=world,
        first_batch=feed.first_batch,
    )


def say_left_out(photographs: Mapping[Split, Photographs], selection: Selection) -> None:
    """One line on the error stream if people are on too few photographs for `selection`."""
    told = []
    for split, some in photographs.items():
        if some.people is not None:
            _, counts = np.unique(some.people, return_counts=True)
            alone = counts < selection.least(split)
            if alone.any():
                told.append(
                    f"{alone.sum()} people with {counts[alone].sum()} photographs from {split} "
                    f"(fewer than {selection.least(split)} of each)"
                )
    if told:
        line = f"Left out: {'; '.join(told)}"
        Console(stderr=True).print(line, soft_wrap=True, markup=False, highlight=False)
