"""A data set in the layout of any here from a folder of anybody's photographs (`make prepare`).

Two passes: the first finds the faces and records them, the second writes the pictures. Both can be
killed at any moment and go on with the next call; a call with nothing left to do writes nothing.
"""

import argparse
import csv
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import testsets
from experiments.options import Parser
from experiments.settings import SettingsError
from experiments.workers import each

if TYPE_CHECKING:  # their packages take seconds to load, which --help need not
    from datamodules.preparation import Photograph, Settings

SETS = ("celeba", "facerenov", "ffhq", "ffhqr", "folder", "frwild", "makeup", "vggface2")
SAVE_EVERY = 500
REPORT = "prepared_report.csv"


def main(argv: Sequence[str]) -> int:
    """The exit code: 0, 2 for wrong settings, 4 if photographs were skipped, 130 on Ctrl-C.

    Args:
        argv: the words after `prepare`.

    Raises:
        SystemExit: after printing the help that `--help` asks for.
    """
    try:
        options = _parser().parse_args(argv)
        ending = "prepared" if options.format == "folder" else "shards"
        options.to = options.to or Path(f"data/{options.set}_{ending}")
        _check(options)
    except SettingsError as error:
        return _refuse(error)
    from datamodules.preparation import PreparationError

    try:
        return _pack(options) if options.format == "webdataset" else _prepare(options)
    except (PreparationError, SettingsError, OSError, BrokenProcessPool) as error:
        return _refuse(error)
    except KeyboardInterrupt:
        _say("prepare: stopped; the same command goes on from here")
        return 130


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _refuse(error: Exception) -> int:
    _say(f"prepare: {error}")
    return 2


def _parser() -> argparse.ArgumentParser:
    line = "A data set in the layout of a published one from a folder of photographs."
    parser = Parser("prepare", line)
    add = parser.add_argument
    kinds = (*SETS, *testsets.NAMES)  # the latter are made there
    add("--set", choices=kinds, default="ffhqr", help="layout to write, or test sets")
    packed = "folder (default); webdataset packs --from, a set that has its layout, into tar shards"
    add("--format", choices=["folder", "webdataset"], default="folder", help=packed)
    add("--per-shard", type=int, help="photographs in a shard; default: 1000, fewer in a small set")
    add("--from", dest="source", type=Path, required=True, help="folder of photographs")
    add("--to", type=Path, help="folder to write; default: data/<set>_prepared or _shards")
    size = "side of the pictures in pixels; celeba's are always 178 x 218"
    add("--size", type=int, default=512, help=size)
    add("--detector", type=Path, help="YuNet as ONNX; default: environment variable VISAGIST_YUNET")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    val = (
        "share of the pictures for validation; facerenov's real_lq; none in folder, frwild, makeup"
    )
    add("--val", type=float, default=0.1, help=val)
    add("--test", type=float, default=0.1, help="share of the pictures for testing")
    add("--seed", type=int, default=0, help="decides who is in which split")
    add("--limit", type=int, help="use so many of the photographs only")
    faces = "of one photograph; none takes it whole, for folder and makeup, and needs no detector"
    add("--faces", choices=["largest", "all", "none"], default="largest", help=faces)
    add("--min-eyes", type=float, default=20.0, help="least distance of the eyes in pixels")
    person = "what is one person; default: folder if all photographs lie in sub-folders, else file"
    add("--group", choices=["folder", "file"], help=person)
    pattern = "regular expression; its first group in a file's name is the person"
    add("--group-pattern", default="", help=pattern)
    return parser


def _check(options: argparse.Namespace) -> None:
    source, target = options.source.resolve(), options.to.resolve()
    whole = options.faces == "none"
    shares = min(options.val, options.test) >= 0 and options.val + options.test < 1
    try:
        groups = re.compile(options.group_pattern).groups
    except re.error as error:
        msg = f"--group-pattern={options.group_pattern} is no regular expression: {error}"
        raise SettingsError(msg) from error
    for right, message in (
        (source.is_dir(), f"--from={options.source} is no folder, give one of photographs"),
        (
            not target.is_relative_to(source),
            f"--to={options.to} is or lies inside --from={options.source}, choose a folder outside",
        ),
        (
            options.set in ("folder", "makeup") or not whole,
            f"--faces=none goes with --set=folder or makeup only, got --set={options.set}",
        ),
        (options.size >= 32, f"--size must be at least 32, got {options.size}"),
        (options.workers >= 1, f"--workers must be at least 1, got {options.workers}"),
        (
            options.per_shard is None or options.per_shard >= 1,
            f"--per-shard must be at least 1, got {options.per_shard}",
        ),
        (options.limit is None or options.limit > 0, f"--limit must be > 0, got {options.limit}"),
        (options.min_eyes > 0, f"--min-eyes must be positive, got {options.min_eyes}"),
        (shares, f"--val={options.val} and --test={options.test} must leave a share to train on"),
        (
            not options.group_pattern or groups >= 1,
            f"--group-pattern={options.group_pattern} has no group, write e.g. ^([0-9]+)",
        ),
    ):
        if not right:
            raise SettingsError(message)


def _settings(options: argparse.Namespace) -> "Settings":
    from datamodules.layouts import LAYOUTS
    from datamodules.preparation import Settings, usual_group

    return Settings(
        size=0 if options.faces == "none" else LAYOUTS[options.set].shape(options.size)[0],
        seed=options.seed,
        val=options.val,
        test=options.test,
        faces=options.faces,
        min_eyes=options.min_eyes,
        group=options.group or usual_group(options.source),
        group_pattern=options.group_pattern,
        set=options.set,
    )


def _pack(options: argparse.Namespace) -> int:
    from experiments import pack

    usual = vars(_parser().parse_args(["--from=."]))
    for name in ("size", "val", "test", "limit", "faces", "min_eyes", "group", "group_pattern"):
        if getattr(options, name) != usual[name]:
            told = f"--{name.replace('_', '-')}={getattr(options, name)}"
            raise SettingsError(
                f"{told} is for photographs; --format=webdataset packs a set with its class's "
                "own splits, whole"
            )

    return pack.main(options.set, options.source, options.to, options.per_shard, options.seed)


def _prepare(options: argparse.Namespace) -> int:
    from datamodules import portraits, preparation

    root, source, settings = options.to, options.source, _settings(options)
    detector = None if options.faces == "none" else _detector(options.detector)
    known = preparation.load(root, settings)
    found = preparation.listing(source, settings, options.limit)
    root.mkdir(parents=True, exist_ok=True)
    for part in root.rglob("*.tmp"):
        if ".cache" not in part.parts:  # where a training may be writing; else of a killed call
            part.unlink()
    look = partial(portraits.examine, source, detector, settings)
    fresh = [photo for photo in found if _is_news(known.get(photo.name), photo)]
    title = "finding faces" if detector else "reading pictures"
    for done, photo in enumerate(each(look, fresh, options.workers, title), 1):
        known[photo.name] = _kept(root, settings, known.get(photo.name), photo)
        if done % SAVE_EVERY == 0:
            preparation.save(root, settings, known)
    if fresh or any(len(photo.numbers) < len(photo.landmarks) for photo in known.values()):
        _skip_copies(list(known.values()))
        preparation.give_numbers(known.values(), settings)
        preparation.save(root, settings, known)
    todo = [p for p in (known[p.name] for p in found) if preparation.is_missing(root, settings, p)]
    write = partial(portraits.write_faces, source, root, settings)
    reasons = list(each(write, todo, options.workers, "writing pictures"))
    skipped = {photo.name: photo.reason for photo in known.values() if photo.reason}
    skipped |= {photo.name: why for photo, why in zip(todo, reasons, strict=True) if why}
    good = [photo for photo in known.values() if photo.name not in skipped]
    preparation.write_annotations(root, settings, good)
    return _report(root, settings, good, skipped | preparation.strangers(source))


def _detector(given: Path | None) -> Path:
    from datamodules.detection import FaceDetector, find_detector

    path = find_detector(given)
    try:
        FaceDetector(path)
    except ValueError as error:
        raise OSError(str(error)) from error
    return path


def _is_news(before: "Photograph | None", now: "Photograph") -> bool:
    return before is None or before.bytes != now.bytes or not before.sha256


def _kept(
    root: Path, settings: "Settings", before: "Photograph | None", now: "Photograph"
) -> "Photograph":
    """`now` with the numbers that the photograph had; its old pictures make room."""
    from datamodules.preparation import picture_files

    if before is not None:
        for path in picture_files(root, settings, before):
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


def _report(
    root: Path, settings: "Settings", good: "list[Photograph]", skipped: dict[str, str]
) -> int:
    """The exit code, after the table of skipped files and a summary of one or two lines."""
    from datamodules.layouts import LAYOUTS
    from datamodules.preparation import write_whole

    table = io.StringIO()
    csv.writer(table).writerows([("name", "reason"), *sorted(skipped.items())])
    data = table.getvalue().encode(errors="surrogateescape")  # a name may be any bytes
    path = root / REPORT
    if not path.exists() or path.read_bytes() != data:
        write_whole(path, data)
    layout = LAYOUTS[settings.set]
    counts = Counter(layout.split_of(number) for photo in good for number in photo.numbers)
    shares = ", ".join(f"{name} {counts[name]}" for name in layout.numbers)
    shown = f" ({shares})" if len(layout.numbers) > 1 else ""
    people = len({photo.group for photo in good})
    of = f" of {people} people" if settings.set != "frwild" else ""
    told = f"{counts.total()} {layout.unit}s{of} in {root}{shown}"
    _say(f"{told}{layout.note and '; ' + layout.note}")
    if lacking := [name for name in layout.numbers if not counts[name] and good]:
        _say(
            f"none is left for {' and '.join(lacking)}: each person is in one split only, and a "
            f"person is a {settings.group_pattern or settings.group} (--group, --group-pattern)"
        )
    if not skipped:
        return 0
    kinds = Counter(re.split(":| as ", reason)[0] for reason in skipped.values())
    why = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    _say(f"{len(skipped)} photographs skipped ({why}); {path} lists them")
    return 4
