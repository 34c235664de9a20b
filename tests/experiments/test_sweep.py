import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from experiments import sweep
from experiments.__main__ import main, read_request
from experiments.claims import read_claims
from experiments.settings import EXPERIMENTS, ROOT, SettingsError
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


def test_a_run_is_named_by_its_command_wherever_python_lies(monkeypatch: pytest.MonkeyPatch):
    assert run_id(["--a=1"]) == run_id(["--a=1"])
    assert run_id(["--a=1"]) != run_id(["--a=2"])
    here = command_of(GRID, ["--a=1"])
    name = run_id(here)
    monkeypatch.setattr(sys, "executable", "/elsewhere/bin/python")
    assert command_of(GRID, ["--a=1"]) != here
    assert run_id(command_of(GRID, ["--a=1"])) == name


def test_sweeps_of_two_experiments_keep_their_runs_apart(tmp_path: Path, commands: list[list[str]]):
    other = GRID | {"command": [word if word != "tiny" else "other" for word in RUN]}
    run_locally(write(tmp_path / "grid.yaml", GRID), 0, [])
    run_locally(write(tmp_path / "other.yaml", other), 0, [])
    assert len(commands) == 4


def handed_over(monkeypatch: pytest.MonkeyPatch, key: bool) -> list[list[str]]:
    """The commands that are run to register a sweep, with or without a key of the server."""
    ran: list[list[str]] = []

    def run(command: list[str], check: bool) -> SimpleNamespace:
        ran.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("wandb.login", lambda **_: key)
    monkeypatch.setattr(sweep.subprocess, "run", run)
    return ran


def test_a_sweep_is_handed_to_the_wandb_of_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ran, path = handed_over(monkeypatch, key=True), write(tmp_path / "grid.yaml", GRID)
    monkeypatch.setenv("PATH", "")
    assert sweep.main([str(path)]) == 0
    assert ran == [[sys.executable, "-m", "wandb", "sweep", str(path)]]


def test_wandb_can_be_run_as_a_module():
    assert importlib.util.find_spec("wandb.__main__") is not None


def test_a_sweep_without_wandb_or_its_key_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ran, path = handed_over(monkeypatch, key=False), write(tmp_path / "grid.yaml", GRID)
    with pytest.raises(SettingsError, match="no API key: run `wandb login`, or run it here by LO"):
        sweep.main([str(path)])
    monkeypatch.setitem(sys.modules, "wandb", None)
    for place in ([], ["--local"]):
        with pytest.raises(SettingsError, match="wandb is not installed"):
            sweep.main([str(path), *place])
    assert ran == []


@pytest.mark.parametrize("extra", ["--scale=demo", "--count=3", "--max_batches=9"])
def test_what_would_not_reach_the_servers_agents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str, capsys: pytest.CaptureFixture[str]
):
    ran, path = handed_over(monkeypatch, key=True), write(tmp_path / "grid.yaml", GRID)
    assert main(["sweep", str(path), extra]) == 2
    told = capsys.readouterr().err
    assert f"{extra} would not reach the server's agents: write a scale" in told
    assert told.count("\n") == 1
    assert ran == []


def test_one_name_for_all_runs_of_a_sweep_is_refused(tmp_path: Path, commands: list[list[str]]):
    path = write(tmp_path / "grid.yaml", GRID)
    with pytest.raises(SettingsError, match="a folder each"):
        sweep.main([str(path), "--local", "--run=mine"])
    assert commands == []


@pytest.mark.parametrize("local", ["", "LOCAL=1"])
def test_make_passes_the_scale_on(local: str):
    command = ["make", "-n", "sweep", "SWEEP=x.yaml", "SCALE=demo", *local.split()]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--scale=demo" in told
    assert ("--local" in told) == bool(local)


@pytest.mark.parametrize(
    "path", sorted((EXPERIMENTS / "sweeps").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_sweep_is_valid_and_its_settings_exist(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    spec = read_sweep(path)
    spec["parameters"]["seed_everything"] = {"values": [1]}  # another seed reads the same
    monkeypatch.delenv("RESUME", raising=False)
    points: list[Any] = []
    while (chosen := sweep._next(spec, points)) is not None:
        points.append(chosen)
        chosen.state = "finished"
        command = command_of(spec, [*arguments_of(chosen.config), "--scale=smoke"])
        with pytest.raises(SystemExit) as stop:
            main(["show", *command[command.index("fit") + 1 :]])
        assert stop.value.code == 0, capsys.readouterr().err
    values = [len(told["values"]) for told in spec["parameters"].values()]
    assert len(points) == math.prod(values)


def test_makeup_gos_claims_are_swept_over_experiments_and_seeds():
    spec = read_sweep(EXPERIMENTS / "sweeps" / "makeup_go_claims.yaml")
    claimed = [claim for claim in read_claims()["crn"].claims if claim.experiment == "crn_mt"]
    swept = set(spec["parameters"]["experiment"]["values"])
    left_out = {"perception_mt", "crn_mt_branches6"}
    assert {name for claim in claimed for name in claim.pair} - swept == left_out
    assert spec["parameters"]["seed_everything"]["values"] == [0, 1, 2]


def test_runs_of_a_sweep_over_experiments_are_named_by_an_option():
    command = command_of(
        {"command": ["python", "-m", "experiments", "fit", "${args}"]},
        arguments_of({"experiment": {"value": "crn_mt"}, "seed_everything": {"value": 2}}),
    )
    request = read_request("fit", command[4:])
    assert (request.name, request.overrides) == ("crn_mt", ("--seed_everything=2",))
