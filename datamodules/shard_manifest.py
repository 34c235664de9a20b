"""What a set of tar shards says about itself: which shards there are, and what lies where.

    shards.json          the manifest, written last
    train-000000.tar     00000012.png, as it was, and 00000012.json {"name", "person"}
    index-train.npy      for every photograph of the split, where it lies

The number of a photograph is its position in the split that was packed, so sharded photographs
answer to the same numbers as those in the folder.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, get_args

import numpy as np

from datamodules.shard_stream import DamagedShard, Shard
from datamodules.stream import Split

VERSION: Final = 1  # of the format
MANIFEST: Final = "shards.json"
UNFINISHED: Final = "shards.unfinished.json"
NOBODY: Final = -1  # the person on a photograph of a set that does not tell
ROW: Final = np.dtype(
    [
        ("shard", "<i4"),
        ("person", "<i4"),
        ("picture", "<i8"),  # where its bytes begin in the shard
        ("picture_bytes", "<i8"),
        ("told", "<i8"),  # where the JSON beside it begins
        ("told_bytes", "<i8"),
    ]
)
Rows = np.ndarray[Any, np.dtype[np.void]]
_HTTP: Final = ("http://", "https://")


@dataclass(frozen=True)
class ShardFile:
    """A tar file as the manifest tells of it."""

    file: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What shards.json says.

    Attributes:
        set_name: which set was packed.
        plan: checksum of all that decides the shards: names, people, seed, how many in each.
        splits: the shards of each split, in order; none of one that was not packed.
        base: folder or http address of the training shards, if they do not lie beside it.
        version: of the format.
    """

    set_name: str
    plan: str
    splits: Mapping[Split, tuple[ShardFile, ...]]
    base: str | None = None
    version: int = VERSION

    @classmethod
    def read(cls, root: Path) -> Self:
        """The manifest in `root`.

        Raises:
            ValueError: if packing has not ended, or the manifest is damaged or of another version.
        """
        path = root / MANIFEST
        if not path.exists():
            raise ValueError(
                f"{root} was not packed to its end: the same `prepare --format=webdataset` goes on"
            )
        try:
            told = json.loads(path.read_bytes())
            splits = {
                split: tuple(ShardFile(**shard) for shard in told["splits"].get(split, ()))
                for split in get_args(Split)
            }
            manifest = cls(**(told | {"splits": splits}))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error}); copy or pack it again") from error
        if manifest.version != VERSION:
            raise ValueError(
                f"{path} has format version {manifest.version}, but {VERSION} is read here; "
                "pack the set again"
            )
        return manifest

    def places(self, root: Path, split: Split) -> list[Shard]:
        """Where the shards of a split lie.

        Raises:
            ValueError: if `base` is neither a folder nor an http address.
        """
        base = (self.base or "") if split == "train" else ""
        if base.startswith(_HTTP):
            address = base.rstrip("/")
            return [Shard(f"{address}/{told.file}", told.samples) for told in self.splits[split]]
        if re.match("[a-z0-9]{2,}:", base):  # webdataset would run a "pipe:" as a command
            raise ValueError(
                f"base in {root / MANIFEST} must be a folder or begin with http:// or https://, "
                f"got '{base}'"
            )
        return [Shard(root / base / told.file, told.samples) for told in self.splits[split]]

    def check_sizes(self, root: Path, split: Split) -> None:
        """Nothing, if each shard of a split that lies on this machine is there with all its bytes.

        Raises:
            DamagedShard: otherwise; names the first one.
            ValueError: where `places` does.
        """
        for shard, told in zip(self.places(root, split), self.splits[split], strict=True):
            if isinstance(shard.place, str):
                continue
            if not shard.place.is_file():
                raise DamagedShard(f"{shard.place} is missing; copy or pack it again")
            found = shard.place.stat().st_size
            if found != told.bytes:
                raise DamagedShard(
                    f"{shard.place} has {found} bytes instead of {told.bytes}; "
                    "copy or pack it again"
                )


def index_path(root: Path, split: Split) -> Path:
    """The file that tells where each photograph of a split lies."""
    return root / f"index-{split}.npy"


def read_index(root: Path, split: Split, samples: int) -> Rows:
    """The rows of a split's photographs, mapped into memory; none for no samples.

    Raises:
        ValueError: if the file is missing or damaged, or has not one row for each of `samples`.
    """
    if not samples:  # nothing could be mapped
        return np.zeros(0, ROW)
    path = index_path(root, split)
    try:
        rows: Rows = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); copy or pack it again") from error
    if rows.dtype != ROW or rows.shape != (samples,):
        raise ValueError(
            f"{path} has {len(rows)} rows of {rows.dtype}, its manifest says {samples}; "
            "copy or pack it again"
        )
    return rows
