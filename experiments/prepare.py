"""A data set in the layout of FFHQR from a folder of anybody's photographs (`make prepare`).

Two passes: the first finds the faces and records them, the second writes the pairs. Both can be
killed at any moment and go on with the next call; a call with nothing left to do writes nothing.
"""

import argparse
import csv
import io
import multiprocessing
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:  # their packages take seconds to load, which --help need not
    from datamodules.preparation import Photograph, Settings

SAVE_EVERY = 500
REPORT = "prepared_report.csv"
Result = TypeVar("Result")


class _WrongOption(ValueError):
    """A setting that cannot be; the message is one sentence for the user."""


def main(argv: Sequence[str]) -> int:
    """The exit code: 0, 2 for wrong settings, 4 if photographs were skipped, 130 on Ctrl-C.

    Args:
        argv: the words after `prepare`.

    Raises:
        SystemExit: after printing the help that `--help` asks for.
    """
    try:
        options = _parser().parse_args(argv)
        _check(options)
    except _WrongOption as error:
        return _refuse(error)
    from datamodules.preparation import PreparationError

    try:
        return _prepare(options)
    except (PreparationError, OSError, BrokenProcessPool) as error:
        return _refuse(error)
    except KeyboardInterrupt:
        _say("prepare: stopped; the same command goes on from here")
        return 130


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _refuse(error: Exception) -> int:
    _say(f"prepare: {error}")
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage and leaving."""
        raise _WrongOption(f"{message}; --help lists the settings")


def _parser() -> argparse.ArgumentParser:
    line = "A data set in the layout of FFHQR from a folder of photographs."
    parser = _Parser("prepare", description=line, allow_abbrev=False)
    add = parser.add_argument
    add("--set", choices=["ffhqr"], default="ffhqr", help="layout to write")
    add("--from", dest="source", type=Path, required=True, help="folder of photographs")
    add("--to", type=Path, default=Path("data/ffhqr_prepared"), help="folder to write")
    add("--size", type=int, default=512, help="side of the pictures in pixels")
    add("--detector", type=Path, help="YuNet as ONNX; default: environment variable VISAGIST_YUNET")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    add("--val", type=float, default=0.1, help="share of the pictures for validation")
    add("--test", type=float, default=0.1, help="share of the pictures for testing")
    add("--seed", type=int, default=0, help="decides who is in which split")
    add("--limit", type=int, help="use so many of the photographs only")
    add("--faces", choices=["largest", "all"], default="largest", help="of one photograph")
    add("--min-eyes", type=float, default=20.0, help="least distance of the eyes in pixels")
    person = "what is one person; default: folder if all photographs lie in sub-folders, else file"
    add("--group", choices=["folder", "file"], help=person)
    pattern = "regular expression; its first group in a file's name is the person"
    add("--group-pattern", default="", help=pattern)
    return parser


def _check(options: argparse.Namespace) -> None:
    source, target = options.source.resolve(), options.to.resolve()
    shares = min(options.val, options.test) >= 0 and options.val + options.test < 1
    try:
        groups = re.compile(options.group_pattern).groups
    except re.error as error:
        msg = f"--group-pattern={options.group_pattern} is no regular expression: {error}"
        raise _WrongOption(msg) from error
    for right, message in (
        (source.is_dir(), f"--from={options.source} is no folder, give one of photographs"),
        (
            not target.is_relative_to(source),
            f"--to={options.to} lies inside --from={options.source}, choose a folder outside",
        ),
        (options.size >= 32, f"--size must be at least 32, got {options.size}"),
        (options.workers >= 1, f"--workers must be at least 1, got {options.workers}"),
        (options.limit is None or options.limit > 0, f"--limit must be > 0, got {options.limit}"),
        (options.min_eyes > 0, f"--min-eyes must be positive, got {options.min_eyes}"),
        (shares, f"--val={options.val} and --test={options.test} must leave a share to train on"),
        (
            not options.group_pattern or groups >= 1,
            f"--group-pattern={options.group_pattern} has no group, write e.g. ^([0-9]+)",
        ),
    ):
        if not right:
            raise _WrongOption(message)


def _settings(options: argparse.Namespace) -> "Settings":
    from datamodules.preparation import Settings, usual_group

    return Settings(
        size=options.size,
        seed=options.seed,
        val=options.val,
        test=options.test,
        faces=options.faces,
        min_eyes=options.min_eyes,
        group=options.group or usual_group(options.source),
        group_pattern=options.group_pattern,
    )


def _prepare(options: argparse.Namespace) -> int:
    from datamodules import preparation

    root, source, settings = options.to, options.source, _settings(options)
    detector = _detector(options.detector)
    root.mkdir(parents=True, exist_ok=True)
    for part in [*root.glob("*.tmp"), *root.glob("*/*/*.tmp")]:  # of a call that was killed
        part.unlink()
    known = preparation.load(root, settings)
    found = preparation.listing(source, settings, options.limit)
    fresh = [photo for photo in found if _is_news(known.get(photo.name), photo)]
    look = partial(preparation.examine, source, detector, settings)
    for done, photo in enumerate(_each(look, fresh, options.workers, "finding faces"), 1):
        known[photo.name] = _kept(root, known.get(photo.name), photo)
        if done % SAVE_EVERY == 0:
            preparation.save(root, settings, known)
    if fresh or any(len(photo.numbers) < len(photo.landmarks) for photo in known.values()):
        _skip_copies(list(known.values()))
        preparation.give_numbers(known.values(), settings)
        preparation.save(root, settings, known)
    todo = [known[photo.name] for photo in found if preparation.is_missing(root, known[photo.name])]
    write = partial(preparation.write_pairs, source, root, settings)
    reasons = list(_each(write, todo, options.workers, "retouching"))
    skipped = {photo.name: photo.reason for photo in known.values() if photo.reason}
    skipped |= {photo.name: why for photo, why in zip(todo, reasons, strict=True) if why}
    return _report(root, [p for p in known.values() if p.name not in skipped], skipped)


def _detector(given: Path | None) -> Path:
    from datamodules.detection import FaceDetector, find_detector

    path = find_detector(given)
    try:
        FaceDetector(path)
    except ValueError as error:
        raise OSError(str(error)) from error
    return path


def _is_news(before: "Photograph | None", now: "Photograph") -> bool:
    return before is None or before.bytes != now.bytes


def _kept(root: Path, before: "Photograph | None", now: "Photograph") -> "Photograph":
    """`now` with the numbers that the photograph had; its old pictures make room."""
    from datamodules.preparation import paths

    if before is not None:
        for path in (path for number in before.numbers for path in paths(root, number)):
            path.unlink(missing_ok=True)
        now.numbers = before.numbers[: len(now.landmarks)]
    return now


def _skip_copies(photographs: "list[Photograph]") -> None:
    """Marks new photographs with the bytes of another: a copy could end up in two splits."""
    first: dict[str, str] = {}
    for photo in sorted(photographs, key=lambda photo: (not photo.numbers, photo.name)):
        original = first.setdefault(photo.sha256, photo.name)
        if original != photo.name and not photo.numbers and photo.landmarks:
            photo.reason, photo.landmarks = f"same bytes as {original}", []


def _each(
    function: "Callable[[Photograph], Result]",
    items: "list[Photograph]",
    workers: int,
    title: str,
) -> Iterator[Result]:
    """`function` of every item in order, by `workers` processes, under a progress bar."""
    if not items:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(title, total=len(items))
        for result in _mapped(function, items, min(workers, len(items))):
            progress.advance(bar)
            yield result


def _mapped(
    function: "Callable[[Photograph], Result]", items: "list[Photograph]", workers: int
) -> Iterator[Result]:
    if workers == 1:
        yield from map(function, items)
        return
    # Forked from a server that has loaded everything once: quick, and safe beside our threads.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(["datamodules.preparation"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield from pool.map(function, items, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread a process, Ctrl-C left to the parent, and an end when the parent is killed."""
    import signal

    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _report(root: Path, good: "list[Photograph]", skipped: dict[str, str]) -> int:
    """The exit code, after the table of skipped files and a summary of one or two lines."""
    from datamodules.preparation import SPLITS, split_of, write_whole

    table = io.StringIO()
    csv.writer(table).writerows([("name", "reason"), *sorted(skipped.items())])
    data = table.getvalue().encode()
    path = root / REPORT
    if not path.exists() or path.read_bytes() != data:
        write_whole(path, data)
    counts = Counter(split_of(number) for photo in good for number in photo.numbers)
    shares = ", ".join(f"{name} {counts[name]}" for name in SPLITS)
    _say(f"{counts.total()} pairs in {root} ({shares})")
    if not skipped:
        return 0
    kinds = Counter(re.split(":| as ", reason)[0] for reason in skipped.values())
    why = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    _say(f"{len(skipped)} photographs skipped ({why}); {path} lists them")
    return 4
