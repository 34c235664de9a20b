"""Makes the runs that a paper's claims are judged by, one after the other, then the report."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments import report
from experiments.claims import PaperClaims, read_claims
from experiments.options import COMMANDS, Parser
from experiments.repeats import LAST, SEED, differing, flat, material, read_run
from experiments.settings import (
    SettingsError,
    load_chain,
    nearest,
    read_plain,
    run_folder,
    runs_folder,
)
from experiments.sweep import run_to_its_end

START, RESUME, FINISHED = "start", "go on", "finished"
CHECKPOINT = Path("checkpoints") / LAST
SHARED = ("--root", "--trainer.")  # settings that the experiments before a paper's get too
SOME_FAILED = 4


@dataclass(frozen=True)
class Job:
    """One run that is wanted.

    Attributes:
        experiment: its name.
        scale: "demo", "smoke" or None for the published run.
        folder: where it is to lie.
        settings: as given on the command line, its seed among them.
    """

    experiment: str
    scale: str | None
    folder: Path
    settings: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The experiment and its settings, as every command takes them."""
        scale = [f"--scale={self.scale}"] if self.scale else []
        return [self.experiment, *scale, f"--run={self.folder.name}", *self.settings]

    @property
    def environment(self) -> dict[str, str]:
        """Where the run's folder lies."""
        return {"RUNS": str(self.folder.parent)}

    def command(self, state: str) -> list[str]:
        """What trains and tests it, from where it stands."""
        resume = ["--resume"] if state == RESUME else []
        return [sys.executable, "-m", "experiments", "fit", *self.words, *resume]

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """Its settings, all defaults included, as a finished run would tell them.

        Raises:
            SettingsError: if they are wrong.
        """
        command = [sys.executable, "-m", "experiments", "show", *self.words]
        told = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=False
        )
        if told.returncode != 0:
            raise SettingsError(told.stderr.strip().removeprefix("error: "))
        return read_text(told.stdout)

    def state(self) -> str:
        """Whether the run is finished, has to go on, or has to start.

        Raises:
            SettingsError: if its folder holds a run of other settings.
        """
        if not (self.folder / "config.yaml").is_file():
            return START
        trained, wanted = read_plain(self.folder / "config.yaml"), material(self.wanted)
        others = differing(material(trained), wanted)
        others |= {SEED} if trained.get(SEED) != self.wanted.get(SEED) else set()
        if others:
            raise SettingsError(
                f"{self.folder} holds a run of other settings ({', '.join(sorted(others))}): "
                "move it away, or name another folder of runs by RUNS"
            )
        try:
            scored = read_run(self.folder).settings
        except SettingsError:
            return RESUME
        return RESUME if differing(scored, {"checkpoint": LAST} | wanted) else FINISHED


def jobs_of(paper: PaperClaims, scale: str | None, seeds: int, extra: Sequence[str]) -> list[Job]:
    """A run of each experiment of the claims for each seed; whole comparisons come up early."""
    return [
        Job(
            name,
            scale,
            runs_folder() / f"{run_folder(name, scale).name}_seed{seed}",
            (f"--{SEED}={seed}", *extra),
        )
        for seed in range(seeds)
        for name in paper.experiments
    ]


def first_jobs(paper: PaperClaims, scale: str | None, extra: Sequence[str]) -> list[Job]:
    """Runs without whose checkpoints those of the claims cannot start, where they are missing.

    Which those are, and where their checkpoints are looked for, the experiments' settings say.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    shared = tuple(word for word in extra if word.startswith(SHARED))
    jobs: dict[Path, Job] = {}
    for path in _checkpoints(paper, scale, extra):
        folder = path.parents[1]
        for name in paper.first:
            sizes = {name: None, f"{name}_{scale}": scale}
            if folder.name in sizes and not _usable(folder):
                jobs[folder] = Job(name, sizes[folder.name], folder, shared)
    order = {name: i for i, name in enumerate(paper.first)}
    return sorted(jobs.values(), key=lambda job: order[job.experiment])


def _checkpoints(paper: PaperClaims, scale: str | None, extra: Sequence[str]) -> list[Path]:
    """Where the settings of a paper's experiments look for the last checkpoints of others."""
    given = dict(word.removeprefix("--").split("=", 1) for word in extra if "=" in word)
    found: dict[Path, None] = {}
    for name in paper.experiments:
        told: Mapping[str, object] = flat(load_chain(name, scale).settings) | given
        paths = [Path(value) for value in told.values() if isinstance(value, str)]
        found |= dict.fromkeys(path for path in paths if path.parts[-2:] == CHECKPOINT.parts)
    return list(found)


def _usable(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, and not that of a training that was interrupted."""
    ended = (folder / "results.csv").is_file() or not (folder / "config.yaml").is_file()
    return (folder / CHECKPOINT).is_file() and ended


def run_all(jobs: Sequence[Job], dry: bool) -> dict[str, str]:
    """Makes the runs that are not finished; why those failed that did, by their folders' names.

    Args:
        jobs: in their order.
        dry: only say what would be run.
    """
    failed: dict[str, str] = {}
    for i, job in enumerate(jobs, 1):
        try:
            state = job.state()
            told = f"would {state}" if dry and state != FINISHED else state
            sys.stdout.write(f"[{i} of {len(jobs)}] {job.folder.name}: {told}\n")
            sys.stdout.flush()
            if dry and state != FINISHED:
                sys.stdout.write(f"  {' '.join(job.command(state))}\n")
            elif state != FINISHED:
                run_to_its_end(job.command(state), job.folder.name, job.environment)
        except SettingsError as error:
            failed[job.folder.name] = str(error)
            sys.stderr.write(f"failed: {error}\n")
    return failed


def main(arguments: Sequence[str]) -> int:
    """Makes the runs of a paper's claims and the report; the exit code, 4 where a run failed.

    Raises:
        SettingsError: if the paper, an option or the file of claims is wrong.
    """
    parser = Parser("claims", f"{COMMANDS['claims'].capitalize()}.")
    parser.add_argument("--paper", required=True, help="its short name, such as crn")
    parser.add_argument("--scale", help="demo or smoke; the published runs without it")
    parser.add_argument("--seeds", type=int, default=3, help="of each experiment; default 3")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be run")
    told, extra = parser.parse_known_args(arguments)
    _check(told.seeds, extra)
    papers = read_claims()
    if told.paper not in papers:
        hint = nearest(told.paper, papers) or f"; there are {', '.join(papers)}"
        raise SettingsError(f"no claims of a paper '{told.paper}'{hint}")
    paper, scale = papers[told.paper], told.scale or None
    jobs = [*first_jobs(paper, scale, extra), *jobs_of(paper, scale, told.seeds, extra)]
    failed = run_all(jobs, told.dry_run)
    if not told.dry_run:
        _report(failed)
    for name, reason in failed.items():
        sys.stderr.write(f"not run: {name}: {reason}\n")
    return SOME_FAILED if failed else 0


def read_text(text: str) -> dict[str, Any]:
    """Settings as they are printed, read as their files are."""
    from omegaconf import OmegaConf

    told = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(told, dict)
    return {str(key): value for key, value in told.items()}


def _report(failed: dict[str, str]) -> None:
    """Writes the report; where runs failed there may be nothing to tell of."""
    try:
        report.main()
    except SettingsError as error:
        if not failed:
            raise
        failed["report"] = str(error)


def _check(seeds: int, extra: Sequence[str]) -> None:
    if seeds < 1:
        raise SettingsError(f"--seeds must be at least 1, got {seeds}")
    for word in extra:
        if not word.startswith("--") or "=" not in word:
            raise SettingsError(f"'{word}' is no setting: any is given as --key=value")
        if word.split("=")[0] in ("--run", f"--{SEED}"):
            raise SettingsError(f"{word} would be the same for all runs, each has its own")
