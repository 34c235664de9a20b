"""One stream of batches: every draw is a pure function of (seed, epoch, index).

Training is endless. Sample number k of the stream, over all processes together, is item
`permutation(size, seed, epoch)[k % size]` of epoch `k // size`; so a batch may lie across the end
of an epoch, no sample is dropped or repeated, and any step can be started at directly.
"""

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import Literal, final

import numpy as np
from torch.utils.data import Sampler

Split = Literal["train", "val", "test"]

Key = tuple[int, int]
"""(epoch, index) of a sample; what every dataset here takes."""


class Purpose(IntEnum):
    """What a draw is for: draws of different purposes are independent of each other."""

    SAMPLE = 0
    ORDER = 1
    PAIRED = 2
    UNPAIRED = 3
    SUBSET = 4
    DEGRADATION = 5
    REFERENCES = 6
    PEOPLE = 7
    EVALUATION = 8


def sample_generator(
    seed: int, epoch: int, index: int, purpose: Purpose = Purpose.SAMPLE
) -> np.random.Generator:
    """The random numbers of one sample, the same in any worker, process and after any resume.

    Raises:
        ValueError: if a number is negative.
    """
    if min(seed, epoch, index) < 0:
        raise ValueError(f"seed, epoch and index must be 0 or more, got {seed}, {epoch}, {index}")
    sequence = np.random.SeedSequence(seed, spawn_key=(int(purpose), epoch, index))
    return np.random.Generator(np.random.Philox(sequence))


@lru_cache(maxsize=6)  # three purposes, and a batch that lies across the end of an epoch
def permutation(
    size: int, seed: int, epoch: int, purpose: Purpose = Purpose.ORDER
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A shuffled order of 0 .. `size` - 1; read-only, since it is kept for the next call.

    Raises:
        ValueError: if a number is negative.
    """
    order = sample_generator(seed, epoch, 0, purpose).permutation(size)
    order.setflags(write=False)
    return order


def rank_slice(size: int, rank: int, world: int) -> range:
    """The indices of process `rank` of `world`: over all ranks each index exactly once, unpadded.

    Raises:
        ValueError: if `rank` is not a process of `world`, or `size` is negative.
    """
    _check_rank(rank, world)
    if size < 0:
        raise ValueError(f"size must be 0 or more, got {size}")
    return range(rank, size, world)


def _check_rank(rank: int, world: int) -> None:
    if not 0 <= rank < world:
        raise ValueError(f"rank must be in 0 .. world - 1, got rank {rank} of world {world}")


@final
class StepSampler(Sampler[list[Key]]):
    """The endless batches of one process, as keys; a `batch_sampler` that has no length.

    Args:
        size: samples in an epoch.
        batch_size: samples in a batch of this process.
        seed: of the order.
        rank: number of this process.
        world: how many processes share the stream.
        first_batch: steps already taken; the first batch given is that of this step.

    Raises:
        ValueError: if a size is below 1, `first_batch` is negative, or `rank` is not in `world`.
    """

    def __init__(
        self, size: int, batch_size: int, *, seed: int, rank: int, world: int, first_batch: int = 0
    ) -> None:
        _check_rank(rank, world)
        if size < 1 or batch_size < 1 or first_batch < 0:
            raise ValueError(
                "size and batch_size must be 1 or more and first_batch 0 or more, "
                f"got {size}, {batch_size} and {first_batch}"
            )
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.first_batch = first_batch

    def batch(self, step: int) -> list[Key]:
        """The keys of this process at step `step`.

        Raises:
            ValueError: if `step` is negative.
        """
        first = (step * self.world + self.rank) * self.batch_size
        return [self._key(k) for k in range(first, first + self.batch_size)]

    def _key(self, k: int) -> Key:
        epoch, position = divmod(k, self.size)
        return epoch, int(permutation(self.size, self.seed, epoch)[position])

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first_batch
        while True:
            yield self.batch(step)
            step += 1


@final
class SliceSampler(Sampler[list[Key]]):
    """The batches of one process in evaluation, in order, each key once; the epoch is 0.

    The last batch may be smaller, and one process may have one batch more than another.

    Raises:
        ValueError: if `rank` is not in `world`, `size` is negative, or `batch_size` is below 1.
    """

    def __init__(self, size: int, batch_size: int, *, rank: int, world: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.indices = rank_slice(size, rank, world)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        for first in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[first : first + self.batch_size]]

    def __len__(self) -> int:
        return len(self.indices[:: self.batch_size])
