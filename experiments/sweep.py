"""Runs a W&B sweep file: on this machine without a server, or handed to `wandb sweep`."""

import hashlib
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.options import COMMANDS, Parser
from experiments.settings import SettingsError, read_plain, runs_folder
from experiments.tables import Row, columns_of, markdown, read_rows, show_table
from experiments.tracking import need_wandb, need_wandb_key

HERE = "run it here by LOCAL=1 (--local)"


def arguments_of(parameters: Mapping[str, Any]) -> list[str]:
    """What `wandb agent` would pass for `${args}`: `{"a": {"value": 1}}` gives `--a=1`."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    return list(create_sweep_command_args({"args": dict(parameters)})["args"])


def command_of(sweep: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """The command of one run, its macros filled in as the agent fills them in.

    Raises:
        SettingsError: if the file's command would ignore the parameters.
    """
    template = [str(word) for word in sweep.get("command", [])]
    if "${args}" not in template:
        raise SettingsError("the sweep's `command` must hold ${args}, where parameters go")
    words = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [str(sweep.get("program", ""))],
        "${args}": list(arguments),
    }
    return [part for word in template for part in words.get(word, [word])]


def run_id(command: Sequence[str]) -> str:
    """A name for a run that its command decides, so that a sweep run again finds its runs."""
    words = [word for word in command if word != sys.executable]  # wherever it is installed
    return "local-" + hashlib.sha256("\n".join(words).encode()).hexdigest()[:10]


def run_one(sweep: Mapping[str, Any], arguments: Sequence[str], name: str) -> Row:
    """One run's scores; a run that has them already is not run again.

    Args:
        sweep: the sweep file.
        arguments: of this run.
        name: of the sweep.

    Raises:
        SettingsError: if the run fails.
    """
    command = command_of(sweep, arguments)
    identity = run_id(command)
    if not _scores(identity):
        environment = {"WANDB_SWEEP_ID": name, "WANDB_RUN_ID": identity, "RESUME": "1"}
        run_to_its_end(command, identity, environment)
    return _scores(identity)


def run_to_its_end(command: Sequence[str], name: str, environment: Mapping[str, str]) -> None:
    """Runs a command in a process of its own, and comes back when it has ended.

    Args:
        command: its words.
        name: what the run is called when it fails.
        environment: variables beside those of this process.

    Raises:
        SettingsError: if it does not end well.
    """
    code = subprocess.run(command, env=os.environ | environment, check=False).returncode
    if code != 0:
        raise SettingsError(f"run {name} ended with code {code}: {' '.join(command)}")


def _scores(identity: str) -> Row:
    """The scores in a run's results.csv; nothing where there is none yet."""
    for path in runs_folder().glob(f"*/{identity}/results.csv"):
        for row in read_rows(path):
            if row["method"] != "identity":
                return row
    return {}


def run_locally(path: Path, count: int, extra: Sequence[str]) -> list[Row]:
    """The rows of a whole sweep, parameters and scores, run one after another.

    Args:
        path: the sweep file.
        count: runs at most; 0 takes the file's `run_cap`, and all points of a grid.
        extra: arguments for every run, after the sweep's own.

    Raises:
        SettingsError: if the file is no sweep, has no end, or a run fails.
    """
    sweep = read_sweep(path)
    limit = count or int(sweep.get("run_cap", 0))
    if not limit and sweep["method"] != "grid":
        raise SettingsError(f"a {sweep['method']} sweep has no end: give --count or `run_cap`")
    runs: list[Any] = []
    rows: list[Row] = []
    while not limit or len(runs) < limit:
        chosen = _next(sweep, runs)
        if chosen is None:
            break
        row = run_one(sweep, [*arguments_of(chosen.config), "--wandb=off", *extra], path.stem)
        scores = {name: value for name, value in row.items() if isinstance(value, float)}
        chosen.summary_metrics = {f"test/{name}": value for name, value in scores.items()}
        chosen.state = "finished"
        runs.append(chosen)
        values = {name: told["value"] for name, told in chosen.config.items()}
        rows.append({"experiment": row["experiment"], **values, **row})
    return rows


def _next(sweep: dict[str, Any], runs: list[Any]) -> Any:
    """The next run that the search chooses, the same whenever the sweep is run again."""
    import numpy as np

    next_run = _engine().next_run
    random.seed(len(runs))
    np.random.seed(len(runs))  # noqa: NPY002 - what the search draws from
    return next_run(sweep, runs)


def _engine() -> Any:
    """W&B's sweep engine.

    Raises:
        SettingsError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is written for an older pydantic
            import sweeps
    except ImportError as error:
        raise SettingsError("a sweep needs W&B: pip install -e '.[wandb]'") from error
    return sweeps


def read_sweep(path: Path) -> dict[str, Any]:
    """A sweep file, checked against W&B's own schema.

    Raises:
        SettingsError: if it is missing or not a sweep, with what is wrong.
    """
    need_wandb("ask for it by `make install`")
    engine, told = _engine(), read_plain(path)
    from jsonschema import ValidationError  # type: ignore[import-untyped]

    try:
        engine.SweepConfig(told)
    except ValidationError as error:
        raise SettingsError(f"{path} is not a sweep: {error.message}") from error
    return told


def hand_over(path: Path) -> int:
    """Registers the sweep with the W&B server, which prints the agent's command.

    Raises:
        SettingsError: if W&B is not installed or has no key.
    """
    read_sweep(path)
    need_wandb_key(HERE)
    command = [sys.executable, "-m", "wandb", "sweep", str(path)]
    return subprocess.run(command, check=False).returncode


def _refuse(extra: Sequence[str]) -> None:
    if extra:
        raise SettingsError(
            f"{' '.join(extra)} would not reach the server's agents: write a scale or a setting "
            f"into the `command` of the sweep file and --count after `wandb agent`, or {HERE}"
        )


def main(arguments: Sequence[str]) -> int:
    """Runs a sweep; the exit code.

    Raises:
        SettingsError: if the file or an option is wrong.
    """
    parser = Parser("sweep", f"{COMMANDS['sweep'].capitalize()}.")
    parser.add_argument("file", type=Path, help="a W&B sweep file")
    parser.add_argument("--local", action="store_true", help="run it here, without a server")
    parser.add_argument("--count", type=int, default=0, help="runs at most")
    told, extra = parser.parse_known_args(arguments)
    if any(word.partition("=")[0] == "--run" for word in extra):
        raise SettingsError("a sweep's runs have a folder each; --run would be the same for all")
    if not told.local:
        _refuse([*extra, *([f"--count={told.count}"] if told.count else [])])
        return hand_over(told.file)
    rows = run_locally(told.file, told.count, extra)
    folder = runs_folder() / f"sweep_{told.file.stem}"
    folder.mkdir(parents=True, exist_ok=True)
    columns = columns_of(rows)
    (folder / "sweep.md").write_text(markdown(rows, columns, []), encoding="utf-8")
    show_table(rows, columns, [f"written to {folder / 'sweep.md'}"])
    return 0
