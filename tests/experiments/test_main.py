import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from experiments.__main__ import main, read_request
from experiments.options import COMMANDS
from experiments.settings import ROOT, SettingsError

HEAVY = ("torch", "pytorch_lightning", "jsonargparse", "numpy", "wandb", "rich", "omegaconf")


def test_help_imports_nothing_heavy_and_is_fast():
    code = (
        "import sys, experiments.__main__ as m; m.main(['--help']); m.main(['fitt']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert time.monotonic() - start < 3
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {command} " in told for command in COMMANDS)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "show", "list", "data"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main([command, "-h"])
    assert stop.value.code == 0
    assert f"python -m experiments {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fitt"], "no command 'fitt': did you mean 'fit'?"),
        (["fit"], "name the experiment first"),
        (["fit", "--scale=demo"], "name the experiment first"),
        (["fit", "--trainer.devices", "2", "x"], "name the experiment first"),
        (["fit", "x", "--experiment=y"], "'x' and --experiment=y: name only one"),
        (["fit", "--experiment=no_such_thing"], "no experiment 'no_such_thing'"),
        (["fit", "no_such_experiment_at_all"], "no experiment 'no_such_experiment_at_all'"),
        (["fit", "missing.yaml"], "no settings file at missing.yaml"),
        (["fit", "x", "--evaluate=perhaps"], "must be true or false, got 'perhaps'"),
        (["fit", "x", "--config=y.yaml"], "no setting 'config'"),
        (["data"], "required: --to"),
        (["list", "more"], "unrecognized arguments: more"),
    ],
)
def test_what_the_user_got_wrong_is_one_line_and_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_data_draws_the_faces_that_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["data", f"--to={tmp_path}", "--train=2", "--val=1", "--test=1", "--size=32"]
    assert main(arguments) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.png"))) == 8  # raw and retouched
    assert main(["data", f"--to={tmp_path}", "--size=-1"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_data_is_drawn_in_any_layout(tmp_path: Path):
    arguments = ["data", "--set=folder", f"--to={tmp_path}", "--train=2", "--val=1", "--test=1"]
    assert main([*arguments, "--size=32", "--photographs=2"]) == 0
    assert len(list(tmp_path.glob("n*/*.png"))) == 4
    assert sorted(path.name for path in (tmp_path / "n000000").iterdir()) == [
        "0001.png",
        "0002.png",
    ]


def test_fixed_test_sets_are_prepared_by_their_own_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["prepare", "--set=ispl_tests", f"--from={tmp_path}", "--layout=cub"]) == 2
    assert "--layout: invalid choice: 'cub'" in capsys.readouterr().err
    assert main(["prepare", "--set=nothing", f"--from={tmp_path}"]) == 2
    assert "--set: invalid choice: 'nothing'" in capsys.readouterr().err
    assert main(["prepare", "--set"]) == 2
    assert "--set: expected one argument" in capsys.readouterr().err


def test_an_error_is_told_once_a_machine_and_not_once_a_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["fitt"]) == 2
    assert capsys.readouterr().err == ""


def test_settings_are_passed_on_and_options_are_read():
    request = read_request(
        "fit", ["x", "--scale=demo", "--model.width=3", "--resume", "--evaluate=false", "--run=y"]
    )
    assert request.overrides == ("--model.width=3",)
    assert (request.scale, request.resume, request.evaluate, request.run) == (
        "demo",
        True,
        False,
        "y",
    )


def test_a_sweep_may_name_the_experiment_by_an_option():
    request = read_request("fit", ["--wandb=off", "--experiment=x", "--model.width=3"])
    assert (request.name, request.overrides) == ("x", ("--wandb=off", "--model.width=3"))


def test_an_option_cannot_be_abbreviated():
    request = read_request("fit", ["x", "--scal=demo"])
    assert request.scale is None
    assert request.overrides == ("--scal=demo",)


def test_resume_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RESUME", "1")
    assert read_request("fit", ["x"]).resume
    monkeypatch.setenv("RESUME", "0")
    assert not read_request("fit", ["x"]).resume


def test_only_fit_can_resume_and_only_the_others_take_a_checkpoint():
    assert read_request("test", ["x", "--ckpt=best"]).checkpoint == "best"
    assert "--ckpt=best" in read_request("fit", ["x", "--ckpt=best"]).overrides


def test_no_name_is_a_settings_error():
    with pytest.raises(SettingsError, match="name"):
        read_request("show", [])


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> int:
        try:
            raise KeyboardInterrupt  # noqa: TRY301
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does

    monkeypatch.setattr("experiments.__main__._dispatch", interrupted)
    assert main(["list"]) == 130


def test_another_exit_code_passes_through(monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: object) -> int:
        raise SystemExit(143)

    monkeypatch.setattr("experiments.__main__._dispatch", stopped)
    with pytest.raises(SystemExit) as stop:
        main(["list"])
    assert stop.value.code == 143


def test_who_reads_no_further_ends_a_command_quietly():
    command = [sys.executable, "-m", "experiments", "list"]
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 128 + signal.SIGPIPE


def test_a_broken_pipe_of_another_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> int:
        raise BrokenPipeError("a worker's")

    monkeypatch.setattr("experiments.__main__._dispatch", broken)
    with pytest.raises(BrokenPipeError, match="a worker's"):
        main(["list"])


def test_data_that_are_missing_are_told_before_there_are_more_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(
        "lightning_fabric.strategies.launchers.subprocess_script.subprocess.Popen", refused
    )
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", f"--root={tmp_path / 'none'}"]
    assert main(["fit", "embedder_demo", "--scale=smoke", *two]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: there is no folder {tmp_path / 'none'}")
