from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, Dataset

from datamodules.stream import StepSampler, sample_generator
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.classifier import (
    AnswerScores,
    DegradationClassification,
    classification_loss,
    labels_of,
)
from ops.nets.degradation_classifier import DegradationClassifier
from tests.lightning_modules.tiny import StopAfter, differences, everything, numbers, trainer


class Spoilt(Dataset):
    """Grey pictures, every second one dark, every third one with noise."""

    def __getitem__(self, key: tuple[int, int] | int) -> dict:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        noisy, dark = index % 3 == 0, index % 2 == 0
        noise = sample_generator(7, epoch, index).standard_normal((3, 8, 8), dtype="float32")
        image = torch.full((3, 8, 8), 0.1 if dark else 0.6) + 0.1 * noisy * torch.from_numpy(noise)
        return {"image": image, "label": torch.tensor([0.0, noisy, dark]), "name": f"{index}"}

    def __len__(self) -> int:
        return 12


class SpoiltData(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.first_batch = 0

    def train_dataloader(self) -> DataLoader:
        order = StepSampler(12, 6, seed=3, rank=0, world=1, first_batch=self.first_batch)
        return DataLoader(Spoilt(), batch_sampler=order)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Spoilt(), batch_size=5)

    test_dataloader = val_dataloader


def module(batches: int = 6) -> DegradationClassification:
    torch.manual_seed(0)
    return DegradationClassification(DegradationClassifier((4, 8)), batches, 1e-2)


def fit(folder: Path, made: DegradationClassification, **settings: object) -> None:
    last = folder / "checkpoints" / "last.ckpt"
    run = trainer(folder, **settings)
    for callback in run.callbacks:
        if isinstance(callback, Checkpoints):
            callback.monitor = "val/accuracy"
    run.fit(made, SpoiltData(), ckpt_path=last if last.exists() else None)


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    fit(tmp_path / "whole", module(), val_check_interval=4)
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", module(), val_check_interval=4, callbacks=[StopAfter(3)])
    fit(tmp_path / "killed", module(), val_check_interval=4)
    assert differences(everything(tmp_path / "killed"), everything(tmp_path / "whole")) == []
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


def test_training_lowers_the_loss_and_answers_better_than_the_commoner_answer(
    tmp_path: Path,
) -> None:
    made = module(40)
    fit(tmp_path, made, val_check_interval=1000)
    losses = [float(row["train/classification"]) for row in numbers(tmp_path)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    trainer(tmp_path).test(made, SpoiltData(), verbose=False)
    most, output = made.results
    assert (most["method"], output["method"]) == ("most", "output")
    assert output["accuracy"] > most["accuracy"] + 0.1
    assert output["n"] == most["n"] == 12


def test_validation_logs_what_is_monitored(tmp_path: Path) -> None:
    fit(tmp_path, module(2), val_check_interval=2)
    row = numbers(tmp_path)[-1]
    wanted = {"accuracy", "blur", "noise", "low_light", "all", "cross_entropy"}
    assert {name.removeprefix("val/") for name in row if name.startswith("val/")} == wanted


def test_scores_are_the_shares_of_right_answers() -> None:
    scores = AnswerScores()
    logits = torch.tensor([[1.0, 1.0, -1.0], [-2.0, 1.0, 1.0]])
    label = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    scores.update(logits[:1], label[:1])
    scores.update(logits[1:], label[1:])
    table = scores.table()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, label).item()
    assert table["output"] == {
        "n": 2,
        "accuracy": pytest.approx(4 / 6),
        "blur": 0.5,
        "noise": 1.0,
        "low_light": 0.5,
        "all": 0.5,
        "cross_entropy": pytest.approx(entropy),
    }
    assert table["most"] == {"n": 2, "accuracy": 1, "blur": 1, "noise": 1, "low_light": 1}
    scores.reset()
    scores.update(logits[:1], label[:1])
    assert scores.table()["output"]["all"] == 1


def test_the_commoner_answer_may_be_no() -> None:
    scores = AnswerScores()
    scores.update(torch.ones(4, 3), torch.tensor([[0.0, 0.0, 1.0]] * 3 + [[1.0, 0.0, 0.0]]))
    row = scores.table()["most"]
    assert (row["blur"], row["noise"], row["low_light"]) == (0.75, 1, 0.75)


def test_the_loss_is_in_single_precision() -> None:
    logits = torch.randn(2, 3).to(torch.bfloat16)
    label = torch.tensor([[1.0, 0.0, 1.0]] * 2)
    found = classification_loss(logits, label)
    assert found.dtype == torch.float32
    chance = logits.float().sigmoid()
    expected = -(label * chance.log() + (1 - label) * (1 - chance).log()).mean()
    torch.testing.assert_close(found, expected)


def test_data_that_do_not_say_what_they_show_are_refused() -> None:
    with pytest.raises(ValueError, match="do not say which degradations"):
        labels_of({"image": torch.rand(1, 3, 8, 8)})


def test_a_classifier_predicts_no_pictures() -> None:
    with pytest.raises(MisconfigurationException, match="gives answers, not pictures"):
        module().predict_step({}, 0)
