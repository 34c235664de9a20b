"""Photographs numbered as in FFHQ: which are there, their retouches, splits, and who is on them.

The raw half lies in `images1024x1024`, the retouched one in `FFHQR`, both as NNNNN.png, flat or in
folders of a thousand as published; JPEG and WebP are read too. Files of other names are ignored.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int64

from datamodules.index import (
    FileIndex,
    Positions,
    Verify,
    examine,
    list_index,
    open_index,
    refuse,
)
from datamodules.stream import Split

Numbers = Int64[np.ndarray, " n"]

RAW: Final = "images1024x1024"
RETOUCHED: Final = "FFHQR"
SPLITS: Final[dict[Split, range]] = {
    "train": range(56_000),
    "val": range(56_000, 63_000),
    "test": range(63_000, 70_000),
}
REMEDY: Final = "replace them, or remove both halves of each pair"
_NUMBERED: Final = re.compile(r"(?:.*/)?([0-9]{5})\.(?:png|jpe?g|webp)", re.IGNORECASE)
_HOW_TO_GET: Final = {
    False: "get NVIDIA's ffhq-dataset, or make a set from your own photographs: "
    "make prepare SET=ffhq FROM=<photographs>",
    True: "get the raw half with NVIDIA's ffhq-dataset and the retouched half from "
    "skylab-tech/ffhqr-dataset (CC BY-NC-SA 4.0), or make a set from your own photographs: "
    "make prepare SET=ffhqr FROM=<photographs>",
}
"""Of the photographs alone, and of both halves."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A photograph, its retouched form, and who is on it as far as the set tells."""

    number: int
    raw: Path
    retouched: Path
    person: str

    @property
    def name(self) -> str:
        """The number as in the file's name."""
        return f"{self.number:05d}"


def list_pairs(root: Path) -> list[Pair]:
    """Every pair below `root`, by number; for who is on them see `people`.

    Raises:
        FileNotFoundError: if `root` or one of its two folders is missing.
        ValueError: if a picture lacks its other half, is there twice, or belongs to no split.
    """
    _require(root, RAW, RETOUCHED)
    raw, retouched = _paths(root / RAW), _paths(root / RETOUCHED)
    _refuse_single_halves(root, raw, retouched)
    person = people(root)
    return [Pair(n, raw[n], retouched[n], person(n)) for n in raw]


def of_split(pairs: Iterable[Pair], split: Split) -> list[Pair]:
    """The pairs whose number lies in `split`.

    Raises:
        ValueError: if there are none.
    """
    numbers = SPLITS[split]
    chosen = [pair for pair in pairs if pair.number in numbers]
    if not chosen:
        raise ValueError(
            f"the set holds no photograph for {split}: none is numbered "
            f"{numbers.start:05d} to {numbers.stop - 1:05d}"
        )
    return chosen


def check_pairs(root: Path, pairs: Sequence[Pair], verify: Verify = "full") -> None:
    """Nothing, after a look at every picture that has changed since the last look.

    Each half keeps what was found in an index of its own; see `datamodules.index.make_index`.

    Raises:
        ValueError: if a picture cannot be used; names the first five, with the reasons.
    """
    paths = [path for pair in pairs for path in (pair.raw, pair.retouched)]
    wanted = frozenset(map(str, paths))

    def choose(index: FileIndex) -> Positions:
        chosen = [i for i, name in enumerate(index.names()) if f"{index.root}/{name}" in wanted]
        return np.array(chosen, np.int64)

    broken: dict[Path, str] = {}
    for half in (RAW, RETOUCHED):
        broken |= examine(root / half, verify, oblong=False, choose=choose)[1]
    refuse({path: broken[path] for path in paths if path in broken}, root, len(paths), REMEDY)


def check_photographs(root: Path, verify: Verify, wanted: Collection[range]) -> None:
    """Nothing, after a look at the raw photographs that have changed since the last look.

    Args:
        root: folder of the set.
        verify: how closely to look.
        wanted: the numbers of the photographs that will be read.

    Raises:
        FileNotFoundError: if `root` or its folder of raw photographs is missing.
        ValueError: if a number is there twice or belongs to no split, or a picture cannot be
            used; names the first five, with the reasons.
    """
    _require(root, RAW)

    def chosen(index: FileIndex) -> Positions:
        numbers, positions = numbering(index)
        within = [(numbers >= some.start) & (numbers < some.stop) for some in wanted]
        return positions[np.any(within, axis=0)]

    index, broken = examine(root / RAW, verify, oblong=False, choose=chosen)
    refuse(broken, root / RAW, len(chosen(index)))


def numbered_photographs(root: Path) -> tuple[FileIndex, Numbers, Positions]:
    """The files of the raw half, the photographs' numbers in order, and where in the files each is.

    The retouched half need not be there. `check_photographs` looks at the files and keeps the
    index that is opened here.

    Raises:
        FileNotFoundError: if `root` or its folder of raw photographs is missing.
        ValueError: if a number is there twice or belongs to no split.
    """
    _require(root, RAW)
    index = open_index(root / RAW)
    return index, *numbering(index)


def numbering(index: FileIndex) -> tuple[Numbers, Positions]:
    """The numbers that files are called by, in order, and the position of each file.

    Raises:
        ValueError: if a number is there twice, or belongs to no split.
    """
    found: dict[int, int] = {}
    for position, name in enumerate(index.names()):
        named = _NUMBERED.fullmatch(name)
        if not named:
            continue
        number = int(named[1])
        if number in found:
            both = f"{index.path(position)} and {index.path(found[number])}"
            raise ValueError(f"{both} have one number; remove one of them")
        found[number] = position
    numbers = sorted(found)
    if numbers and numbers[-1] >= SPLITS["test"].stop:
        beyond = next(n for n in numbers if n >= SPLITS["test"].stop)
        raise ValueError(
            f"{index.path(found[beyond])} belongs to no split: numbers end at 69999; remove it"
        )
    return np.array(numbers, np.int64), np.array([found[n] for n in numbers], np.int64)


def people(root: Path) -> Callable[[int], str]:
    """Who is on the photograph of a number, from what made the set.

    FFHQ does not say who is on a photograph, so each counts as another person; a drawn or a
    prepared set says it in its `drawn.json` or `prepared.json`.

    Raises:
        ValueError: if that file does not say it after all.
    """
    drawn, prepared = root / "drawn.json", root / "prepared.json"
    told = drawn if drawn.exists() else prepared
    if not told.exists():
        return str
    try:
        notes = json.loads(told.read_text())
        if told == drawn:
            photographs = int(notes["faces"]["photographs"])
            return lambda number: str(_first(number) + (number - _first(number)) // photographs)
        groups = {
            n: str(photo["group"]) for photo in notes["photographs"] for n in photo["numbers"]
        }
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{told} does not tell who is on which picture: {error}") from error
    return lambda number: groups.get(number, str(number))


def _require(root: Path, *halves: str) -> None:
    for folder in (root, *(root / half for half in halves)):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder}; {_HOW_TO_GET[RETOUCHED in halves]}"
            )


def _paths(half: Path) -> dict[int, Path]:
    index = list_index(half)
    numbers, positions = numbering(index)
    return {
        number: index.path(position)
        for number, position in zip(numbers.tolist(), positions.tolist(), strict=True)
    }


def _refuse_single_halves(root: Path, raw: dict[int, Path], retouched: dict[int, Path]) -> None:
    single = sorted(raw.keys() ^ retouched.keys())
    if not single:
        return
    there, lacking = (raw, RETOUCHED) if single[0] in raw else (retouched, RAW)
    raise ValueError(
        f"{len(single)} of {len(raw.keys() | retouched.keys())} photographs below {root} lack "
        f"their other half; the first is {there[single[0]]}, which has none in {lacking}"
    )


def _first(number: int) -> int:
    return next(numbers.start for numbers in SPLITS.values() if number in numbers)
