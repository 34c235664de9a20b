"""Semi-supervised training pairs, and pairs for evaluation, from a list of numbered pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import numpy as np
from torch.utils.data import Dataset

from datamodules.augmentation import Augmentation
from datamodules.images import planes
from datamodules.numbered import Pair
from datamodules.photographs import Sample
from datamodules.reading import Picture
from datamodules.stream import Key, Purpose, permutation, sample_generator

Reader = Callable[[Path], Picture]


def paired_subset(pairs: Sequence[Pair], gamma: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """`pairs` split in two: those that stay pairs, |X_a| / |X| = `gamma`, and the others.

    One order of the seed serves every `gamma`, so the pairs of a smaller one are among those of a
    larger one. At least one stays a pair.

    Raises:
        ValueError: if `gamma` is not in (0, 1], or there is nothing to split.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be in (0, 1], got {gamma}")
    if not pairs:
        raise ValueError("gamma divides a set of photographs, got none")
    order = permutation(len(pairs), seed, 0, Purpose.SUBSET)
    count = max(1, round(gamma * len(pairs)))
    paired, others = sorted(order[:count]), sorted(order[count:])
    return [pairs[i] for i in paired], [pairs[i] for i in others]


@final
class Strangers:
    """The unpaired half: in each epoch every photograph is raw once and retouched once.

    Beside a raw photograph stands the retouched one of another person. People are put in a random
    order, each with all their photographs in a row; shifting that ring by the largest number of
    photographs of one person leaves nobody beside themselves.

    Raises:
        ValueError: if there are fewer than two photographs, or one person has more than half.
    """

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        if len(pairs) < 2:
            raise ValueError(
                f"the unpaired half needs 2 photographs or more, got {len(pairs)}; "
                "take a smaller gamma, gamma=1, or unpaired=false"
            )
        _, people = np.unique([pair.person for pair in pairs], return_inverse=True)
        counts = np.bincount(people)
        if 2 * counts.max() > len(pairs):
            raise ValueError(
                f"{pairs[int(np.argmax(people == counts.argmax()))].person} is on {counts.max()} "
                f"of the {len(pairs)} unpaired photographs; at most half may show one person"
            )
        self._pairs = pairs
        self._people = people
        self._shift = int(counts.max())
        self._seed = seed
        self._rings: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, key: Key) -> tuple[Pair, Pair]:
        epoch, index = key
        ring = self._ring(epoch)
        place = index % len(ring)
        return self._pairs[ring[place]], self._pairs[ring[(place + self._shift) % len(ring)]]

    def _ring(self, epoch: int) -> np.ndarray:
        if epoch not in self._rings:  # one more is kept: a batch may lie across the end of an epoch
            self._rings = dict([*self._rings.items()][-1:]) | {epoch: self._new_ring(epoch)}
        return self._rings[epoch]

    def _new_ring(self, epoch: int) -> np.ndarray:
        order = permutation(len(self._pairs), self._seed, epoch, Purpose.UNPAIRED)
        _, first_seen = np.unique(self._people[order], return_index=True)
        return order[np.argsort(first_seen[self._people[order]], kind="stable")]


@final
class SemiSupervisedPairs(Dataset[dict[str, Sample]]):
    """Items {"paired", "unpaired"}; the shorter half comes round again within an epoch.

    A key is (epoch, index). Each half has its own random order in each epoch, so that the same two
    do not meet twice. Without `unpaired` an item has no such key.

    Args:
        paired: X_a.
        unpaired: X_u, or None.
        read: gives the picture in a file.
        augmentation: one draw for both pictures of a pair, one for each unpaired picture.
        seed: of all draws.

    Raises:
        ValueError: if `paired` is empty.
    """

    def __init__(
        self,
        paired: Sequence[Pair],
        unpaired: Strangers | None,
        read: Reader,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        if not paired:
            raise ValueError("training needs at least one pair, got none")
        self._paired = paired
        self._unpaired = unpaired
        self._read = read
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return max(len(self._paired), len(self._unpaired or ()))

    def __getitem__(self, key: Key) -> dict[str, Sample]:
        generator = sample_generator(self._seed, *key)
        item = {"paired": self._pair(key, generator)}
        if self._unpaired is not None:
            item["unpaired"] = self._strangers(*self._unpaired[key], generator)
        return item

    def _pair(self, key: Key, generator: np.random.Generator) -> Sample:
        epoch, index = key
        order = permutation(len(self._paired), self._seed, epoch, Purpose.PAIRED)
        pair = self._paired[order[index % len(order)]]
        pictures = self._read(pair.raw), self._read(pair.retouched)
        return _sample(*self._augmentation.together(*pictures, generator), pair.name)

    def _strangers(self, raw: Pair, other: Pair, generator: np.random.Generator) -> Sample:
        image = self._augmentation.alone(self._read(raw.raw), generator)
        target = self._augmentation.alone(self._read(other.retouched), generator)
        return _sample(image, target, f"{raw.name}+{other.name}")


@final
class EvaluationPairs(Dataset[Sample]):
    """Pairs as they are, by keys (epoch, index) whose epoch means nothing."""

    def __init__(self, pairs: Sequence[Pair], read: Reader) -> None:
        self._pairs = pairs
        self._read = read

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, key: Key) -> Sample:
        pair = self._pairs[key[1]]
        return _sample(self._read(pair.raw), self._read(pair.retouched), pair.name)


def _sample(image: Picture, target: Picture, name: str) -> Sample:
    return {"image": planes(image), "target": planes(target), "name": name}
