"""The pictures below a folder as columns of numbers and names, and the one file that keeps them.

The file is a header of 128 bytes and the columns one after the other, so that it can be mapped into
memory as it is. The header holds its own checksum and that of the columns.
"""

import mmap
import os
import secrets
import struct
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Final, final

import numpy as np
from jaxtyping import Int32, Int64, UInt8

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})
"""Endings of the files that count as pictures, in lower case."""

_MAGIC: Final = b"visagist-index-1"
_HEADER: Final = 128
_TYPES: Final = {  # the widest first, so that each column begins at a multiple of its width
    "starts": "<i8",
    "sizes": "<i8",
    "changed": "<i8",
    "folder_of": "<i4",
    "heights": "<i4",
    "widths": "<i4",
    "looked": "u1",
    "names": "u1",
    "folder_names": "u1",
}
_NUMBERS: Final = struct.Struct(f"<16sI{len(_TYPES)}q")  # magic, checksum of the columns, lengths

_File = tuple[str, int, int]


@final
@dataclass(frozen=True)
class Listing:
    """Pictures in the order of their folders, and within one of their names.

    Attributes:
        starts: where each name begins in `names`, and where the last one ends.
        sizes: bytes of each file, -1 where there is none to be found, as behind a dead link.
        changed: when each file was changed, in nanoseconds.
        folder_of: number of the folder of each file.
        heights: of the pictures looked at, in pixels.
        widths: likewise.
        looked: how closely each file was looked at and found sound; 0 is not at all.
        names: of the files, each with a zero byte behind it.
        folder_names: of the folders, likewise; empty for the one that was listed.
    """

    starts: Int64[np.ndarray, " n+1"]
    sizes: Int64[np.ndarray, " n"]
    changed: Int64[np.ndarray, " n"]
    folder_of: Int32[np.ndarray, " n"]
    heights: Int32[np.ndarray, " n"]
    widths: Int32[np.ndarray, " n"]
    looked: UInt8[np.ndarray, " n"]
    names: UInt8[np.ndarray, " bytes"]
    folder_names: UInt8[np.ndarray, " bytes"]

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, i: int) -> str:
        """Name of file `i` in its folder."""
        return os.fsdecode(self.names[self.starts[i] : self.starts[i + 1] - 1].tobytes())

    def folders(self) -> list[str]:
        """Every folder that holds pictures, below the one listed, with forward slashes."""
        return os.fsdecode(self.folder_names.tobytes()).split("\0")[:-1]

    def rows(self, folder: int) -> range:
        """The files that lie in folder number `folder` itself."""
        first, last = np.searchsorted(self.folder_of, [folder, folder + 1])
        return range(int(first), int(last))

    def names_in(self, folder: int) -> list[bytes]:
        """The names of those files, as the file system has them."""
        rows = self.rows(folder)
        names = self.names[self.starts[rows.start] : self.starts[rows.stop]]
        return names.tobytes().split(b"\0")[:-1]

    def equals(self, other: "Listing") -> bool:
        """Whether both say the same in everything."""
        return all(np.array_equal(mine, its) for mine, its in zip(self, other, strict=True))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (getattr(self, column.name) for column in fields(self))


def list_pictures(root: Path) -> Listing:
    """The pictures below `root`, none of which has been looked at.

    Whatever has the ending of a picture counts as one, be it a file or not. Hidden files and
    folders are passed over, and folders that a link leads back to.

    Raises:
        FileNotFoundError: if there is no such folder.
        OSError: if a folder cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    folders: list[str] = []
    names: list[bytes] = []
    sizes, changed, counts = array("q"), array("q"), array("q")
    for folder, files in _walk(root, "", (str(root.resolve()),)):
        if files:
            folders.append(folder)
            names.append(os.fsencode("\0".join(name for name, _, _ in files) + "\0"))
            sizes.extend(size for _, size, _ in files)
            changed.extend(time for _, _, time in files)
            counts.append(len(files))
    blob = np.frombuffer(b"".join(names) or bytearray(), np.uint8)
    return Listing(
        starts=np.concatenate([[0], np.flatnonzero(blob == 0) + 1]),
        sizes=np.array(sizes, np.int64),
        changed=np.array(changed, np.int64),
        folder_of=np.repeat(np.arange(len(folders), dtype=np.int32), np.array(counts, np.int64)),
        heights=np.zeros(len(sizes), np.int32),
        widths=np.zeros(len(sizes), np.int32),
        looked=np.zeros(len(sizes), np.uint8),
        names=blob,
        folder_names=np.frombuffer(os.fsencode("".join(f + "\0" for f in folders)), np.uint8),
    )


def carry_over(known: Listing, fresh: Listing) -> None:
    """Writes into `fresh` what `known` tells of files of the same size and time of change."""
    numbers = {folder: number for number, folder in enumerate(known.folders())}
    for number, folder in enumerate(fresh.folders()):
        if folder not in numbers:
            continue
        there = known.rows(numbers[folder])
        place = dict(zip(known.names_in(numbers[folder]), there, strict=True))
        new = np.array(fresh.rows(number))
        old = np.array([place.get(name, -1) for name in fresh.names_in(number)])
        new, old = new[old >= 0], old[old >= 0]
        same = (fresh.sizes[new] == known.sizes[old]) & (fresh.changed[new] == known.changed[old])
        new, old = new[same], old[same]
        fresh.looked[new] = known.looked[old]
        fresh.heights[new] = known.heights[old]
        fresh.widths[new] = known.widths[old]


def read_listing(path: Path, whole: bool = False) -> tuple[Listing, int] | None:
    """The listing kept in `path`, mapped into memory, and its checksum; None if there is none.

    Args:
        path: of the file.
        whole: compare the checksum, which reads all of it; else only its header and length are.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
            lengths, checksum = _parsed(head)
            size = _HEADER + sum(_padded(count) for count in lengths)
            if os.fstat(file.fileno()).st_size != size:
                return None
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # none, or not one of ours
        return None
    begins = accumulate(map(_padded, lengths), initial=_HEADER)
    columns = [
        np.frombuffer(data, kind, count // np.dtype(kind).itemsize, begin)
        for begin, count, kind in zip(begins, lengths, _TYPES.values(), strict=False)
    ]
    listing = Listing(*columns)
    return None if whole and _checksum(listing) != checksum else (listing, checksum)


def write_listing(listing: Listing, path: Path) -> bool:
    """Whether `listing` could be kept in `path`; what was there stays until all is written."""
    lengths = [column.nbytes for column in listing]
    head = _NUMBERS.pack(_MAGIC, _checksum(listing), *lengths)
    head = head.ljust(_HEADER - 4, b"\0")
    # Two machines may share the folder, so the process's number alone would not do.
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with partial.open("xb") as file:
            file.write(head + zlib.crc32(head).to_bytes(4, "little"))
            for column in listing:
                file.write(column.tobytes().ljust(_padded(column.nbytes), b"\0"))
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        return False
    return True


def _walk(folder: Path, below: str, chain: tuple[str, ...]) -> Iterator[tuple[str, list[_File]]]:
    """Each folder's name below the first one and its pictures, a folder before those in it.

    `chain` holds the true paths of this folder and of those above it.
    """
    files: list[_File] = []
    folders: list[tuple[str, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.name[entry.name.rfind(".") :].lower() in SUFFIXES:
                files.append((entry.name, *_status(entry)))
            elif entry.is_dir(follow_symlinks=False):
                folders.append((entry.name, f"{chain[-1]}/{entry.name}"))
            elif entry.is_symlink() and (folder / entry.name).is_dir():
                folders.append((entry.name, str((folder / entry.name).resolve())))
    yield below, sorted(files)
    for name, true in sorted(folders):
        if true not in chain:
            yield from _walk(folder / name, f"{below}/{name}".lstrip("/"), (*chain, true))


def _status(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:  # a look at it tells why
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _parsed(head: bytes) -> tuple[list[int], int]:
    """Bytes of each column and the checksum of all.

    Raises:
        ValueError: if `head` is no header of ours, or damaged.
    """
    if len(head) != _HEADER or zlib.crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        raise ValueError("no header of an index, or a damaged one")
    magic, checksum, *lengths = _NUMBERS.unpack_from(head)
    if magic != _MAGIC:
        raise ValueError(f"an index of another version, {magic!r}")
    return lengths, checksum


def _padded(count: int) -> int:
    return -(-count // 8) * 8


def _checksum(listing: Listing) -> int:
    checksum = 0
    for column in listing:
        checksum = zlib.crc32(column.data, checksum)
    return checksum
