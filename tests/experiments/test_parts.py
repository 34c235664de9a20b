import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy

from datamodules.across import Across
from experiments import cli
from experiments.parts import LIMITS, Predictions, run_callbacks, run_loggers, run_strategy
from experiments.settings import Request, SettingsError
from lightning_modules.base import Restored
from lightning_modules.checkpoints import CheckpointError, Checkpoints
from lightning_modules.loggers import CsvMetrics
from tests.experiments.tiny import TinyTraining

import pytorch_lightning as pl  # isort: skip

Command = Callable[..., int]

SETTINGS = {"checkpoint_every": 7, "monitor": "val/psnr"}


def test_a_run_always_logs_to_csv_and_tensorboard(tmp_path: Path):
    loggers = run_loggers(tmp_path, Namespace(wandb="off"))
    assert [type(logger) for logger in loggers] == [CsvMetrics, TensorBoardLogger]
    assert Path(loggers[1].log_dir) == tmp_path / "tensorboard"


def test_wandb_not_installed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match=r"pip install -e '\.\[wandb\]'"):
        run_loggers(tmp_path, Namespace(wandb="offline"))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("value", [1, 1.0, 0.5, 0, None])
def test_one_batch_is_not_all_of_them(
    limit: str,
    value: float | None,
    tiny: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
):
    def shown(*overrides: str) -> object:
        with pytest.raises(SystemExit):
            command("show", *overrides)
        return yaml.safe_load(capsys.readouterr().out)["trainer"][limit]

    written = yaml.safe_dump(value).split()[0]
    given = shown(f"--trainer.{limit}={written}")
    assert (type(given), given) == (type(value), value)
    tiny.write_text(f"{tiny.read_text()}scales: {{smoke: {{trainer: {{{limit}: {written}}}}}}}\n")
    read = shown()
    assert (type(read), read) == (type(value), value)


def test_a_limit_is_a_count_or_a_share(
    tiny: Path, command: Command, capsys: pytest.CaptureFixture[str]
):
    assert command("fit", "--trainer.limit_val_batches=2.5") == 2
    assert "must be int or a number from 0 to 1, got '2.5'" in capsys.readouterr().err


def test_checkpoints_lie_in_the_runs_folder(tmp_path: Path):
    callbacks = run_callbacks(tmp_path, Namespace(**SETTINGS))
    [checkpoints] = [callback for callback in callbacks if isinstance(callback, Checkpoints)]
    assert checkpoints.last == tmp_path / "checkpoints" / "last.ckpt"
    assert checkpoints.every == 7


def test_a_strategy_that_was_asked_for_is_kept():
    assert run_strategy(Namespace(strategy="fsdp")) == "fsdp"


def test_ddp_that_was_asked_for_bears_players_taking_turns():
    strategy = run_strategy(Namespace(strategy="ddp"))
    assert isinstance(strategy, DDPStrategy)
    assert strategy._ddp_kwargs["find_unused_parameters"] is True


@pytest.mark.parametrize(("name", "identity"), [("x_gamma0.1", "x_gamma0.1"), ("a: b", "a--b")])
def test_a_run_keeps_its_place_on_the_wandb_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, identity: str
):
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    logger = run_loggers(tmp_path / name, Namespace(wandb="offline"))[-1]
    assert logger.version == identity
    assert logger._wandb_init["resume"] == "allow"


def test_wandb_online_without_a_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wandb.login", lambda **_: False)
    with pytest.raises(SettingsError, match="run `wandb login`, or set --wandb=offline"):
        run_loggers(tmp_path, Namespace(wandb="online"))


def test_a_damaged_checkpoint_is_told_before_anything_is_logged(tmp_path: Path):
    (tmp_path / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        run_loggers(tmp_path, Namespace(wandb="off"), str(tmp_path / "last.ckpt"))


def test_several_processes_get_ddp_that_bears_players_taking_turns(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli.SuiteCLI, "execute", lambda self: built.append(self.trainer.strategy))
    built: list[object] = []
    for devices in (1, 2):
        cli.run(
            Request("fit", str(tiny), scale="smoke", overrides=(f"--trainer.devices={devices}",))
        )
    single, double = built
    assert not isinstance(single, DDPStrategy)
    assert isinstance(double, DDPStrategy)
    assert double._ddp_kwargs["find_unused_parameters"] is True


def test_a_strategy_given_as_a_class_is_built(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli.SuiteCLI, "execute", lambda self: built.append(self.trainer.strategy))
    built: list[object] = []
    one = "pytorch_lightning.strategies.SingleDeviceStrategy"
    overrides = (f"--trainer.strategy={one}", "--trainer.strategy.init_args.device=cpu")
    assert cli.run(Request("fit", str(tiny), scale="smoke", overrides=overrides)) == 0
    assert type(built[0]) is SingleDeviceStrategy


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("--trainer.max_step=3", "no setting 'trainer.max_step': the length of a run is max_batch"),
        ("--trainer.max_steps=3", "no setting 'trainer.max_steps': the length of a run is max_b"),
        ("--trainer.min_steps=3", "max_batches"),
        ("--trainer.max_epochs=3", "max_batches"),
        ("--trainer.min_epochs=3", "max_batches"),
        ("--trainer={max_epochs: 3}", "no setting 'trainer.max_epochs': the length of a run is m"),
        ("--trainer.limit_train_batches=3", "max_batches"),
        ("--trainer.fast_dev_run=true", "--scale=smoke"),
        ("--trainer.overfit_batches=1", "max_batches"),
        ("--trainer.accumulate_grad_batches=2", "data.init_args.batch_size"),
        ("--trainer.gradient_clip_val=1", "model.init_args.clip_norm"),
        ("--trainer.gradient_clip_algorithm=value", "model.init_args.clip_norm"),
        ("--trainer.precision=16-mixed", "16-mixed cannot work here: "),
        ("--trainer.precision=16", "16 cannot work here: "),
        ("--trainer.precision=bf16-true", "must be one of 32-true, 64-true, bf16-mixed"),
    ],
)
def test_a_setting_that_would_break_a_run_is_refused_and_ours_is_named(
    command: Command, tiny: Path, setting: str, said: str, capsys: pytest.CaptureFixture[str]
):
    assert command("fit", setting) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tiny.parent / "runs" / "tiny_smoke" / "config.yaml").exists()


def test_predictions_lie_in_the_folders_of_their_pictures(tmp_path: Path):
    answers = Restored(torch.full((2, 3, 16, 16), 0.5))
    batch = {"name": ["ann/same.v2", "bob/same.v2"]}
    Predictions(tmp_path).on_predict_batch_end(pl.Trainer(), TinyTraining(), answers, batch)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert written == {"ann/same.v2.png", "bob/same.v2.png"}


def test_the_seed_reaches_the_training_set_of_two_joined(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli.SuiteCLI, "execute", lambda self: built.append(self.datamodule))
    built: list[Across] = []
    joined = "data: {class_path: datamodules.across.Across, init_args: {train: SET, test: SET}}"
    one = "{class_path: datamodules.ffhq.FFHQ, init_args: {root: nowhere}}"
    told = yaml.safe_load(tiny.read_text()) | yaml.safe_load(joined.replace("SET", one))
    tiny.write_text(yaml.safe_dump(told))
    assert cli.run(Request("fit", str(tiny), overrides=("--seed_everything=9",))) == 0
    assert built[0].train.seed == 9
