"""Endless training batches, read from tar shards from end to end.

Each process reads a fixed number of lanes, whatever the number of its workers. The shards of all
epochs, each epoch in an order of its own, are dealt to the lanes of all processes in turn; batch j
of a process comes from its lane j % lanes. So the batches are the same for every number of workers
that divides the lanes, and a run goes on at any batch by counting: whole shards are skipped unread.

Within a shard, samples are shuffled in blocks of 64, and packing has shuffled the set once. That
is less random than `datamodules.stream.StepSampler`: photographs of one block always come near
each other. With fewer shards than lanes of all processes, several lanes read the same shard for
different epochs at a time; `datamodules.shards.training` does not stream then.
"""

import itertools
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, final

from torch.utils.data import IterableDataset, default_collate, get_worker_info

from datamodules.stream import Purpose, permutation, sample_generator

LANES = 8
BLOCK = 64  # encoded pictures that a lane holds in memory
TOLD = "json"  # ending of the member that tells a picture's name and person


class DamagedShard(ValueError):
    """A shard that is not what its manifest says; the message is its place and the reason."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file of samples: where it lies, a path or an address, and how many it holds."""

    place: Path | str
    samples: int


@dataclass(frozen=True, slots=True)
class Packed:
    """One photograph as it lies in a shard.

    Attributes:
        number: of the photograph in its split.
        name: of the photograph in the set.
        person: who is on it; None if the set does not tell.
        data: its file's bytes.
        place: what an error calls it.
    """

    number: int
    name: str
    person: int | None
    data: bytes
    place: str


def webdataset() -> ModuleType:
    """The package that writes and reads shards.

    Raises:
        ImportError: if it is not installed; says how to get it.
    """
    try:
        import webdataset as package
    except ImportError as error:
        raise ImportError(
            "tar shards need the package webdataset: pip install -e '.[shards]'"
        ) from error
    return package


def read_shard(shard: Shard) -> Iterator[Packed]:
    """The samples of a shard in order, all of them.

    Raises:
        DamagedShard: if it cannot be read, or holds more or fewer samples than it should.
        ImportError: if webdataset is not installed.
    """
    webdataset()
    count = 0
    try:
        with closing(_opened(shard.place)) as stream:
            for sample in _samples(shard.place, stream):
                yield _packed(sample, shard.place)
                count += 1
    except (OSError, EOFError, tarfile.TarError, KeyError, ValueError) as error:
        raise DamagedShard(f"{shard.place} cannot be read ({_reason(error)})") from error
    if count != shard.samples:
        raise DamagedShard(
            f"{shard.place} holds {count} samples, its manifest says {shard.samples}; "
            "copy or pack it again"
        )


def _opened(place: Path | str) -> IO[bytes]:
    if isinstance(place, Path):
        return place.open("rb")
    stream: IO[bytes] = webdataset().gopen(place)
    return stream


def _samples(place: Path | str, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    from webdataset import tariterators

    files = tariterators.tar_file_expander([{"url": str(place), "stream": stream}])
    return iter(tariterators.group_by_keys(files))


def _packed(sample: dict[str, Any], place: Path | str) -> Packed:
    told = json.loads(sample[TOLD])
    (ending,) = (key for key in sample if not key.startswith("__") and key != TOLD)
    number, where = int(sample["__key__"]), f"{place}: {sample['__key__']}.{ending}"
    return Packed(number, told["name"], told["person"], sample[ending], where)


def _reason(error: Exception) -> str:
    """The first thing an error says; webdataset hangs the stream behind it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[0] if error.args else type(error).__name__).partition(" @ ")[0]


@final
class ShardStream(IterableDataset[Any]):
    """The endless batches of one process; a pure function of (seed, rank, world, step).

    Args:
        shards: all shards of the split.
        make: a sample of a packed photograph and the epoch.
        batch_size: samples in a batch of this process.
        seed: of the order.
        rank: number of this process.
        world: how many processes share the stream.
        first_batch: steps already taken; the first batch given is that of this step.
        lanes: that each process reads; another number gives another order.

    Raises:
        ValueError: if a number is out of its range, or there are no samples.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        make: Callable[[Packed, int], Any],
        batch_size: int,
        *,
        seed: int,
        rank: int,
        world: int,
        first_batch: int = 0,
        lanes: int = LANES,
    ) -> None:
        if min(batch_size, lanes) < 1 or first_batch < 0 or not 0 <= rank < world:
            raise ValueError(
                "batch_size and lanes must be 1 or more, first_batch 0 or more and rank in "
                f"0 .. world - 1, got {batch_size}, {lanes}, {first_batch} and {rank} of {world}"
            )
        if not shards or min(shard.samples for shard in shards) < 1:
            raise ValueError("a stream needs shards with samples; pack the set again")
        self._shards = tuple(shards)
        self._starts = [0, *itertools.accumulate(shard.samples for shard in shards)]
        self._make = make
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._world = rank, world
        self.first_batch = first_batch
        self.lanes = lanes

    def check_workers(self, workers: int) -> None:
        """Nothing, if so many workers can share the lanes.

        Raises:
            ValueError: if they cannot.
        """
        if workers and self.lanes % workers:
            fitting = [n for n in range(self.lanes + 1) if not n or not self.lanes % n]
            raise ValueError(
                f"the workers share {self.lanes} lanes of shards, so their number must be one of "
                f"{', '.join(map(str, fitting))}, got {workers} (loading.workers)"
            )

    def __iter__(self) -> Iterator[Any]:
        """The batches of this worker: every n-th one, as the loader takes them in turn."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        self.check_workers(workers)
        lanes: dict[int, Iterator[Any]] = {}
        for step in itertools.count(self.first_batch + worker, workers):
            turn, lane = divmod(step, self.lanes)
            if lane not in lanes:
                lanes[lane] = self._lane(lane, turn * self._batch_size)
            yield default_collate(list(itertools.islice(lanes[lane], self._batch_size)))

    def _lane(self, lane: int, position: int) -> Iterator[Any]:
        """The samples of a lane from `position` on."""
        # Dealt to the processes first, so that few shards are spread over all of them.
        first = lane * self._world + self._rank
        for k in itertools.count(first, self._world * self.lanes):
            epoch, place = divmod(k, len(self._shards))
            number = int(permutation(len(self._shards), self._seed, epoch)[place])
            samples = self._shards[number].samples
            if position < samples:
                yield from self._shard(epoch, number, position)
            position = max(0, position - samples)

    def _shard(self, epoch: int, number: int, position: int) -> Iterator[Any]:
        """The samples of a shard from `position` on, block after block."""
        block, inside = divmod(position, BLOCK)
        packed = itertools.islice(read_shard(self._shards[number]), block * BLOCK, None)
        while some := list(itertools.islice(packed, BLOCK)):
            # Number 0 is that of the order of the shards.
            at = 1 + self._starts[number] + block * BLOCK
            order = sample_generator(self._seed, epoch, at, Purpose.ORDER).permutation(len(some))
            yield from (self._make(some[i], epoch) for i in order[inside:])
            block, inside = block + 1, 0
