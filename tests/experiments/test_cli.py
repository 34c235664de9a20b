import csv
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import cli
from experiments.settings import ROOT, Request

Command = Callable[..., int]


def runs(tiny: Path, name: str = "tiny_smoke") -> Path:
    return tiny.parent / "runs" / name


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_trains_tests_and_says_where_everything_lies(
    command: Command, tiny: Path, capsys: pytest.CaptureFixture[str]
):
    assert command("fit") == 0
    folder, told = runs(tiny), capsys.readouterr().out
    for file in (
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "results.csv",
        "results.md",
        "checkpoints/last.ckpt",
    ):
        assert (folder / file).is_file(), file
        if file != "checkpoints/last.ckpt":
            assert str(folder / file) in told
    assert list((folder / "pictures").glob("*.png"))
    rows = rows_of(folder / "results.csv")
    assert [row["method"] for row in rows] == ["identity", "output"]
    assert {row["experiment"] for row in rows} == {"tiny"}
    assert {row["scale"] for row in rows} == {"smoke"}


def test_the_table_counts_images_and_not_batches(command: Command, tiny: Path):
    every_batch = "--trainer.limit_test_batches=1.0"
    assert command("fit", "--data.batch_size=3", every_batch) == 0
    assert [row["n"] for row in rows_of(runs(tiny) / "results.csv")] == ["4", "4"]


@pytest.mark.parametrize(("width", "comparable"), [(2, "yes"), (11, "no")])
def test_a_published_run_compares_with_the_paper_unless_it_has_a_caveat(
    tiny: Path, width: int, comparable: str
):
    overrides = (f"--model.width={width}", "--trainer.accelerator=cpu", "--trainer.devices=1")
    assert cli.run(Request("fit", str(tiny), overrides=overrides)) == 0
    rows = rows_of(runs(tiny, "tiny") / "results.csv")
    assert {row["comparable"] for row in rows} == {comparable}


def test_evaluate_false_leaves_the_test_out(command: Command, tiny: Path):
    assert command("fit", "--evaluate=false") == 0
    assert not (runs(tiny) / "results.csv").exists()


def test_a_saved_run_shows_the_same_settings_byte_for_byte(
    command: Command, tiny: Path, capsys: pytest.CaptureFixture[str]
):
    command("fit", "--model.width=3", "--evaluate=false")
    saved = runs(tiny) / "config.yaml"
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.run(Request("show", str(saved)))
    assert stop.value.code == 0
    assert capsys.readouterr().out == saved.read_text()


def test_the_saved_settings_hold_every_default(command: Command, tiny: Path):
    command("fit", "--evaluate=false")
    saved = yaml.safe_load((runs(tiny) / "config.yaml").read_text())
    assert saved["model"]["init_args"]["betas"] == [0.5, 0.999]
    assert saved["trainer"]["num_sanity_val_steps"] == 0
    assert not {"max_epochs", "max_steps", "gradient_clip_val"} & saved["trainer"].keys()
    assert saved["seed_everything"] == 0
    assert saved["wandb"] == "off"
    assert (saved["experiment"], saved["scale"]) == ("tiny", "smoke")


def test_a_saved_run_trains_to_the_same_weights_again(command: Command, tiny: Path):
    command("fit", "--evaluate=false", "--seed_everything=5")
    saved = runs(tiny) / "config.yaml"
    assert cli.run(Request("fit", str(saved), run="again", evaluate=False)) == 0
    first, second = (
        torch.load(runs(tiny, name) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("tiny_smoke", "again")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_testing_leaves_the_settings_of_the_training_alone(command: Command, tiny: Path):
    command("fit", "--evaluate=false")
    saved = (runs(tiny) / "config.yaml").read_bytes()
    assert command("test", "--data.gamma=0.75") == 0
    assert command("validate", "--data.gamma=0.75") == 0
    assert (runs(tiny) / "config.yaml").read_bytes() == saved


def test_a_table_comes_with_the_settings_and_the_checkpoint_of_its_test(
    command: Command, tiny: Path
):
    scored = runs(tiny) / "results.yaml"
    assert command("fit") == 0
    trained = "checkpoint: last.ckpt\n" + (runs(tiny) / "config.yaml").read_text()
    assert scored.read_text() == trained
    assert command("test") == 0
    assert scored.read_text() == trained
    assert command("test", "--ckpt=best", "--data.gamma=0.75") == 0
    told = yaml.safe_load(scored.read_text())
    assert (told["checkpoint"], told["data"]["init_args"]["gamma"]) == ("best.ckpt", 0.75)


def test_a_checkpoint_does_not_beat_the_command_line(command: Command, tiny: Path):
    command("fit", "--evaluate=false")
    (runs(tiny) / "config.yaml").unlink()
    assert command("fit", "--resume", "--model.norm=instance", "--evaluate=false") == 0
    saved = yaml.safe_load((runs(tiny) / "config.yaml").read_text())
    assert saved["model"]["init_args"]["norm"] == "instance"


def test_a_run_goes_on_from_its_last_checkpoint(command: Command, tiny: Path):
    command("fit", "--evaluate=false", "--max_batches=2")
    assert command("fit", "--resume", "--evaluate=false", "--max_batches=4") == 0
    steps = [row["step"] for row in rows_of(runs(tiny) / "metrics.csv")]
    assert steps == ["1", "2", "3", "4"]


def test_tensorboard_shows_each_point_once_after_a_resume(command: Command, tiny: Path):
    command("fit", "--evaluate=false", "--max_batches=2")
    last = runs(tiny) / "checkpoints" / "last.ckpt"
    second_batch = last.read_bytes()
    for _ in range(2):  # the second goes over batches that the first had logged
        last.write_bytes(second_batch)
        command("fit", "--evaluate=false", "--max_batches=4", "--resume")
    board = EventAccumulator(str(runs(tiny) / "tensorboard")).Reload()
    assert [point.step for point in board.Scalars("train/rec")] == [1, 2, 3, 4]


def test_resume_starts_a_run_that_has_no_checkpoint(command: Command, tiny: Path):
    assert command("fit", "--resume", "--evaluate=false") == 0
    assert (runs(tiny) / "checkpoints" / "last.ckpt").is_file()


def test_a_used_folder_is_refused_and_left_alone(
    command: Command, tiny: Path, capsys: pytest.CaptureFixture[str]
):
    command("fit", "--evaluate=false")
    before = {path: path.stat().st_mtime_ns for path in runs(tiny).rglob("*")}
    capsys.readouterr()
    assert command("fit") == 2
    told = capsys.readouterr().err
    assert "RESUME=1" in told
    assert "RUN=<other name>" in told
    assert {path: path.stat().st_mtime_ns for path in runs(tiny).rglob("*")} == before


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("--model.widht=3", "no setting 'model.widht': did you mean 'model.width'"),
        ("--data.init_args.gama=1", "no setting 'data.gama': did you mean 'data.gamma'"),
        ("--trainer.max_tim=3", "no setting 'trainer.max_tim': did you mean 'trainer.max_time'"),
        ("--max_batch=3", "no setting 'max_batch': did you mean 'max_batches'"),
        ("--data.gamma=abc", "data.gamma must be a number from 0 to 1, got 'abc'"),
        ("--data.gamma=1.5", "data.gamma must be a number from 0 to 1, got '1.5'"),
        ("--max_batches=0", "max_batches must be a whole number above 0, got '0'"),
        ("--model.norm=instanc", "did you mean 'instance'"),
        ("--wandb=of", "wandb must be one of off, online, offline; got 'of'"),
        ("--data=tests.experiments.tiny.TinyDat", "did you mean 'TinyData'"),
        ("--data=nowhere.Data", "no class 'nowhere.Data' (No module named 'nowhere')"),
        ("--data=tests.experiments.tiny.TinyTraining", "is not a LightningDataModule"),
        ("--model=lightning_modules.base.Training", "Training is abstract"),
        ("--data.root=no/such/folder", "no data set at no/such/folder"),
        ("--trainer.precision=bf16-mixd", "did you mean 'bf16-mixed'"),
        ("--trainer.devices=x", "devices"),
        ("--trainer.logger=false", "no setting 'trainer.logger'"),
        ("--seed_everything=true", "seed_everything must be a whole number"),
        ("stray", "stray word 'stray'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_code_2_and_leaves_no_run(
    command: Command, tiny: Path, setting: str, said: str, capsys: pytest.CaptureFixture[str]
):
    assert command("fit", setting) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (runs(tiny) / "config.yaml").exists()


def test_a_missing_checkpoint_is_one_line(command: Command, capsys: pytest.CaptureFixture[str]):
    assert command("test") == 2
    assert "last.ckpt: train first, or name last, best" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_one_line(
    command: Command, tiny: Path, capsys: pytest.CaptureFixture[str]
):
    command("fit", "--evaluate=false")
    last = runs(tiny) / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-200])
    capsys.readouterr()
    assert command("test") == 2
    told = capsys.readouterr().err
    assert str(last) in told
    assert told.count("\n") == 1


def test_a_full_disk_is_one_line_and_code_1(
    command: Command, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lightning_modules.checkpoints.torch.save", full)
    assert command("fit") == 1
    told = capsys.readouterr().err
    assert "stopped: could not write" in told
    assert "No space left on device" in told
    assert "Traceback" not in told
    assert not (runs(tiny) / "results.csv").exists()


def test_another_fault_of_the_system_keeps_its_traceback(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    def lost(*_: object) -> None:
        raise OSError("no such device")

    monkeypatch.setattr("lightning_modules.checkpoints.write_checkpoint", lost)
    with pytest.raises(OSError, match="no such device"):
        command("fit")


def test_a_fault_of_the_programme_keeps_its_traceback(command: Command):
    with pytest.raises(ValueError, match="a fault of the programme"):
        command("fit", "--model.width=13")


@pytest.mark.filterwarnings("ignore")
def test_losses_that_stay_bad_end_the_run_with_code_3(
    command: Command, capsys: pytest.CaptureFixture[str]
):
    assert command("fit", "--model.width=7", "--max_batches=30") == 3
    assert "stopped: 10 batches in a row were skipped" in capsys.readouterr().err


def test_predict_writes_a_picture_for_each_image(command: Command, tiny: Path):
    command("fit", "--evaluate=false")
    assert command("predict") == 0
    names = sorted(path.name for path in (runs(tiny) / "predictions").iterdir())
    assert names == ["0.png", "1.png", "2.png", "3.png"]


def test_wandb_works_offline_and_stays_in_the_runs_folder(
    command: Command, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert command("fit", "--wandb=offline", "--evaluate=false") == 0
    assert list((runs(tiny) / "wandb").glob("offline-run-*"))


def test_two_processes_train_the_same_experiment(tiny: Path):
    arguments = ["--scale=smoke", "--trainer.devices=2", "--evaluate=false"]
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "fit", str(tiny), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(rows_of(runs(tiny) / "metrics.csv")) == 2


def test_a_run_is_scored_with_its_own_settings(command: Command, tiny: Path):
    assert command("fit", "--run=mine", "--data.init_args.batch_size=1") == 0
    request = Request("test", str(tiny), scale="smoke", run="mine")
    assert cli._merged(request)["data"]["init_args"]["batch_size"] == 1
    assert command("test", "--run=mine") == 0
