"""The pictures below a folder, listed once and looked at once, for sets of a million files.

`make_index` lists the folder, looks at what is new or has changed, and keeps what it found in one
file, `.visagist_index`, in the folder itself. `open_index` maps that file into memory: processes
and workers share its pages, and sending an index to a worker sends a path.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, final

import numpy as np
from jaxtyping import Int32, Int64
from rich.console import Console
from rich.progress import track

from datamodules.images import UnreadableImage, check_header, check_image
from datamodules.listing import SUFFIXES as SUFFIXES  # importable from here too
from datamodules.listing import (
    Listing,
    carry_over,
    list_pictures,
    read_listing,
    write_listing,
)

Verify = Literal["header", "full"]
"""How closely a picture is looked at: both ends of a PNG, or every pixel and checksum."""

Positions = Int64[np.ndarray, " n"]
Item = TypeVar("Item")

INDEX: Final = ".visagist_index"
_NAMED: Final = 5  # broken files that an error lists
_WORTH_A_BAR: Final = 1000
_AT_A_TIME: Final = 64  # looks that a thread takes on; one by one, handing them out would dominate
_HANDED_OUT: Final = 512  # such shares that wait for a thread
_CHECKS: Final[dict[Verify, Callable[[Path], tuple[int, int]]]] = {
    "header": check_header,
    "full": check_image,
}


@final
class FileIndex:
    """The pictures below a folder, in the order of their folders and in each of their names.

    Folders are compared part by part and all names by code point, so that everything below a
    folder stands together. A file that is gone or replaced since is told of when it is read.

    Args:
        root: the folder.
        listing: what is in it.
        checksum: of the file that holds the listing; None if it is in this process's memory only.
    """

    def __init__(self, root: Path, listing: Listing, checksum: int | None = None) -> None:
        self.root = root
        self.listing = listing
        self._checksum = checksum

    def __len__(self) -> int:
        return len(self.listing)

    def name(self, i: int) -> str:
        """The path of file `i` below the root, with forward slashes.

        Raises:
            IndexError: if `i` is not in 0 .. len - 1.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"position must be in 0 .. {len(self) - 1}, got {i}")
        folder = self.folders[self.listing.folder_of[i]]
        return f"{folder}/{self.listing.name(i)}" if folder else self.listing.name(i)

    def names(self) -> Iterator[str]:
        """The names of all files in order, quicker than one by one."""
        for number, folder in enumerate(self.folders):
            start = f"{folder}/" if folder else ""
            for name in self.listing.names_in(number):
                yield start + os.fsdecode(name)

    def path(self, i: int) -> Path:
        """The path of file `i`.

        Raises:
            IndexError: if `i` is not in 0 .. len - 1.
        """
        return self.root / self.name(i)

    @cached_property
    def folders(self) -> list[str]:
        """The folders that hold files, below the root; "" is the root itself."""
        return self.listing.folders()

    @property
    def folder_of(self) -> Int32[np.ndarray, " n"]:
        """The number of each file's folder in `folders`."""
        return self.listing.folder_of

    def below(self, folder: str) -> Positions:
        """Positions of the files in `folder` or any folder below it; none if there are none."""
        wanted = _parts(folder.strip("/"))

        def start(name: str) -> tuple[str, ...]:
            return _parts(name)[: len(wanted)]

        first = bisect_left(self.folders, wanted, key=start)
        last = bisect_right(self.folders, wanted, key=start)
        return np.arange(*np.searchsorted(self.folder_of, [first, last]), dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._checksum is None:
            return FileIndex, (self.root, self.listing)
        return _reopened, (self.root, self._checksum)


def make_index(root: Path, verify: Verify = "header") -> FileIndex:
    """The pictures below `root`, after a look at every one that has changed since the last look.

    What was found sound is kept in `root/.visagist_index` by size and time of change, also when
    the look is interrupted; where `root` cannot be written, everything is looked at each time. Of
    a million files, listing takes seconds and a "header" look a minute or two; a "full" look takes
    8 s of one core for 1000 PNGs of 512 px (480 kB each), and all cores share it, while "header"
    misses damage inside a PNG. Call this in one process, before `open_index` in any.

    Args:
        root: the folder; hidden files and folders in it, and files of other endings, are ignored.
        verify: how closely to look.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there are no pictures, or some cannot be used; names the first five.
    """
    index, broken = examine(root, verify, oblong=True, choose=lambda found: np.arange(len(found)))
    if not index:
        endings = ", ".join(sorted(SUFFIXES))
        raise ValueError(f"there is no picture below {root}: no file ends in {endings}")
    refuse(broken, root, len(index))
    return index


def open_index(root: Path) -> FileIndex:
    """The pictures below `root` as `make_index` found them last.

    Where it could keep nothing, or what it kept is damaged, the folder is listed anew, as
    `list_index` does; an index left in a folder that can no longer be written is taken as it is.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    kept = read_listing(root / INDEX)
    return FileIndex(root, *kept) if kept else list_index(root)


def list_index(root: Path) -> FileIndex:
    """The pictures that are below `root` now, in memory; nothing is looked at or written.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    return FileIndex(root, list_pictures(root))


def examine(
    root: Path, verify: Verify, oblong: bool, choose: Callable[[FileIndex], Positions]
) -> tuple[FileIndex, dict[Path, str]]:
    """What `make_index` gives, and the reason for each picture that cannot be used.

    Args:
        root: as in `make_index`, which looks at all pictures.
        verify: likewise.
        oblong: whether pictures may be other than square.
        choose: which of the pictures to look at.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    fresh = list_pictures(root)
    kept = read_listing(root / INDEX, whole=True)
    if kept:
        carry_over(kept[0], fresh)
    found = FileIndex(root, fresh)
    chosen = choose(found)
    try:
        broken = _look(found, chosen, verify)
    finally:  # an interrupted look goes on where it was
        if not (kept and fresh.equals(kept[0])) and write_listing(fresh, root / INDEX):
            kept = read_listing(root / INDEX)
    if not oblong:
        broken |= _oblong(found, chosen)
    told = {found.path(i): broken[i] for i in sorted(broken)}
    current = kept is not None and fresh.equals(kept[0])
    return (FileIndex(root, *kept) if kept and current else found), told


def failures(action: Callable[[Item], None], items: Sequence[Item], title: str) -> dict[Item, str]:
    """The reason for each of `items` on which `action` found an unreadable picture.

    Works on all processor cores, under a progress bar where there is much to do.

    Raises:
        OSError: if `action` does.
    """
    cores = os.cpu_count() or 1
    share = max(1, min(_AT_A_TIME, len(items) // (4 * cores)))
    parts = _cut(_cut(items, share), _HANDED_OUT)

    def reasons(part: Sequence[Item]) -> list[tuple[Item, str]]:
        return [(item, told) for item in part if (told := _reason(action, item))]

    with ThreadPoolExecutor(cores) as pool:
        try:
            done = track(
                chain.from_iterable(pool.map(reasons, some) for some in parts),
                title,
                total=-(-len(items) // share),
                console=Console(stderr=True),
                disable=len(items) < _WORTH_A_BAR,
            )
            return {item: told for part in done for item, told in part}
        except BaseException:  # else leaving the pool would wait for all that has not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def refuse(
    broken: Mapping[Path, str], root: Path, total: int, remedy: str = "replace or remove them"
) -> None:
    """Nothing, if none of `total` pictures is in `broken`.

    Raises:
        ValueError: otherwise; names the first five, with the reasons, and says what to do.
    """
    if not broken:
        return
    listed = "; ".join(list(broken.values())[:_NAMED])
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    raise ValueError(
        f"{len(broken)} of {total} pictures below {root} cannot be used: {listed}{more}; {remedy}"
    )


def _look(index: FileIndex, chosen: Positions, verify: Verify) -> dict[int, str]:
    """Reasons by position; what is found sound is noted in the index's listing."""
    listing, level = index.listing, 1 + list(_CHECKS).index(verify)

    def look(i: int) -> None:
        listing.heights[i], listing.widths[i] = _CHECKS[verify](index.path(i))
        listing.looked[i] = level if listing.sizes[i] >= 0 else 0

    unknown = chosen[listing.looked[chosen] < level]
    return failures(look, unknown.tolist(), "Checking pictures") if len(unknown) else {}


def _oblong(index: FileIndex, chosen: Positions) -> dict[int, str]:
    heights, widths = index.listing.heights[chosen], index.listing.widths[chosen]
    return {
        int(i): f"{index.path(i)}: is {width} x {height}, not square"
        for i, height, width in zip(chosen, heights, widths, strict=True)
        if height != width
    }


def _cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _reason(action: Callable[[Item], None], item: Item) -> str:
    try:
        action(item)
    except UnreadableImage as error:
        return str(error)
    return ""


def _reopened(root: Path, checksum: int) -> FileIndex:
    """The index that another process has opened.

    Raises:
        ValueError: if it has been made again since, so that its positions may have moved.
    """
    index = open_index(root)
    if index._checksum != checksum:
        raise ValueError(
            f"{root / INDEX} has changed since this run began; start it again, and leave the "
            "set as it is while it runs"
        )
    return index


def _parts(folder: str) -> tuple[str, ...]:
    return tuple(folder.split("/")) if folder else ()
