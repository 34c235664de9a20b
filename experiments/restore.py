"""Restores photographs, folders and clips by a trained network (`make restore`)."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.options import COMMANDS, Parser
from experiments.settings import SettingsError, first_process

if TYPE_CHECKING:  # their packages take seconds to load, which --help need not
    from datamodules.inbox import Entry
    from experiments.outbox import Outbox
    from experiments.records import Record

VERSION = 1  # of what is written: another number means other bytes
PANELS = 50
FAILED = 4


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, 4 if a file could not be restored, 1 if nothing can be written.

    Args:
        arguments: the words after `restore`.

    Raises:
        SettingsError: if a setting is wrong or a file that it names is missing.
        SystemExit: after printing the help that `--help` asks for.
    """
    options = _parser().parse_args(arguments)
    _check(options)
    return _restore(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("restore", f"{COMMANDS['restore'].capitalize()}.")
    add = parser.add_argument
    add("--ckpt", type=Path, required=True, help="a checkpoint, or the folder of a run")
    add("--in", dest="given", required=True, help="a photograph, a folder, a pattern or a clip")
    add("--out", type=Path, required=True, help="folder to write")
    add("--aligned", action="store_true", help="the pictures are crops: look for no faces")
    size = "of the crops that the network sees; default: what it was trained at"
    add("--size", type=int, help=f"height {size}")
    tile = "restore aligned pictures at their own size, by squares of so many pixels; 0: do not"
    add("--tile", type=int, default=0, help=tile)
    add("--detector", type=Path, help="YuNet as ONNX; default: environment variable VISAGIST_YUNET")
    add("--judge", type=Path, help="run of an embedder, for the identity before and after")
    add("--references", help="folder of clean photographs of the person, for NASFE")
    add("--panels", default=str(PANELS), help="how many pictures before | after to draw, or all")
    add("--devices", default="1", help="processors or GPUs to share the files among, or auto")
    add("--nodes", type=int, default=1, help="machines to share the files among")
    add("--accelerator", default="auto", help="cpu, gpu, ... or auto")
    return parser


def _check(options: argparse.Namespace) -> None:
    counted = options.panels == "all" or options.panels.isdigit()
    for right, message in (
        (options.size is None or options.size >= 16, f"--size must be 16 up, got {options.size}"),
        (
            options.tile == 0 or options.tile >= 32,
            f"--tile must be 0, or 32 pixels or more, got {options.tile}",
        ),
        (
            options.aligned or not options.tile,
            "--tile goes with --aligned only: found faces are cut out at the network's size",
        ),
        (
            not (options.tile and options.references),
            "--references go with faces at the network's size; leave --tile out",
        ),
        (counted, f"--panels must be a number or all, got {options.panels}"),
        (
            options.devices == "auto" or (options.devices.isdigit() and int(options.devices) > 0),
            f"--devices must be a number above 0 or auto, got {options.devices}",
        ),
        (options.nodes > 0, f"--nodes must be above 0, got {options.nodes}"),
    ):
        if not right:
            raise SettingsError(message)


def _restore(options: argparse.Namespace) -> int:
    from experiments.networks import checkpoint_file
    from experiments.records import finished, read_records

    checkpoint = checkpoint_file(options.ckpt)
    entries = _entries(options)
    detector = None if options.aligned else _detector_file(options.detector)
    key = _key(options, checkpoint, detector)
    folder, known = options.out, read_records(options.out)
    refused = _refused(entries, known, key, folder)
    done = frozenset(e.name for e in entries if finished(e, known.get(e.name), key, folder))
    done |= refused.keys()
    if len(done) < len(entries):
        code = _predict(options, entries, done, key, detector)
        if code:
            return code
    elif first_process() and not refused:
        sys.stderr.write("nothing left to do: every file was restored with these settings\n")
    return _summed_up(folder, entries, refused) if first_process() else 0


def _refused(
    entries: "list[Entry]", known: "dict[str, Record]", key: str, folder: Path
) -> "dict[str, Record]":
    """Files whose results would take another's place, by name."""
    from experiments.records import begun, refusal

    reasons = {entry.name: refusal(entry, known.get(entry.name), folder) for entry in entries}
    return {e.name: begun(e, key, reasons[e.name]) for e in entries if reasons[e.name]}


def _entries(options: argparse.Namespace) -> "list[Entry]":
    """The files to restore, none of which is written over."""
    from datamodules.inbox import listed

    out, source = options.out, Path(options.given)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise SettingsError(f"--out={out} is or lies inside --in={source}, choose a folder outside")
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out={out} is no folder")
    try:
        entries = listed(options.given)
    except (OSError, ValueError, NotImplementedError) as error:
        raise SettingsError(f"--in={options.given}: {error}") from error
    taken: dict[str, Entry] = {}
    inputs = {os.path.realpath(entry.path) for entry in entries}  # links may lead in a circle
    for entry in entries:
        path = os.path.realpath(out / entry.output)
        if path in inputs:
            raise SettingsError(f"{entry.path} would be written over, give another --out")
        if path in taken:
            raise SettingsError(
                f"{taken[path].name} and {entry.name} would both be written to {path}; rename one"
            )
        taken[path] = entry
    return entries


def _detector_file(given: Path | None) -> Path:
    from datamodules.detection import find_detector

    try:
        return find_detector(given)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{error}; or say --aligned if the pictures are crops") from error


def _key(options: argparse.Namespace, checkpoint: Path, detector: Path | None) -> str:
    """What decides the bytes of the output beside the input, as a digest."""
    from experiments.networks import checkpoint_file

    judge = checkpoint_file(options.judge) if options.judge else None
    told: dict[str, Any] = {name: getattr(options, name) for name in ("aligned", "size", "tile")}
    told |= {"version": VERSION, "references": _references(options.references)}
    for name, path in (("checkpoint", checkpoint), ("detector", detector), ("judge", judge)):
        told[name] = _digest(path) if path else ""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _references(folder: str | None) -> list[str]:
    """Digests of the clean photographs."""
    from datamodules.inbox import listed

    try:
        return [_digest(entry.path) for entry in listed(folder)] if folder else []
    except (OSError, ValueError, NotImplementedError) as error:
        raise SettingsError(f"--references={folder}: {error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _predict(
    options: argparse.Namespace,
    entries: "list[Entry]",
    done: frozenset[str],
    key: str,
    detector: Path | None,
) -> int:
    """Restores what is not done yet; the exit code, 0 where files failed too."""
    from datamodules.detection import FaceDetector
    from datamodules.inbox import Crops, Inbox
    from experiments.cli import silence, told_as_settings
    from experiments.networks import trained_network, view_of
    from experiments.outbox import Outbox
    from experiments.restorer import Restorer, judge_of, references_of, refuse_unsuited

    silence()
    method = trained_network(options.ckpt)
    refuse_unsuited(method, bool(options.references), options.tile)
    with told_as_settings():
        detect = FaceDetector(detector) if detector else None
    view = view_of(method, options.size)
    crops = Crops(view, detect, bool(options.tile))
    references = references_of(options.references, crops) if options.references else None
    judge = judge_of(options.judge) if options.judge else None
    limit = len(entries) if options.panels == "all" else int(options.panels)
    shown = frozenset(entry.name for entry in entries[:limit])
    inbox = Inbox(entries, done, crops, references)
    left = [entry for entry in entries if entry.name not in done]
    outbox = Outbox(options.out, key, left, shown)
    try:
        _run(options, Restorer(method, judge, options.tile), inbox, outbox)
    except OSError as error:  # what cannot be read is in the summary
        sys.stderr.write(f"stopped: {error}; the same command goes on from here\n")
        return 1
    return 0


def _run(options: argparse.Namespace, restorer: Any, inbox: Any, outbox: "Outbox") -> None:
    from experiments.cli import told_as_settings

    import pytorch_lightning as pl  # isort: skip

    with told_as_settings():
        trainer = pl.Trainer(
            accelerator=options.accelerator,
            devices=options.devices if options.devices == "auto" else int(options.devices),
            num_nodes=options.nodes,
            default_root_dir=str(options.out),
            callbacks=[outbox],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    trainer.predict(restorer, datamodule=inbox, return_predictions=False)


def _summed_up(folder: Path, entries: "list[Entry]", refused: "dict[str, Record]") -> int:
    """The exit code, after the summary of all files that the outbox knows."""
    from experiments.records import NO_FACE, SUMMARY, read_records, write_summary

    known = read_records(folder)
    write_summary(folder, [*(known[name] for name in sorted(known)), *refused.values()])
    here = known | refused
    records = [here[entry.name] for entry in entries if entry.name in here]
    failed = [record for record in records if record.failure]
    for record in failed:
        sys.stderr.write(f"{record.file}: {record.failure}\n")
    empty = sum(NO_FACE in record.note for record in records)
    earlier = len(known) + len(refused) - len(records)
    told = f"{len(records) - len(failed)} of {len(entries)} files in {folder}"
    told += f", {empty} without a face" if empty else ""
    told += f"; {len(failed)} could not be restored" if failed else ""
    told += f"; {folder / SUMMARY} lists them"
    sys.stderr.write(f"{told}, and {earlier} of other calls\n" if earlier else f"{told}\n")
    return FAILED if failed else 0
