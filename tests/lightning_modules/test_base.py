import math
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from lightning_modules.checkpoints import CheckpointError
from lightning_modules.guard import StoppedByLosses
from lightning_modules.measures import Measures
from lightning_modules.schedules import cosine
from lightning_modules.scores import Scores
from tests.lightning_modules.tiny import (
    StopAfter,
    Tiny,
    TinyData,
    change,
    differences,
    everything,
    numbers,
    train,
    trainer,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        train(folder)
    return folder


# An epoch is two and a half batches of four; five batches are two epochs.
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 5, 6, 7, 13, 29])
def test_a_killed_run_goes_on_bit_for_bit(
    tmp_path: Path, whole: Path, stop: int, workers: int
) -> None:
    train(tmp_path, workers=workers, stop=stop)
    train(tmp_path, workers=workers)
    assert differences(everything(tmp_path), everything(whole)) == []
    assert numbers(tmp_path) == numbers(whole)


def test_a_run_killed_several_times_with_rare_saves_goes_on_bit_for_bit(
    tmp_path: Path, whole: Path
) -> None:
    for stop in (9, 11, 25):
        train(tmp_path, stop=stop, every=4)
    train(tmp_path, every=4)
    assert differences(everything(tmp_path), everything(whole)) == []
    assert numbers(tmp_path) == numbers(whole)


def test_a_finished_run_that_is_resumed_trains_no_more(tmp_path: Path) -> None:
    train(tmp_path, batches=5)
    before = everything(tmp_path)
    module, _ = train(tmp_path, batches=5)
    assert module.batches_done == 5
    assert differences(everything(tmp_path), before) == []


def test_another_seed_gives_other_weights(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    train(tmp_path)
    assert differences(everything(tmp_path), everything(whole)) != []


def test_batches_are_counted_once_whatever_the_number_of_players(whole: Path) -> None:
    table = numbers(whole)
    assert [int(row["step"]) for row in table] == list(range(1, 31))
    validated = [int(row["step"]) for row in table if row["val/psnr"]]
    assert validated == [7, 14, 21, 28, 30]


def test_the_learning_rate_falls_along_a_cosine(whole: Path) -> None:
    rates = [float(row["train/learning_rate"]) for row in numbers(whole)]
    assert rates[0] == pytest.approx(1e-2)
    assert rates[15] == pytest.approx(0.5e-2)
    assert cosine(1.0) == 0.0


def test_validation_writes_a_picture_and_the_identity_row(whole: Path) -> None:
    assert (whole / "pictures" / "val_0000014.png").is_file()
    row = numbers(whole)[13]
    assert math.isfinite(float(row["val/psnr"]))
    assert row["val/identity_psnr"] != row["val/psnr"]


def test_a_test_writes_close_ups_and_validation_does_not(tmp_path: Path, whole: Path) -> None:
    module = Tiny()
    trainer(tmp_path).test(module, TinyData().val_dataloader(), verbose=False)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["closeup.png", "test.png"]
    assert not (whole / "pictures" / "closeup.png").exists()
    assert not [name for name in module.state_dict() if "exhibit" in name]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_writes_a_checkpoint_and_ends_with_its_code(
    tmp_path: Path, whole: Path, number: int, code: int
) -> None:
    class Raise(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: Tiny, *_: object) -> None:
            if module.batches_done == 11:
                signal.raise_signal(number)

    torch.manual_seed(11)
    with pytest.raises(SystemExit) as stopped:
        trainer(tmp_path, every=1000, callbacks=[Raise()]).fit(Tiny(), TinyData())
    assert stopped.value.code == code
    assert everything(tmp_path)["visagist"]["batches_done"] == 11
    train(tmp_path)
    assert differences(everything(tmp_path), everything(whole)) == []


class Poisoned(Tiny):
    """Puts a bad number into the loss, the gradient or the input of some batches."""

    def __init__(self, where: str, batches: range, max_batches: int = 30) -> None:
        super().__init__(max_batches)
        self.where, self.batches = where, batches

    def train_batch(self, batch: dict) -> None:
        if self.batches_done + 1 in self.batches and self.where == "input":
            batch["image"][0, 0, 3, 3] = float("nan")
        super().train_batch(batch)

    def step(self, player: str, loss: torch.Tensor) -> None:
        bad = self.batches_done + 1 in self.batches
        if bad and self.where == "loss":
            loss = loss * float("inf")
        hook = None
        if bad and self.where == "gradient":
            hook = self.generator.weight.register_hook(lambda grad: grad * float("nan"))
        try:
            super().step(player, loss)
        finally:
            if hook is not None:
                hook.remove()


@pytest.mark.parametrize("where", ["loss", "gradient", "input"])
def test_a_bad_batch_is_skipped_counted_and_named(tmp_path: Path, where: str) -> None:
    module = Poisoned(where, range(12, 14))
    trainer(tmp_path).fit(module, TinyData())
    assert module.guard.skipped == 2
    assert module.guard.in_a_row == 0
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    log = (tmp_path / "skipped_rank0.csv").read_text()
    assert log.startswith("12,")
    assert ".png" in log
    assert numbers(tmp_path)[-1]["train/skipped"] == "2.0"


def test_ten_bad_batches_stop_the_run_and_keep_the_last_good_checkpoint(tmp_path: Path) -> None:
    module = Poisoned("loss", range(8, 100))
    with pytest.raises(StoppedByLosses):
        trainer(tmp_path).fit(module, TinyData())
    assert module.batches_done == 17
    assert everything(tmp_path)["visagist"]["batches_done"] == 6  # the seventh may be the cause


def test_a_runaway_learning_rate_stops_within_ten_batches(tmp_path: Path) -> None:
    class Runaway(Tiny):
        def train_batch(self, batch: dict) -> None:
            if self.batches_done == 10:
                for group in self.trainer.optimizers[0].param_groups:
                    group["lr"] *= 1e6
            super().train_batch(batch)

    module = Runaway(max_batches=40)
    with pytest.raises(StoppedByLosses):
        trainer(tmp_path).fit(module, TinyData())
    assert module.batches_done <= 21
    # The step that ruined the weights is the eleventh; the state after it was saved as well.
    assert everything(tmp_path)["visagist"]["batches_done"] == 10
    change(tmp_path, method="Tiny")
    resumed, _ = train(tmp_path, batches=40)
    assert resumed.batches_done == 40
    assert float(numbers(tmp_path)[-1]["train/loss"]) < 1


def test_a_resumed_run_takes_the_learning_rate_that_it_is_given(tmp_path: Path) -> None:
    train(tmp_path, stop=9)
    module = Tiny()
    module.learning_rate = 1e-4
    run = trainer(tmp_path)
    run.fit(module, TinyData(), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    logged = float(numbers(tmp_path)[-1]["train/learning_rate"])
    assert logged == pytest.approx(1e-4 * cosine(29 / 30), rel=1e-4)
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(logged, rel=1e-4)


def test_going_on_with_other_settings_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path, batches=2)
    change(tmp_path, settings="data: {gamma: 0.1}\nrun_dir: a")
    module = Tiny(2)
    module.settings = "data: {gamma: 1.0}\nrun_dir: b"
    last = tmp_path / "checkpoints" / "last.ckpt"
    trainer(tmp_path).fit(module, TinyData(), ckpt_path=last)
    assert "going on with other settings: data.gamma: 0.1 -> 1.0" in caplog.text
    assert "run_dir" not in caplog.text


def test_frozen_parts_are_not_in_a_checkpoint(tmp_path: Path) -> None:
    class Frozen(Tiny):
        frozen = ("features",)

        def __init__(self) -> None:
            super().__init__(4)
            self.features = torch.nn.Conv2d(3, 1, 1).requires_grad_(False)

    with pytest.raises(SystemExit):
        trainer(tmp_path, callbacks=[StopAfter(3)]).fit(Frozen(), TinyData())
    assert not [name for name in everything(tmp_path)["state_dict"] if "features" in name]
    resumed = Frozen()
    last = tmp_path / "checkpoints" / "last.ckpt"
    trainer(tmp_path).fit(resumed, TinyData(), ckpt_path=last)
    assert resumed.batches_done == 4


def test_the_gradient_is_clipped_to_its_norm(tmp_path: Path) -> None:
    module = Tiny(3, clip_norm=1e-3)
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: Tiny, *_: object) -> None:
            grads = [parameter.grad for parameter in module.generator.parameters()]
            seen.append(float(torch.nn.utils.get_total_norm(grads)))

    trainer(tmp_path, callbacks=[Look()]).fit(module, TinyData())
    assert max(seen) <= 1.001e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"format": 99}, "update the suite"), ({"method": "CRN"}, "is of CRN, not of Tiny")],
)
def test_a_foreign_checkpoint_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    train(tmp_path, batches=2)
    change(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, batches=2)


def test_a_checkpoint_of_other_settings_is_refused_in_one_line(tmp_path: Path) -> None:
    train(tmp_path, batches=2)
    module = Tiny(2)
    module.critic = torch.nn.Conv2d(3, 2, 3)
    with pytest.raises(CheckpointError, match=r"critic\.bias is \(1,\) there and \(2,\) here"):
        trainer(tmp_path).fit(module, TinyData(), ckpt_path=tmp_path / "checkpoints/last.ckpt")


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    def weights(folder: Path, batch_size: int, **settings: object) -> dict:
        torch.manual_seed(11)
        module = Tiny(20, noise=0.0)
        data = TinyData(batch_size=batch_size)
        # In float32 Adam makes rounding in tiny gradients visible after a few steps.
        settings |= {"precision": "64-true", "val_check_interval": 100}
        trainer(folder, **settings).fit(module, data)
        return everything(folder)["state_dict"]

    one = weights(tmp_path / "one", 4)
    two = weights(tmp_path / "two", 2, devices=2, strategy="ddp_fork_find_unused_parameters_true")
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-5, atol=1e-7), name


class SmallFaces(TinyData):
    size = 64


def test_images_too_small_for_a_measure_are_refused_before_any_training(tmp_path: Path) -> None:
    made = Tiny()
    made.scores = Scores(Measures(ms_ssim=True))
    with pytest.raises(ValueError, match="at least 176 pixels a side, got 64 x 64"):
        trainer(tmp_path).fit(made, SmallFaces())
    assert made.batches_done == 0
