import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from experiments import sweep
from experiments.settings import EXPERIMENTS, SettingsError
from experiments.sweep import arguments_of, command_of, read_sweep, run_id, run_locally

RUN = ["${env}", "${interpreter}", "-m", "experiments", "fit", "tiny", "${args}"]
GRID = {
    "program": "experiments/__main__.py",
    "command": RUN,
    "method": "grid",
    "parameters": {"data.init_args.gamma": {"values": [0.1, 1.0]}, "seed_everything": {"value": 3}},
}


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def commands(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; each leaves scores as a training would."""
    ran: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], check: bool) -> SimpleNamespace:
        assert env["RESUME"] == "1"
        ran.append(command)
        folder = tiny.parent / "runs" / "tiny" / env["WANDB_RUN_ID"]
        folder.mkdir(parents=True)
        gamma = next(word for word in command if "gamma" in word).partition("=")[2]
        rows = (
            f"experiment,scale,method,n,psnr\ntiny,smoke,identity,2,20\ntiny,smoke,output,2,{gamma}"
        )
        (folder / "results.csv").write_text(rows + "\n")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(sweep.subprocess, "run", run)
    return ran


def test_arguments_are_those_of_the_agent():
    parameters = {"a.b": {"value": 0.1}, "c": {"value": True}, "d": {"value": [1, 2]}}
    assert arguments_of(parameters) == ["--a.b=0.1", "--c=True", "--d=[1, 2]"]


def test_a_command_is_filled_in_as_the_agent_does():
    command = command_of(GRID, ["--x=1"])
    assert command[:2] == ["/usr/bin/env", sys.executable]
    assert command[2:] == ["-m", "experiments", "fit", "tiny", "--x=1"]


def test_a_command_that_ignores_its_parameters_is_refused():
    with pytest.raises(SettingsError, match="args"):
        command_of({"command": ["${env}", "python"]}, [])


def test_a_grid_runs_every_point_and_tells_its_scores(tmp_path: Path, commands: list[list[str]]):
    rows = run_locally(write(tmp_path / "grid.yaml", GRID), 0, ["--scale=smoke"])
    assert [row["data.init_args.gamma"] for row in rows] == [0.1, 1.0]
    assert [row["psnr"] for row in rows] == [0.1, 1.0]
    assert all(command[-2:] == ["--wandb=off", "--scale=smoke"] for command in commands)


def test_a_sweep_run_again_runs_nothing_twice(tmp_path: Path, commands: list[list[str]]):
    path = write(tmp_path / "grid.yaml", GRID)
    first = run_locally(path, 1, [])
    assert len(commands) == 1
    assert run_locally(path, 0, [])[:1] == first
    assert len(commands) == 2


@pytest.mark.filterwarnings("ignore")  # the engine's own, of scikit-learn and numpy
@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_chooses_as_many_runs_as_asked_for(
    tmp_path: Path, commands: list[list[str]], method: str
):
    spec = GRID | {
        "method": method,
        "metric": {"name": "test/psnr", "goal": "maximize"},
        "parameters": {"data.init_args.gamma": {"min": 0.0, "max": 1.0}},
    }
    path = write(tmp_path / "search.yaml", spec)
    rows = run_locally(path, 3, [])
    assert len({row["data.init_args.gamma"] for row in rows}) == 3
    with pytest.raises(SettingsError, match="has no end"):
        run_locally(path, 0, [])


def test_a_failed_run_ends_the_sweep(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    failed = SimpleNamespace(returncode=3)
    monkeypatch.setattr(sweep.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SettingsError, match="ended with code 3"):
        run_locally(write(tmp_path / "grid.yaml", GRID), 0, [])


def test_a_file_that_is_no_sweep_is_told_why(tmp_path: Path):
    with pytest.raises(SettingsError, match="'grit' is not one of"):
        read_sweep(write(tmp_path / "x.yaml", GRID | {"method": "grit"}))


def test_a_run_is_named_by_its_arguments():
    assert run_id(["--a=1"]) == run_id(["--a=1"])
    assert run_id(["--a=1"]) != run_id(["--a=2"])


@pytest.mark.parametrize(
    "path", sorted((EXPERIMENTS / "sweeps").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_sweep_is_valid_and_its_settings_exist(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from experiments.__main__ import main

    spec = read_sweep(path)
    monkeypatch.delenv("RESUME", raising=False)
    chosen = sweep._next(spec, [])
    command = command_of(spec, [*arguments_of(chosen.config), "--scale=smoke"])
    arguments = command[command.index("fit") + 1 :]
    with pytest.raises(SystemExit) as stop:
        main(["show", *arguments])
    assert stop.value.code == 0, capsys.readouterr().err
