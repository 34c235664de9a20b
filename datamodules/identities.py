"""Who is on a photograph: batches of P people with K photographs each, and people in one split."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import final

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Sampler

from datamodules.stream import Key, Purpose, Split, permutation, sample_generator

People = Int64[np.ndarray, " n"]


def check_disjoint(people: Mapping[Split, Sequence[str]]) -> None:
    """Nothing, if no person is in two splits.

    Args:
        people: names of the people in each split; a name may come several times.

    Raises:
        ValueError: otherwise; names the splits, how many people, and the first of them.
    """
    splits = [(split, set(names)) for split, names in people.items()]
    for k, (split, names) in enumerate(splits):
        for other, others in splits[k + 1 :]:
            if shared := names & others:
                raise ValueError(
                    f"{len(shared)} people are both in {split} and in {other}, the first is "
                    f"{min(shared)}; a person may be in one split only"
                )


def shared_out(
    names: Sequence[str], val: float, test: float
) -> dict[Split, Int64[np.ndarray, " k"]]:
    """The positions of `names` in each split, where all photographs of a person are in one split.

    The people are ordered by a checksum of their names; the first of them are for testing, the
    next for validation. Of three people or more, each split with a share gets at least one.

    Args:
        names: the person on each photograph.
        val: share of the people for validation.
        test: share of the people for testing.

    Raises:
        ValueError: if the shares are negative or leave nobody to train on.
    """
    if min(val, test) < 0 or val + test >= 1:
        raise ValueError(f"val and test must leave a share to train on, got {val} and {test}")
    people = sorted(set(names), key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    tested = _quota(test, len(people))
    ends = tested, tested + _quota(val, len(people))
    if people and ends[1] >= len(people):
        raise ValueError(
            f"val {val} and test {test} leave none of {len(people)} people to train on; "
            "lower them or add people"
        )
    place = {person: int(np.searchsorted(ends, k, "right")) for k, person in enumerate(people)}
    which = np.array([place[name] for name in names], np.int64)
    return {
        "train": np.flatnonzero(which == 2),
        "val": np.flatnonzero(which == 1),
        "test": np.flatnonzero(which == 0),
    }


def _quota(share: float, people: int) -> int:
    return max(int(share > 0 and people >= 3), round(share * people))


def several(people: People, least: int) -> Int64[np.ndarray, " k"]:
    """The positions of the photographs whose person is on at least `least` of them.

    Raises:
        ValueError: if there are none.
    """
    _, which, counts = np.unique(people, return_inverse=True, return_counts=True)
    found = np.flatnonzero(counts[which] >= least)
    if not len(found):
        most = counts.max() if len(counts) else 0
        raise ValueError(
            f"nobody is on {least} photographs or more, at most on {most}; "
            "add photographs or ask for fewer of each person"
        )
    return found


@final
class PeopleSampler(Sampler[list[Key]]):
    """Endless batches of P people with K photographs each, as keys; for losses over pairs.

    Who comes is a random order of all people in each round; which of their photographs, a random
    choice in each round, without repetition where the person has K. Batch number `step` of process
    `rank` is a function of (seed, step, rank) alone.

    Args:
        people: who is on each photograph.
        count: people in a batch, P.
        photographs: of each person, K.
        seed: of the draws.
        rank: number of this process.
        world: how many processes share the stream.
        first_batch: steps already taken.

    Raises:
        ValueError: if there are fewer than P people, or a number is out of its range.
    """

    def __init__(
        self,
        people: People,
        count: int,
        photographs: int,
        *,
        seed: int,
        rank: int,
        world: int,
        first_batch: int = 0,
    ) -> None:
        if min(count, photographs) < 1 or first_batch < 0 or not 0 <= rank < world:
            raise ValueError(
                "people and photographs must be 1 or more, first_batch 0 or more and rank in "
                f"0 .. world - 1, got {count}, {photographs}, {first_batch} and {rank} of {world}"
            )
        self._order = np.argsort(people, kind="stable")
        _, self._first, self._size = np.unique(
            people[self._order], return_index=True, return_counts=True
        )
        if len(self._size) < count:
            raise ValueError(f"a batch of {count} people needs as many, got {len(self._size)}")
        self._count, self._photographs = count, photographs
        self._seed, self._rank, self._world = seed, rank, world
        self.first_batch = first_batch

    def batch(self, step: int) -> list[Key]:
        """The keys of this process at step `step`, the photographs of a person in a row."""
        first = (step * self._world + self._rank) * self._count
        return [key for k in range(first, first + self._count) for key in self._person(k)]

    def _person(self, k: int) -> list[Key]:
        # A round that does not divide by the batch would bring somebody twice into one batch.
        a_round = len(self._size) // self._count * self._count
        epoch, position = divmod(k, a_round)
        person = permutation(len(self._size), self._seed, epoch, Purpose.PEOPLE)[position]
        first, size = self._first[person], self._size[person]
        # Number 0 is that of the order of the people.
        generator = sample_generator(self._seed, epoch, 1 + int(person), Purpose.PEOPLE)
        rounds = -(-self._photographs // size)
        order = np.concatenate([generator.permutation(size) for _ in range(rounds)])
        return [(epoch, int(self._order[first + i])) for i in order[: self._photographs]]

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first_batch
        while True:
            yield self.batch(step)
            step += 1
