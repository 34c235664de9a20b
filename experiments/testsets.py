"""`prepare --set=nasfe_tests` or `ispl_tests`: fixed test sets from a data set's test split."""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.options import Parser
from experiments.settings import SettingsError

if TYPE_CHECKING:
    from datamodules.photographs import Photographs
    from datamodules.testsets import Work

NAMES = ("nasfe_tests", "ispl_tests")


LAYOUTS = ("celeba", "ffhq", "folder", "vggface2")


@dataclass(frozen=True)
class Wish:
    """What test sets the user wants.

    Attributes:
        suite: one of `NAMES`.
        source: folder of a data set.
        layout: of that data set: ffhq, celeba, vggface2 or folder.
        target: folder to write.
        photographs: how many of the set's test photographs; 0 takes all.
        size: side of the pictures in pixels where the layout leaves it open.
        seed: of the choice and of the degradations.
        workers: processes.
    """

    suite: str
    source: Path
    layout: str
    target: Path
    photographs: int
    size: int
    seed: int
    workers: int


def main(argv: Sequence[str]) -> int:
    """The exit code, after writing the sets and saying how many files each has.

    Args:
        argv: the words after `prepare`.

    Raises:
        SettingsError: if a setting is wrong or the data set cannot be used.
    """
    told = _parser().parse_args(argv)
    target = told.to or Path("data") / told.suite
    layout = told.layout or ("celeba" if told.suite == "nasfe_tests" else "ffhq")
    photographs = told.photographs
    if photographs is None:
        photographs = 100 if told.suite == "nasfe_tests" else 0  # the papers' counts
    if told.workers < 1:
        raise SettingsError(f"--workers must be at least 1, got {told.workers}")
    size = told.size or (224 if layout == "vggface2" else 512)
    wish = Wish(told.suite, told.source, layout, target, photographs, size, told.seed, told.workers)
    try:
        counts = write(wish)
    except (ValueError, OSError) as error:
        raise SettingsError(str(error)) from error
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    sys.stdout.write(f"test sets in {target}: {listed}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prepare", str(__doc__))
    add = parser.add_argument
    add("--set", dest="suite", choices=NAMES, required=True, help="whose test sets")
    add("--from", dest="source", type=Path, required=True, help="folder of a data set")
    add("--to", type=Path, help="folder to write; default: data/<set>")
    add("--layout", choices=LAYOUTS, help="of that data set; default: the paper's own")
    add("--photographs", type=int, help="of its test split, 0 for all; default: as in the paper")
    add("--size", type=int, help="side in pixels; default: as in the paper; celeba is 176 x 144")
    add("--seed", type=int, default=0, help="of the choice and of the degradations")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


def write(wish: Wish) -> dict[str, int]:
    """How many files each test set has, after writing what was missing.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if a setting is wrong, or the folder holds something else.
        OSError: if a file cannot be written.
    """
    from datamodules.testsets import Plan, finish, outstanding

    plan = Plan(wish.suite, wish.photographs, wish.seed)
    work = outstanding(wish.target, plan, test_photographs(wish))
    for _ in _bar(_each(work, wish.workers), len(work)):
        pass
    return finish(wish.target)


def test_photographs(wish: Wish) -> "Photographs":
    """The test split of the data set, undegraded.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if there is no such layout, or the set is not whole.
    """
    from experiments.pack import data_set

    module = data_set(wish.layout, wish.source, wish.size)
    return module.photographs["test"]


def _each(work: "list[Work]", workers: int) -> Iterator[None]:
    from datamodules.testsets import write_photograph

    if workers == 1 or len(work) < 2:
        yield from map(write_photograph, work)
        return
    context = multiprocessing.get_context("spawn")  # a forked child would inherit threads' locks
    with ProcessPoolExecutor(min(workers, len(work)), mp_context=context) as pool:
        yield from pool.map(write_photograph, work)


def _bar(done: Iterator[None], total: int) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(done, "Writing test sets", total=total, console=console, disable=not total)
