"""Random numbers that are the same on every machine and under every version of numpy.

Only the raw 64-bit words of PCG64 are promised to stay as they are; the distributions of
`numpy.random.Generator` are not, and some of them call the C library's logarithm.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class Dice:
    """A seeded source of exact random numbers; the same words give the same numbers for ever."""

    def __init__(self, *words: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number, evenly spread over [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def around(self, centre: float, spread: float) -> float:
        """One number, bell-shaped about `centre`, never further from it than 3.5 `spread`."""
        total = sum(self.uniform() for _ in range(4)) - 2.0
        return centre + spread * 1.7320508 * total

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        return self.uniform() < probability

    def pick(self, items: Sequence[Item], weights: Sequence[float]) -> Item:
        """One of `items`, in proportion to `weights`."""
        target = self.uniform() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            target -= weight
            if target < 0:
                return item
        return items[-1]

    def words(self, *shape: int) -> NDArray[np.uint64]:
        """Raw 64-bit words."""
        return np.asarray(self._bits.random_raw(int(np.prod(shape)))).reshape(shape)

    def even(self, *shape: int) -> NDArray[np.float32]:
        """Numbers evenly spread over [-1, 1)."""
        return (self.words(*shape) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - 1

    def normal(self, *shape: int) -> NDArray[np.float32]:
        """Numbers of mean 0 and deviation 1: each the sum of four 16-bit parts of one word."""
        words = self.words(*shape)
        low = np.uint64(0xFFFF)
        total = (words & low) + (words >> np.uint64(48))
        total += ((words >> np.uint64(16)) & low) + ((words >> np.uint64(32)) & low)
        return (total.astype(np.float32) - 131070.0) * np.float32(1.7320508 / 65536.0)
