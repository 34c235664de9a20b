"""Finished runs, and which of them repeat one another with other seeds."""

import csv
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.other_data import ON
from experiments.settings import SettingsError, load_chain, names, read_plain
from experiments.tables import Row, read_rows

Flat = dict[str, Any]

SEED = "seed_everything"
SEEDED = ("data.init_args.seed", "data.init_args.train.init_args.seed")  # the run's seed, linked

# Where a run lies, whom it tells, how often it saves, who fetches its samples and how hard they are
# looked at before: none of it changes a number. Everything else counts as another setting, the
# devices and their number too.
IMMATERIAL = (
    "run_dir",
    "wandb",
    "checkpoint_every",
    "trainer.log_every_n_steps",
    "trainer.val_check_interval",
    "data.init_args.loading.workers",
    "data.init_args.loading.verify",
)
SCORED = "results.yaml"  # the settings of the test, which may be others than the training's
LAST = "last.ckpt"  # the checkpoint that is scored where nothing else is said
PUBLISHED = "published"
MEASURES = "model.init_args.measures."


@dataclass(frozen=True)
class Run:
    """One run's results and the settings that they hang on.

    Attributes:
        folder: below the folder of runs.
        experiment: its name, as in the results.
        scale: demo, smoke or published.
        seed: of the training.
        settings: by dotted name, without the seed and what is immaterial.
        rows: of its table, by method.
        definitions: of the metrics, with what speaks against a comparison.
        commit: of the code that trained it; empty where it is unknown.
    """

    folder: Path
    experiment: str
    scale: str
    seed: int
    settings: Flat
    rows: dict[str, Row]
    definitions: str = ""
    commit: str = ""

    @property
    def count(self) -> str:
        """On how many images it was tested."""
        return str(next(iter(self.rows.values()))["n"])


@dataclass(frozen=True)
class Repeats:
    """Runs of one experiment that differ in nothing but the seed, in its order."""

    runs: tuple[Run, ...]

    @property
    def experiment(self) -> str:
        """The name that all the runs share."""
        return self.runs[0].experiment

    @property
    def scale(self) -> str:
        """The scale that all the runs share."""
        return self.runs[0].scale

    @property
    def settings(self) -> Flat:
        """The settings that all the runs share."""
        return self.runs[0].settings

    @property
    def seeds(self) -> list[int]:
        """The runs' seeds."""
        return [run.seed for run in self.runs]

    @property
    def condition(self) -> Flat:
        """What has to be equal for a comparison: scale, length, data and number of test images."""
        told = {key: value for key, value in self.settings.items() if of_the_condition(key)}
        return {"scale": self.scale, **told, "n": self.runs[0].count}

    def values(self, metric: str, method: str = "output") -> dict[int, float]:
        """A metric by seed, of those runs that measured it."""
        found = {run.seed: run.rows.get(method, {}).get(metric) for run in self.runs}
        return {seed: value for seed, value in found.items() if isinstance(value, float)}


def of_the_condition(key: str) -> bool:
    """Whether a dotted name is the length of a run or one of the data's settings."""
    return key == "max_batches" or key.startswith("data.")


def flat(settings: object, path: str = "") -> Flat:
    """Nested settings by dotted name; lists stay whole."""
    if not isinstance(settings, Mapping):
        return {path: settings}
    parts = [flat(value, f"{path}.{key}" if path else str(key)) for key, value in settings.items()]
    return {key: value for part in parts for key, value in part.items()}


def material(settings: Mapping[str, Any]) -> Flat:
    """Flat settings without the seed and what cannot change a result."""
    told = flat(settings)
    seed = told.get(SEED)
    tied = {key for key in SEEDED if told.get(key) == seed}
    whose = {"experiment", "scale", SEED, *IMMATERIAL}
    return {key: value for key, value in told.items() if key not in whose | tied}


def differing(one: Flat, other: Flat) -> set[str]:
    """The names of settings that two runs do not share; one that is absent counts as null."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def chain(experiment: str, scale: str) -> Flat:
    """What an experiment's files set at a scale; nothing for an experiment that is not shipped.

    Raises:
        SettingsError: if a file cannot be read.
    """
    if experiment not in names():
        return {}
    return material(load_chain(experiment, None if scale == PUBLISHED else scale).settings)


def read_run(folder: Path) -> Run:
    """The finished run in a folder; also its test on other data, in a folder below it.

    Raises:
        SettingsError: if something of it is missing or cannot be read, in a few words.
    """
    if not (folder / "results.csv").is_file():
        raise SettingsError("no results.csv: not finished, or not tested")
    below = folder.name.startswith(ON) and not (folder / "config.yaml").is_file()
    home = folder.parent if below else folder
    if not (home / "config.yaml").is_file():
        raise SettingsError("no config.yaml: its settings are unknown")
    try:
        rows = {row["method"]: row for row in read_rows(folder / "results.csv")}
        first = next(iter(rows.values()))
        experiment, scale, _ = first["experiment"], first["scale"], first["n"]
    except (KeyError, StopIteration, ValueError, csv.Error) as error:
        raise SettingsError("results.csv is no table of this suite") from error
    trained = read_plain(home / "config.yaml")
    scored = read_plain(folder / SCORED) if (folder / SCORED).is_file() else trained
    if not isinstance(trained.get(SEED), int):
        raise SettingsError(f"config.yaml tells no {SEED}")
    settings = material({"checkpoint": LAST} | scored | {SEED: trained[SEED]})
    texts = _definitions(folder), _commit(home)
    return Run(folder, experiment, scale, trained[SEED], settings, rows, *texts)


def _definitions(folder: Path) -> str:
    """The first note under the run's own table."""
    path = folder / "results.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.removeprefix("- ") for line in lines if line.startswith("- ")), "")


def _commit(folder: Path) -> str:
    try:
        told = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        return f"{told['commit'][:7]}{' and changes' if told['uncommitted_changes'] else ''}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # a run outside of any repository has no commit either


def find_runs(base: Path) -> tuple[list[Run], dict[str, str]]:
    """All finished runs below a folder, those of sweeps too; and why the others are left out."""
    files = [path for depth in ("*", "*/*") for path in base.glob(f"{depth}/config.yaml")]
    files += [path for depth in ("*", "*/*") for path in base.glob(f"{depth}/results.csv")]
    runs: list[Run] = []
    left_out: dict[str, str] = {}
    for folder in sorted({path.parent for path in files}):
        try:
            runs.append(read_run(folder))
        except SettingsError as error:
            left_out[folder.relative_to(base).as_posix()] = str(error)
    return runs, left_out


def repeats_of(runs: Iterable[Run]) -> tuple[list[Repeats], dict[Path, Path]]:
    """Runs gathered over their seeds; and those that repeat a seed, with the run that counts."""
    groups: list[dict[int, Run]] = []
    doubled: dict[Path, Path] = {}
    for run in runs:
        group = next((group for group in groups if _repeat(run, *group.values())), None)
        if group is None:
            groups.append({run.seed: run})
        elif run.seed in group:
            doubled[run.folder] = group[run.seed].folder
        else:
            group[run.seed] = run
    return [Repeats(tuple(group[seed] for seed in sorted(group))) for group in groups], doubled


def _repeat(run: Run, first: Run, *_: Run) -> bool:
    identity, its = ((r.experiment, r.scale, r.count) for r in (run, first))
    return identity == its and not differing(run.settings, first.settings)


def as_told(told: object, run: object) -> bool:
    """Whether a run's setting is what a file says, defaults that the file leaves out aside."""
    if isinstance(told, Mapping) and isinstance(run, Mapping):
        return all(key in run and as_told(value, run[key]) for key, value in told.items())
    if isinstance(told, list) and isinstance(run, list):
        return len(told) == len(run) and all(map(as_told, told, run))
    return told == run


def own_settings(group: Repeats, siblings: Iterable[Repeats]) -> Flat:
    """Where a group differs from its experiment's files, or from others of the experiment.

    What belongs to the condition, as the data do, is left out, and what was measured beside it on
    other data too.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    told = chain(group.experiment, group.scale)
    keys = {key for key, value in told.items() if not as_told(value, group.settings.get(key))}
    for other in siblings:
        if (other.experiment, other.scale) == (group.experiment, group.scale):
            keys |= {
                key
                for key in differing(group.settings, other.settings)
                if other.condition == group.condition or not key.startswith(MEASURES)
            }
    return {key: group.settings.get(key) for key in sorted(keys) if not of_the_condition(key)}


def mean(values: Sequence[float]) -> float:
    """The mean, not a number where one of the values is none."""
    return sum(values) / len(values) if values else math.nan


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation; none for fewer than two values or one that is not finite."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return statistics.stdev(values)
