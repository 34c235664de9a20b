"""Which pairs a folder in FFHQR's layout holds, and whether each of its pictures can be read.

The raw half lies in `images1024x1024`, the retouched one in `FFHQR`, both as NNNNN.png, flat or in
folders of a thousand as published; JPEG and WebP are read too. Files of other names are ignored.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.progress import track

from datamodules.images import UnreadableImage, check_header, check_image

Verify = Literal["header", "full"]
"""How closely a picture is looked at: both ends of a PNG, or every pixel and checksum."""

Split = Literal["train", "val", "test"]

RAW: Final = "images1024x1024"
RETOUCHED: Final = "FFHQR"
SPLITS: Final[dict[Split, range]] = {
    "train": range(56_000),
    "val": range(56_000, 63_000),
    "test": range(63_000, 70_000),
}
VERDICTS: Final = ".visagist_index.json"
_NUMBERED: Final = re.compile(r"([0-9]{5})\.(?:png|jpe?g|webp)", re.IGNORECASE)
_DEPTH: Final = 3  # folders below a half; a link that leads back ends here
_NAMED: Final = 5  # broken files that an error lists
_WORTH_A_BAR: Final = 1000
_CHECKS: Final[dict[Verify, Callable[[Path], tuple[int, int]]]] = {
    "header": check_header,
    "full": check_image,
}
_HOW_TO_GET: Final = (
    "get the raw half with NVIDIA's ffhq-dataset and the retouched half from "
    "skylab-tech/ffhqr-dataset (CC BY-NC-SA 4.0), or make a set from your own photographs: "
    "make prepare SET=ffhqr FROM=<photographs>"
)


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
    """Every pair below `root`, by number.

    FFHQ does not say who is on a photograph, so each counts as another person; a drawn or a
    prepared set says it in its `drawn.json` or `prepared.json`.

    Raises:
        FileNotFoundError: if `root` or one of its two folders is missing.
        ValueError: if a picture lacks its other half, is there twice, or belongs to no split.
    """
    for folder in (root, root / RAW, root / RETOUCHED):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}; {_HOW_TO_GET}")
    raw, retouched = _numbered(root / RAW), _numbered(root / RETOUCHED)
    _refuse_single_halves(root, raw, retouched)
    beyond = [number for number in raw if number >= SPLITS["test"].stop]
    if beyond:
        raise ValueError(f"{raw[min(beyond)]} belongs to no split: numbers end at 69999")
    person = _who(root)
    return [Pair(n, raw[n], retouched[n], person(n)) for n in sorted(raw)]


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

    What was found sound is noted in `root/.visagist_index.json` by size and time of change, also
    when the look is interrupted; where `root` cannot be written, everything is looked at each
    time. A "full" look takes 8 s of one core for 1000 PNGs of 512 px (480 kB each), four times
    that at 1024 px, and all cores share it; "header" takes 0.03 s and misses damage inside a PNG.

    Raises:
        ValueError: if a picture cannot be used; names the first five, with the reasons.
    """
    paths = [path for pair in pairs for path in (pair.raw, pair.retouched)]
    known = _read_verdicts(root)
    fresh = {path: _verdict(path, verify) for path in paths}
    unknown = [path for path in paths if not _covers(known.get(_below(root, path)), fresh[path])]
    if not unknown:
        return
    sound: dict[str, list[int]] = {}

    def look(path: Path) -> None:
        _refuse_oblong(path, verify)
        sound[_below(root, path)] = fresh[path]

    try:
        broken = failures(look, unknown, "Checking pictures")
    finally:  # an interrupted look goes on where it was
        _write_verdicts(root, known | sound)
    refuse(broken, root, len(paths))


def failures(action: Callable[[Path], None], paths: Sequence[Path], title: str) -> dict[Path, str]:
    """The reason for each of `paths` on which `action` found an unreadable picture.

    Works on all processor cores, under a progress bar where there is much to do.

    Raises:
        OSError: if `action` does.
    """

    def reason(path: Path) -> str:
        try:
            action(path)
        except UnreadableImage as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = track(
            pool.map(reason, paths),
            title,
            total=len(paths),
            console=Console(stderr=True),
            disable=len(paths) < _WORTH_A_BAR,
        )
        return {path: told for path, told in zip(paths, reasons, strict=True) if told}


def refuse(broken: dict[Path, str], root: Path, total: int) -> None:
    """Nothing, if none of `total` pictures is in `broken`.

    Raises:
        ValueError: otherwise; names the first five, with the reasons.
    """
    if not broken:
        return
    listed = "; ".join(list(broken.values())[:_NAMED])
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    raise ValueError(
        f"{len(broken)} of {total} pictures below {root} cannot be used: {listed}{more}; "
        "replace them, or remove both halves of each pair"
    )


def _numbered(half: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in _entries(half, _DEPTH):
        number = int(path.name[:5])
        if number in found:
            raise ValueError(f"{path} and {found[number]} have one number; remove one of them")
        found[number] = path
    return found


def _entries(folder: Path, depth: int) -> Iterable[Path]:
    """Everything below `folder` that is named like a picture, be it one or not."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _NUMBERED.fullmatch(entry.name):
                yield folder / entry.name
            elif depth > 1 and entry.is_dir():
                yield from _entries(folder / entry.name, depth - 1)


def _refuse_single_halves(root: Path, raw: dict[int, Path], retouched: dict[int, Path]) -> None:
    single = sorted(raw.keys() ^ retouched.keys())
    if not single:
        return
    there, lacking = (raw, RETOUCHED) if single[0] in raw else (retouched, RAW)
    raise ValueError(
        f"{len(single)} of {len(raw.keys() | retouched.keys())} photographs below {root} lack "
        f"their other half; the first is {there[single[0]]}, which has none in {lacking}"
    )


def _who(root: Path) -> Callable[[int], str]:
    """The person on picture `number`, from what made the set."""
    drawn, prepared = root / "drawn.json", root / "prepared.json"
    told = drawn if drawn.exists() else prepared
    if not told.exists():
        return str
    try:
        notes = json.loads(told.read_text())
        if told == drawn:
            photographs = int(notes["faces"]["photographs"])
            return lambda number: str(_first(number) + (number - _first(number)) // photographs)
        people = {
            n: str(photo["group"]) for photo in notes["photographs"] for n in photo["numbers"]
        }
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{told} does not tell who is on which picture: {error}") from error
    return lambda number: people.get(number, str(number))


def _first(number: int) -> int:
    return next(numbers.start for numbers in SPLITS.values() if number in numbers)


def _refuse_oblong(path: Path, verify: Verify) -> None:
    height, width = _CHECKS[verify](path)
    if height != width:
        raise UnreadableImage(f"{path}: is {width} x {height}, not square")


def _below(root: Path, path: Path) -> str:
    return "/".join(path.parts[len(root.parts) :])


def _verdict(path: Path, verify: Verify) -> list[int]:
    """What stands for a sound file: its size, time of change, and how closely it was looked at."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, list(_CHECKS).index(verify)]


def _covers(known: list[int] | None, fresh: list[int]) -> bool:
    if not known or not fresh:
        return False
    return known[:2] == fresh[:2] and known[2] >= fresh[2]


def _read_verdicts(root: Path) -> dict[str, list[int]]:
    try:
        verdicts = json.loads((root / VERDICTS).read_text())
    except (OSError, ValueError):  # none yet, or damaged: everything is looked at again
        return {}
    return verdicts if isinstance(verdicts, dict) else {}


def _write_verdicts(root: Path, verdicts: dict[str, list[int]]) -> None:
    partial = root / f"{VERDICTS}.{os.getpid()}.tmp"
    try:
        partial.write_text(json.dumps(verdicts))
        partial.replace(root / VERDICTS)
    except OSError:  # a read-only set is used all the same
        partial.unlink(missing_ok=True)
