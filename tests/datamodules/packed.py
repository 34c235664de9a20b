"""Small sets of photographs to pack, for the tests of shards."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.images import read_image
from datamodules.shard_packing import write_shards
from datamodules.shard_stream import Shard
from tests.datamodules.pictures import picture


@dataclass(frozen=True)
class Files:
    paths: list[Path]
    people: np.ndarray | None = None

    def __len__(self):
        return len(self.paths)

    def name(self, i):
        return f"folder/{self.paths[i].stem}"

    def path(self, i):
        return self.paths[i]

    def picture(self, i):
        return read_image(self.paths[i])


def write_files(folder, count, *, people=None, size=16, ending="png", seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"face {i}.{ending}" for i in range(count)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(size, size, seed=[seed, i])).save(path)
    return Files(paths, people)


def pack(folder, counts, per_shard=10, people=None):
    """A set of `counts` photographs, and the same in shards."""
    photographs = {
        split: write_files(
            folder / "files" / split, count, people=people if split == "train" else None, seed=k
        )
        for k, (split, count) in enumerate(counts.items())
    }
    write_shards(folder / "shards", "drawn", photographs, per_shard)
    return photographs, folder / "shards"


def unequal_shards(folder, sizes):
    """Shards of these sizes, and the number of each of their photographs."""
    files = write_files(folder / "files", sum(sizes))
    starts = np.cumsum([0, *sizes])
    shards = []
    for k, size in enumerate(sizes):
        some = Files(files.paths[starts[k] : starts[k] + size])
        write_shards(folder / str(k), "drawn", {"val": some}, per_shard=size)
        shards.append(Shard(folder / str(k) / "val-000000.tar", size))
    return shards
