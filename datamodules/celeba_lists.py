"""Which photographs CelebA's two lists tell of, and where in a folder they are."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from jaxtyping import Int64

from datamodules.identities import check_disjoint
from datamodules.index import FileIndex, Positions
from datamodules.stream import Split

Numbers = Int64[np.ndarray, " n"]

PARTITION: Final = "list_eval_partition.txt"
IDENTITY: Final = "identity_CelebA.txt"
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
_LINE: Final = re.compile(rb"^[0-9]{6}\.(?:jpg|png)[ \t]+[0-9]{1,9}[ \t]*\r?$", re.MULTILINE)
_ENDING: Final = re.compile(rb"\.(?:jpg|png)")
_PICTURE: Final = re.compile(r"(?:.*/)?([0-9]{6})\.(?:jpe?g|png)", re.IGNORECASE)
_HOW_TO_GET: Final = (
    "get 'Align&Cropped Images' and both lists from mmlab.ie.cuhk.edu.hk/projects/CelebA.html, or "
    "make a set from your own photographs: make prepare SET=celeba FROM=<photographs>"
)


@final
@dataclass(frozen=True)
class Lists:
    """What the two lists say of each photograph.

    Attributes:
        numbers: of the photographs, in order.
        splits: which of `SPLITS` each is in, from 0.
        people: who is on each.
    """

    numbers: Numbers
    splits: Numbers
    people: Numbers


def read_lists(root: Path) -> Lists:
    """The two lists below `root`, or in its folders `Eval` and `Anno` as they are distributed.

    Raises:
        FileNotFoundError: if one of them is missing.
        ValueError: if a line is not as it should be, the lists tell of different photographs, or
            somebody is in two splits.
    """
    partition = place(root, "Eval", PARTITION)
    identity = place(root, "Anno", IDENTITY)
    numbers, splits = _columns(partition, most=len(SPLITS) - 1)
    others, people = _columns(identity)
    if len(single := np.setxor1d(numbers, others, assume_unique=True)):
        there, lacking = (partition, identity) if single[0] in numbers else (identity, partition)
        raise ValueError(
            f"{len(single)} photographs are in one list only, the first is {single[0]:06d}.jpg, "
            f"which {there} has and {lacking} has not; get both lists again"
        )
    persons = {split: np.unique(people[splits == i]) for i, split in enumerate(SPLITS)}
    try:
        check_disjoint({split: some.astype(str).tolist() for split, some in persons.items()})
    except ValueError as error:
        raise ValueError(
            f"{error}; give all lines of a person in {identity} the same number in {partition}"
        ) from None
    return Lists(numbers, splits, people)


def place(root: Path, folder: str, name: str) -> Path:
    """Where the file or folder `name` lies: below `root`, or in `folder` as it is distributed.

    Raises:
        FileNotFoundError: if it is in neither; says how to get it.
    """
    for path in (root / name, root / folder / name):
        if path.exists():
            return path
    raise FileNotFoundError(f"there is no {root / name}, nor one in {folder}/; {_HOW_TO_GET}")


def _columns(path: Path, most: int | None = None) -> tuple[Numbers, Numbers]:
    """The photographs' numbers in a list, in order, and the number behind each."""
    data = path.read_bytes()
    if _LINE.sub(b"", data).strip():
        raise ValueError(f"{path}, line {_first_wrong(data)}")
    table = np.array(_ENDING.sub(b"", data).split(), "S9").astype(np.int64).reshape(-1, 2)
    if most is not None and len(wrong := np.flatnonzero(table[:, 1] > most)):
        line, told = _line(data, int(wrong[0]))
        raise ValueError(f"{path}, line {line}: expected 0 to {most} behind the name, got {told}")
    order = np.argsort(table[:, 0], kind="stable")
    numbers = table[order, 0]
    if len(again := np.flatnonzero(np.diff(numbers) == 0)):
        line, told = _line(data, int(order[again[0] + 1]))
        raise ValueError(f"{path}, line {line}: {told} is there twice; remove one of both lines")
    return numbers, table[order, 1]


def _first_wrong(data: bytes) -> str:
    lines = enumerate(data.split(b"\n"), start=1)
    number, line = next((n, line) for n, line in lines if line.strip() and not _LINE.match(line))
    told = line[:60].decode(errors="replace")
    return f"{number}: expected a name and a number as in '000001.jpg 0', got '{told}'"


def _line(data: bytes, entry: int) -> tuple[int, str]:
    """The number of the line that holds entry number `entry`, and the line."""
    lines = [(n, line) for n, line in enumerate(data.split(b"\n"), start=1) if line.strip()]
    number, line = lines[entry]
    return number, f"'{line.strip().decode()}'"


def positions(index: FileIndex, numbers: Numbers) -> Positions:
    """Where in `index` the photograph of each of `numbers` is.

    Files that are not named by a number of six digits are passed over.

    Raises:
        ValueError: if a photograph is missing, is there twice, or is not in the lists.
    """
    names = map(index.name, range(len(index)))
    named = [(int(match[1]), i) for i, name in enumerate(names) if (match := _PICTURE.match(name))]
    found, at = np.array(named, np.int64).reshape(-1, 2).T
    order = np.argsort(found, kind="stable")
    found, at = found[order], at[order]
    if len(again := np.flatnonzero(np.diff(found) == 0)):
        both = " and ".join(str(index.path(int(at[again[0] + k]))) for k in range(2))
        raise ValueError(f"{both} have one number; remove one of them")
    if len(missing := np.setdiff1d(numbers, found, assume_unique=True)):
        raise ValueError(
            f"{len(missing)} of {len(numbers)} photographs are not in {index.root}, the first is "
            f"{missing[0]:06d}.jpg; unpack the pictures again"
        )
    if len(unlisted := np.setdiff1d(found, numbers, assume_unique=True)):
        path = index.path(int(at[np.searchsorted(found, unlisted[0])]))
        raise ValueError(f"{path} is in neither list; remove it, or get both lists again")
    return at
