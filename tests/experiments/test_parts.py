import sys
from pathlib import Path

import pytest
from jsonargparse import Namespace
from pytorch_lightning.loggers import TensorBoardLogger

from experiments.parts import run_callbacks, run_loggers, run_strategy
from experiments.settings import SettingsError
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.loggers import CsvMetrics

SETTINGS = {"checkpoint_every": 7, "monitor": "val/psnr"}


def test_a_run_always_logs_to_csv_and_tensorboard(tmp_path: Path):
    loggers = run_loggers(tmp_path, Namespace(wandb="off"))
    assert [type(logger) for logger in loggers] == [CsvMetrics, TensorBoardLogger]
    assert Path(loggers[1].log_dir) == tmp_path / "tensorboard"


def test_wandb_not_installed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match=r"pip install -e '\.\[wandb\]'"):
        run_loggers(tmp_path, Namespace(wandb="offline"))


def test_checkpoints_lie_in_the_runs_folder(tmp_path: Path):
    callbacks = run_callbacks(tmp_path, Namespace(**SETTINGS))
    [checkpoints] = [callback for callback in callbacks if isinstance(callback, Checkpoints)]
    assert checkpoints.last == tmp_path / "checkpoints" / "last.ckpt"
    assert checkpoints.every == 7


def test_a_strategy_that_was_asked_for_is_kept():
    assert run_strategy(Namespace(strategy="ddp")) == "ddp"
