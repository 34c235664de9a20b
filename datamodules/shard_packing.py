"""Writing a set of photographs as tar shards, with the files' own bytes.

The photographs for training are shuffled once; those of the other splits keep their order. The
same photographs give the same bytes. Packing can be killed at any moment and goes on with the next
call, which keeps every finished shard.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, final

import numpy as np
from rich.console import Console
from rich.progress import track

from datamodules.photographs import People
from datamodules.shard_manifest import (
    MANIFEST,
    NOBODY,
    ROW,
    UNFINISHED,
    Manifest,
    ShardFile,
    index_path,
)
from datamodules.shard_stream import TOLD, DamagedShard, webdataset
from datamodules.stream import Split, permutation

_WORTH_A_BAR = 2


class Packable(Protocol):
    """Photographs that are files."""

    @property
    def people(self) -> People | None:
        """Who is on each photograph, as a number; None if the set does not tell."""
        ...

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """What photograph `i` is called in the set."""
        ...

    def path(self, i: int) -> Path:
        """The file of photograph `i`."""
        ...


@final
@dataclass(frozen=True)
class _Batch:
    """The photographs of one shard."""

    split: Split
    shard: int
    numbers: Sequence[int]

    @property
    def file(self) -> str:
        return f"{self.split}-{self.shard:06d}.tar"


def write_shards(
    target: Path,
    set_name: str,
    photographs: Mapping[Split, Packable],
    per_shard: int = 1000,
    seed: int = 0,
) -> Manifest:
    """Writes `photographs` below `target` as shards, unless they are there; gives the manifest.

    A file that changes while packing is interrupted is not noticed.

    Args:
        target: a new or empty folder, or one that the same call has begun.
        set_name: kept in the manifest.
        photographs: of each split.
        per_shard: photographs in a shard, but for the last one of a split.
        seed: of the order of the training photographs.

    Raises:
        ValueError: if a number is out of its range, or `target` holds anything else.
        OSError: if a photograph cannot be read or a shard not written.
        ImportError: if webdataset is not installed.
    """
    if per_shard < 1 or seed < 0:
        raise ValueError(f"per_shard must be 1 or more and seed 0 or more, got {per_shard}, {seed}")
    webdataset()
    plan = _plan(set_name, photographs, per_shard, seed)
    if _finished(target, plan):
        return Manifest.read(target)
    target.mkdir(parents=True, exist_ok=True)
    _replace(target / UNFINISHED, json.dumps({"plan": plan}).encode())
    batches = list(_batches(photographs, per_shard, seed))
    missing = [batch for batch in batches if not _written(target, batch)]
    console = Console(stderr=True)
    for batch in track(
        missing, "Packing shards", console=console, disable=len(missing) < _WORTH_A_BAR
    ):
        _write_shard(target, batch, photographs[batch.split])
    return _finish(target, Manifest(set_name, plan, _gathered(target, batches, photographs)))


def check_shards(root: Path) -> None:
    """Nothing, if every shard on this machine has the checksum of the manifest; reads them all.

    Raises:
        DamagedShard: if one has not, or is missing; names it.
        ValueError: if the manifest cannot be used.
    """
    manifest = Manifest.read(root)
    for split, files in manifest.splits.items():
        manifest.check_sizes(root, split)
        places = zip(manifest.places(root, split), files, strict=True)
        for shard, told in track(
            [*places], f"Checking shards of {split}", console=Console(stderr=True)
        ):
            if isinstance(shard.place, Path) and _checksum(shard.place) != told.sha256:
                raise DamagedShard(f"{shard.place} is damaged; copy or pack it again")


def _plan(set_name: str, photographs: Mapping[Split, Packable], per_shard: int, seed: int) -> str:
    digest = hashlib.sha256(json.dumps([set_name, per_shard, seed]).encode())
    for split, some in photographs.items():
        digest.update(json.dumps([split, len(some)]).encode())
        for i in range(len(some)):
            digest.update(_told(some, i) + b"\n")
    return digest.hexdigest()


def _told(photographs: Packable, i: int) -> bytes:
    people = photographs.people
    person = None if people is None else int(people[i])
    return json.dumps({"name": photographs.name(i), "person": person}).encode()


def _plan_in(path: Path) -> object:
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        told = None
    return told.get("plan") if isinstance(told, dict) else None


def _finished(target: Path, plan: str) -> bool:
    for name in (MANIFEST, UNFINISHED):
        path = target / name
        if path.exists() and _plan_in(path) != plan:
            raise ValueError(
                f"{path} tells of other photographs, or of other shards of them; "
                "name another folder or remove this one"
            )
        if path.exists():
            return name == MANIFEST
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is not empty; name a new or empty folder for the shards")
    return False


def _batches(photographs: Mapping[Split, Packable], per_shard: int, seed: int) -> Iterator[_Batch]:
    for split, some in photographs.items():
        order = permutation(len(some), seed, 0) if split == "train" else np.arange(len(some))
        for shard, first in enumerate(range(0, len(some), per_shard)):
            yield _Batch(split, shard, [int(i) for i in order[first : first + per_shard]])


def _note(target: Path, batch: _Batch) -> Path:
    """What is known of a finished shard until the manifest says it."""
    return target / f"{batch.file}.note.json"


def _written(target: Path, batch: _Batch) -> bool:
    note, shard = _note(target, batch), target / batch.file
    if not note.exists() or not shard.exists():
        return False
    told = json.loads(note.read_bytes())
    return bool(shard.stat().st_size == told["shard"]["bytes"])


def _write_shard(target: Path, batch: _Batch, photographs: Packable) -> None:
    path = target / batch.file
    partial = _partial(path)
    with partial.open("wb") as file:
        # What a tar file tells of its members besides their bytes must not differ by machine.
        owner = {"user": "visagist", "group": "visagist", "mode": 0o444, "mtime": 0.0}
        with webdataset().TarWriter(file, encoder=False, **owner) as shard:
            for i in batch.numbers:
                source = photographs.path(i)
                ending = source.suffix.lower().removeprefix(".")
                told = {ending: source.read_bytes(), TOLD: _told(photographs, i)}
                shard.write({"__key__": f"{i:08d}", **told})
    told_of = ShardFile(batch.file, len(batch.numbers), partial.stat().st_size, _checksum(partial))
    rows = _rows(partial, batch, photographs.people)
    partial.replace(path)
    note = {"shard": asdict(told_of), "rows": rows}
    _replace(_note(target, batch), json.dumps(note).encode())


def _rows(path: Path, batch: _Batch, people: People | None) -> list[list[int]]:
    """For each photograph of a shard its number, then a row of the index."""
    found: dict[tuple[int, bool], tarfile.TarInfo] = {}
    with tarfile.open(path, "r:") as shard:
        for member in shard:
            number, _, ending = member.name.partition(".")
            found[int(number), ending == TOLD] = member
    rows = []
    for i in batch.numbers:
        picture, told = found[i, False], found[i, True]
        person = NOBODY if people is None else int(people[i])
        places = picture.offset_data, picture.size, told.offset_data, told.size
        rows.append([i, batch.shard, person, *places])
    return rows


def _gathered(
    target: Path, batches: Sequence[_Batch], photographs: Mapping[Split, Packable]
) -> dict[Split, tuple[ShardFile, ...]]:
    """The shards of each split, after writing the index of each split."""
    found: dict[Split, tuple[ShardFile, ...]] = {}
    for split, some in photographs.items():
        index = np.zeros(len(some), ROW)
        shards = []
        for batch in (batch for batch in batches if batch.split == split):
            told = json.loads(_note(target, batch).read_bytes())
            shards.append(ShardFile(**told["shard"]))
            for number, *row in told["rows"]:
                index[number] = tuple(row)
        content = io.BytesIO()
        np.save(content, index)
        _replace(index_path(target, split), content.getvalue())
        found[split] = tuple(shards)
    return found


def _finish(target: Path, manifest: Manifest) -> Manifest:
    _replace(target / MANIFEST, (json.dumps(asdict(manifest), indent=1) + "\n").encode())
    leftover = [*target.glob("*.note.json"), *target.glob("*.tmp"), target / UNFINISHED]
    for path in leftover:
        path.unlink(missing_ok=True)
    return manifest


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def _replace(path: Path, content: bytes) -> None:
    partial = _partial(path)
    partial.write_bytes(content)
    partial.replace(path)
