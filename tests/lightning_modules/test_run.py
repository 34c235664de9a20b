from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.checkpoints import CheckpointError
from lightning_modules.run import Run
from tests.lightning_modules.tiny import (
    StopAfter,
    TinyData,
    differences,
    everything,
    numbers,
    trainer,
)


class Mean(Run):
    """Learns the mean colour of images; as many helpers as told take part in training alone."""

    training_only = ("helpers",)
    frozen = ("given",)

    def __init__(self, helpers: int = 2) -> None:
        super().__init__(max_batches=6, learning_rate=0.1)
        self.colour = nn.Parameter(torch.zeros(3))
        self.helpers, self.given = nn.Linear(1, helpers), nn.Linear(1, 1)
        self.tested = 0

    def train_batch(self, batch: dict[str, Any]) -> None:
        with self.turn("generator"):
            error = batch["image"].mean((2, 3)) - self.colour
            weights = self.helpers(torch.ones(1))
            self.step("generator", error.square().mean() + weights.square().mean())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/psnr", 0.0, batch_size=1)  # what best.ckpt goes by

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.tested += len(batch["image"])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([self.colour, *self.helpers.parameters()], self.learning_rate)]


class Images(TinyData):
    """Images to train and to test on."""

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()


def fit(folder: Path, stop: list[pl.Callback] | None = None) -> Mean:
    torch.manual_seed(0)
    made, last = Mean(), folder / "checkpoints" / "last.ckpt"
    run = trainer(folder, callbacks=stop or [])
    run.fit(made, Images(), ckpt_path=last if last.exists() else None)
    return made


def test_a_run_needs_no_pairs_of_images(tmp_path: Path) -> None:
    made = fit(tmp_path)
    assert made.batches_done == 6
    assert float(numbers(tmp_path)[0]["train/learning_rate"]) == pytest.approx(0.1)
    assert made.colour.detach().min() > 0.05


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    fit(tmp_path / "whole")
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", [StopAfter(2)])
    fit(tmp_path / "killed")
    whole, killed = everything(tmp_path / "whole"), everything(tmp_path / "killed")
    assert differences(killed, whole) == []
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


def test_parts_of_the_training_alone_are_left_out_of_an_evaluation(tmp_path: Path) -> None:
    trained, other = fit(tmp_path), Mean(helpers=5)
    before = other.helpers.weight.clone()
    last = tmp_path / "checkpoints" / "last.ckpt"
    trainer(tmp_path).test(other, Images(), ckpt_path=last, verbose=False)
    assert other.tested == 2
    assert torch.equal(other.colour, trained.colour)
    assert torch.equal(other.helpers.weight, before)


def test_a_training_that_goes_on_needs_those_parts_as_they_were(tmp_path: Path) -> None:
    fit(tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(CheckpointError, match=r"helpers.bias is \(2,\) there and \(5,\) here"):
        trainer(tmp_path).fit(Mean(helpers=5), Images(), ckpt_path=last)


def test_frozen_parts_are_not_written(tmp_path: Path) -> None:
    fit(tmp_path)
    names = everything(tmp_path)["state_dict"]
    assert sorted(names) == ["colour", "helpers.bias", "helpers.weight"]
