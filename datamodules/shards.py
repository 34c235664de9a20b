"""Photographs that lie in tar shards: read at random, or streamed for training.

Random reads serve evaluation, references and batches of P people with K photographs; a training on
degraded photographs streams (`datamodules.shard_stream`), which reads whole shards in a row.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from rich.console import Console
from torch.utils.data import DataLoader

from datamodules.images import UnreadableImage, decode_image
from datamodules.loading import Feed
from datamodules.photographs import DegradedPhotographs, Making, People, Sample
from datamodules.reading import Frame, Picture
from datamodules.shard_manifest import MANIFEST, NOBODY, UNFINISHED, Manifest, Rows, read_index
from datamodules.shard_stream import LANES, DamagedShard, Packed, Shard, ShardStream
from datamodules.stream import Split


def is_sharded(root: Path) -> bool:
    """Whether `root` holds tar shards, or was to hold them when packing was interrupted."""
    return any((root / name).exists() for name in (MANIFEST, UNFINISHED))


def shard_photographs(root: Path, frame: Frame, packed_as: str) -> dict[Split, "ShardPhotographs"]:
    """The photographs of all three splits in the shards of `root`; looks at the shards' sizes.

    Args:
        root: folder of the manifest.
        frame: brings a picture to its size.
        packed_as: the set and how it is split, as it was when it was packed.

    Raises:
        ValueError: if the manifest, an index or a shard is missing, damaged or not whole, or they
            are of another set or split.
    """
    manifest = Manifest.read(root)
    if manifest.set_name != packed_as:
        raise ValueError(
            f"{root} holds shards of {manifest.set_name}, and the settings ask for {packed_as}: "
            "shards keep the split that they were packed with; ask for that, or read the folder"
        )
    found: dict[Split, ShardPhotographs] = {}
    for split, files in manifest.splits.items():
        manifest.check_sizes(root, split)
        rows = read_index(root, split, sum(told.samples for told in files))
        people = None if NOBODY in rows["person"][:1] else rows["person"].astype(np.int64)
        places = tuple(manifest.places(root, split))
        found[split] = ShardPhotographs(places, rows, people, frame)
    return found


def training(feed: Feed, data: DegradedPhotographs) -> DataLoader:
    """Endless batches of `data`, streamed if they are a split that lies in shards.

    With references, single photographs are read from the shards at random, in the order of
    `Feed.training`: on a network's disks that is slower. So they are where there are fewer shards
    than lanes of all processes, which would have several lanes read the same photographs at a time.

    Raises:
        ValueError: if `data` is empty, or the workers cannot share the lanes of a stream.
        ImportError: if webdataset is not installed.
    """
    photographs = data.photographs
    if not isinstance(photographs, ShardPhotographs) or data.references is not None:
        return feed.training(data)
    rank, world = feed.rank_and_world
    if len(photographs) and len(photographs.shards) < world * LANES:
        if rank == 0:
            _say_few(len(photographs.shards), world)
        return feed.training(data)
    stream = ShardStream(
        photographs.shards,
        FromShards(photographs.frame, data.making),
        feed.batch_size,
        seed=feed.seed,
        rank=rank,
        world=world,
        first_batch=feed.first_batch,
    )
    stream.check_workers(feed.loading.workers)
    return feed.streamed(stream)


def _say_few(shards: int, world: int) -> None:
    line = (
        f"a stream needs {world * LANES} shards, {LANES} for each process, and there are {shards}: "
        "photographs are read at random; pack the set into smaller shards to stream it"
    )
    Console(stderr=True).print(line, soft_wrap=True, markup=False, highlight=False)


@final
@dataclass(frozen=True)
class FromShards:
    """A sample of a packed photograph: what `DegradedPhotographs` gives for its number.

    Attributes:
        frame: brings the picture to its size.
        making: makes the sample.
    """

    frame: Frame
    making: Making

    def __call__(self, packed: Packed, epoch: int) -> Sample:
        """The sample in this epoch.

        Raises:
            UnreadableImage: if the picture cannot be read; names the shard.
        """
        picture = _framed(packed.data, packed.place, self.frame)
        sample = self.making(picture, packed.name, (epoch, packed.number))
        if packed.person is not None:
            sample["identity"] = packed.person
        return sample


@final
@dataclass(frozen=True)
class ShardPhotographs:
    """The photographs of one split, read from their shards at random.

    Attributes:
        shards: all shards of the split.
        rows: where each photograph of the split lies.
        people: who is on each; None if the set does not tell.
        frame: brings a picture to its size.
    """

    shards: Sequence[Shard]
    rows: Rows
    people: People | None
    frame: Frame

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, i: int) -> str:
        """The photograph's name in the set that was packed.

        Raises:
            DamagedShard: if it cannot be read.
        """
        row = self.rows[i]
        place, data = self._read(int(row["shard"]), int(row["told"]), int(row["told_bytes"]))
        try:
            return str(json.loads(data)["name"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedShard(f"{place}: what is told of {i:08d} cannot be read") from error

    def picture(self, i: int) -> Picture:
        """Photograph `i`, in the frame.

        Raises:
            UnreadableImage: if it cannot be decoded or does not fit the frame; names the shard.
            DamagedShard: if its shard cannot be read.
        """
        row = self.rows[i]
        first, count = int(row["picture"]), int(row["picture_bytes"])
        place, data = self._read(int(row["shard"]), first, count)
        return _framed(data, f"{place}: {i:08d}", self.frame)

    def _read(self, shard: int, first: int, count: int) -> tuple[Path, bytes]:
        place = self.shards[shard].place
        if isinstance(place, str):
            raise DamagedShard(f"{place} can only be streamed; copy it here to read it at random")
        try:
            with place.open("rb", buffering=0) as file:
                file.seek(first)
                data = file.read(count)
        except OSError as error:
            raise DamagedShard(f"{place} cannot be read ({error.strerror})") from error
        if len(data) != count:
            raise DamagedShard(f"{place} ends too early; copy or pack it again")
        return place, data


def _framed(data: bytes, place: str, frame: Frame) -> Picture:
    picture = decode_image(data, place)
    try:
        return frame(picture)
    except UnreadableImage as error:
        raise UnreadableImage(f"{place}: {error}") from None
