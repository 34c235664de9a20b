"""Fixed test sets: degraded photographs as PNG files, with a manifest of how each was made.

A set's folder holds `clean/<photograph>.png`, `<set>/<photograph>_<version>.png` and
`manifest.json`: of every file its sha256, of every degraded one its steps and parameters. The
bytes follow from the photographs, the seed and the packages' locked versions; degradations are
computed with integers or in float64 with one rounding at the end, so no machine's vector
instructions show (`test_other_vector_instructions_give_the_same_bytes`).
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image as Pillow

from datamodules.degradations.base import Degradation, Degraded, Image
from datamodules.degradations.ispl import TASKS
from datamodules.degradations.nasfe import TEST_SETS, Setting, apply
from datamodules.photographs import Photographs
from datamodules.reading import Picture
from datamodules.stream import Purpose, permutation, sample_generator

CLEAN, MANIFEST, BEGUN, NOTES, FORMAT = "clean", "manifest.json", "begun.json", ".notes", 1

Versions = Mapping[str, Sequence[Degradation]]
"""The test sets of a paper: the degradations that every photograph goes through, one file each."""


@final
@dataclass(frozen=True, eq=False)
class Exactly(Degradation):
    """NASFE's degradation with given numbers, of which only the noise is drawn."""

    setting: Setting

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image`, as the setting says."""
        return apply(image, self.setting, generator)


def nasfe_versions() -> Versions:
    """The five sets of Table 4 of NASFE."""
    return {name: tuple(map(Exactly, test.settings())) for name, test in TEST_SETS.items()}


def ispl_versions() -> Versions:
    """The six sets of Section 4.3 of ISPL, one version of each photograph in each."""
    return {name: (task,) for name, task in TASKS.items()}


SUITES: dict[str, Callable[[], Versions]] = {
    "nasfe_tests": nasfe_versions,
    "ispl_tests": ispl_versions,
}


@dataclass(frozen=True)
class Plan:
    """What decides the bytes of some test sets.

    Attributes:
        suite: name of the paper's sets in `SUITES`.
        photographs: how many, drawn by the seed; 0 takes all.
        seed: of that choice and of the degradations.

    Raises:
        ValueError: if there is no such suite, or a number is negative.
    """

    suite: str
    photographs: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise ValueError(f"no test sets {self.suite}; there are {', '.join(SUITES)}")
        if min(self.photographs, self.seed) < 0:
            raise ValueError(
                f"photographs and seed must not be negative, got {self.photographs} and {self.seed}"
            )

    def chosen(self, total: int) -> list[int]:
        """Which of `total` photographs are taken, in order.

        Raises:
            ValueError: if there are fewer than wanted.
        """
        if total < max(1, self.photographs):
            raise ValueError(
                f"{self.photographs} test photographs are wanted, got {total}; ask for fewer "
                "(--photographs)"
            )
        count = self.photographs or total
        return sorted(int(i) for i in permutation(total, self.seed, 0, Purpose.SUBSET)[:count])


@dataclass(frozen=True)
class Work:
    """One photograph of a plan: everything that a process needs to write its files."""

    root: Path
    plan: Plan
    photographs: Photographs
    number: int


def outstanding(root: Path, plan: Plan, photographs: Photographs) -> list[Work]:
    """What is still to be written below `root`, by photograph; nothing of a finished plan.

    Raises:
        UnreadableImage: if the first photograph cannot be read.
        ValueError: if `root` holds anything else, or there are too few photographs.
    """
    chosen = plan.chosen(len(photographs))
    names = [photographs.name(i) for i in chosen]
    first = photographs.picture(chosen[0])
    told = {
        "format": FORMAT,
        "suite": plan.suite,
        "seed": plan.seed,
        "shape": list(first.shape[:2]),
        "first": hashlib.sha256(first.tobytes()).hexdigest(),  # another set has another
        "photographs": names,
    }
    _refuse_others(root, told)
    if (root / MANIFEST).exists() and not _reopened(root):
        return []
    _write(root / BEGUN, json.dumps(told, indent=1).encode())
    return [
        Work(root, plan, photographs, number)
        for number, name in zip(chosen, names, strict=True)
        if not _notes(root, name).exists()
    ]


def write_photograph(work: Work) -> None:
    """Writes one photograph and all that the sets make of it, then the notes on them.

    Raises:
        UnreadableImage: if the photograph cannot be read.
        OSError: if a file cannot be written.
    """
    clean, name = work.photographs.picture(work.number), work.photographs.name(work.number)
    records = [_record(work.root, f"{CLEAN}/{name}.png", clean, name)]
    records += [
        _record(work.root, f"{test}/{name}_{version:03d}.png", image, name, steps)
        for test, version, image, steps in _versions(work, clean)
    ]
    _write(_notes(work.root, name), json.dumps(records).encode())


def finish(root: Path) -> dict[str, int]:
    """How many files each set has, after writing the manifest; the notes are removed.

    Raises:
        FileNotFoundError: if a photograph's notes are missing, so that the sets are not complete.
    """
    if not (root / MANIFEST).exists():
        told = json.loads((root / BEGUN).read_text())
        notes = [_notes(root, name) for name in told["photographs"]]
        files = [record for path in notes for record in json.loads(path.read_text())]
        _write(root / MANIFEST, json.dumps({**told, "files": files}, indent=1).encode())
    (root / BEGUN).unlink(missing_ok=True)
    shutil.rmtree(root / NOTES, ignore_errors=True)
    return _counts(read_manifest(root)["files"])


def read_manifest(root: Path) -> dict[str, Any]:
    """What the test sets below `root` hold.

    Raises:
        FileNotFoundError: if there are none, or they are not complete.
        ValueError: if the manifest cannot be read.
    """
    path = root / MANIFEST
    if not path.is_file():
        begun = (root / BEGUN).exists()
        reason = (
            "are begun but not complete; run the same command again"
            if begun
            else ("are missing; make them: make prepare SET=nasfe_tests (or ispl_tests) FROM=<set>")
        )
        raise FileNotFoundError(f"the test sets in {root} {reason}")
    manifest = _json(path)
    version = manifest.get("format")
    if version != FORMAT:
        raise ValueError(f"{path} has format {version}, this version reads {FORMAT}")
    return manifest


def _versions(work: Work, clean: Picture) -> Iterator[tuple[str, int, Picture, list[Any]]]:
    for place, (test, versions) in enumerate(SUITES[work.plan.suite]().items()):
        for version, degradation in enumerate(versions):
            # One stream of numbers for each file: place and version are part of the epoch.
            generator = sample_generator(
                work.plan.seed, 1000 * place + version, work.number, Purpose.EVALUATION
            )
            degraded = degradation(clean, generator)
            steps = [
                {"kind": step.kind, "name": step.name, **step.parameters} for step in degraded.steps
            ]
            yield test, version, degraded.image, steps


def _record(
    root: Path, file: str, picture: Picture, name: str, steps: list[Any] | None = None
) -> dict[str, Any]:
    data = io.BytesIO()
    Pillow.fromarray(picture).save(data, "PNG", compress_level=6)
    _write(root / file, data.getvalue())
    digest = hashlib.sha256(data.getvalue()).hexdigest()
    record: dict[str, Any] = {"file": file, "photograph": name, "sha256": digest}
    return record if steps is None else {**record, "steps": steps}


def _refuse_others(root: Path, told: dict[str, Any]) -> None:
    """Nothing, if `root` is new, empty, or holds the sets that are `told`, finished or not."""
    if not root.exists() or not any(root.iterdir()):
        return
    name = next((name for name in (MANIFEST, BEGUN) if (root / name).exists()), None)
    if name is None:
        raise ValueError(f"{root} holds files that are no test sets; name a new or empty folder")
    there = _json(root / name)
    if {key: there.get(key) for key in told} != told:
        raise ValueError(
            f"{root} holds test sets of other photographs, or of another size, seed or suite; "
            "name another folder"
        )


def _reopened(root: Path) -> bool:
    """Whether files of the finished sets in `root` were lost, so that some must be written again.

    The notes on photographs that are whole are then there again, and the manifest is not.
    """
    files = read_manifest(root)["files"]
    lost = {record["photograph"] for record in files if not (root / record["file"]).is_file()}
    if not lost:
        return False
    kept: dict[str, list[Any]] = {}
    for record in files:
        if record["photograph"] not in lost:
            kept.setdefault(record["photograph"], []).append(record)
    for name, records in kept.items():
        _write(_notes(root, name), json.dumps(records).encode())
    (root / MANIFEST).unlink()
    return True


def _json(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        told.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no manifest of test sets: {error}") from error
    return told


def _counts(files: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in files:
        test = record["file"].partition("/")[0]
        counts[test] = counts.get(test, 0) + 1
    return counts


def _notes(root: Path, name: str) -> Path:
    return root / NOTES / f"{name}.json"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(data)
    partial.replace(path)
