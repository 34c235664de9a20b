from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from lightning_modules.base import Training
from lightning_modules.restoration import (
    AdversarialRestoration,
    Game,
    Plain,
    RelativisticAverage,
    Restoration,
    Terms,
)
from lightning_modules.schedules import Stairs
from ops.nets.dncnn import DnCNN
from ops.nets.features import RandomFeatures
from ops.nets.image_discriminator import ImageDiscriminator
from ops.nets.srresnet import SRResNet
from ops.nets.unet import RestorationUNet
from tests.lightning_modules.tiny import (
    StopAfter,
    TinyData,
    differences,
    everything,
    numbers,
    trainer,
)

BATCHES = 6
TERMS, AVERAGE = Terms(Plain(), pretraining=0.5), RelativisticAverage()


def plain(batches: int = BATCHES) -> Restoration:
    torch.manual_seed(0)
    return Restoration(DnCNN(3, 8), max_batches=batches, learning_rate=1e-3)


def playing(terms: Terms = TERMS, batches: int = BATCHES) -> AdversarialRestoration:
    torch.manual_seed(0)
    network, judge = SRResNet(1, 6, 2), ImageDiscriminator((4, 4), 6, 3)
    return AdversarialRestoration(network, judge, RandomFeatures(4), terms, batches, 1e-3)


def relativistic(batches: int = BATCHES) -> AdversarialRestoration:
    terms = Terms(AVERAGE, 0.01, 1.0, 5e-3, F.l1_loss, F.l1_loss, 0.5)
    return playing(terms, batches)


def silent(made: Any) -> Any:
    made.log_terms = lambda *_, **__: None
    return made


METHODS = pytest.mark.parametrize("method", [plain, playing, relativistic])
GAMES = pytest.mark.parametrize("game", [Plain(), AVERAGE])


class Mean(nn.Module):
    """Judges an image by ten times its mean."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 10 * image.mean((1, 2, 3), keepdim=True)


class Tripled(nn.Module):
    """A map that is not to be looked at, and three times the image."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [torch.zeros_like(image), 3 * image]


def told(terms: Terms) -> AdversarialRestoration:
    """A module whose losses can be written down."""
    made = silent(playing(terms))
    made.discriminator, made.features = Mean(), Tripled()
    return made


def softplus(x: float) -> float:
    return float(F.softplus(torch.tensor(float(x))))


OUTPUT, TARGET = torch.full((1, 3, 8, 8), 0.3), torch.full((1, 3, 8, 8), 0.5)  # judged 3 and 5


def test_the_networks_loss_is_srgans_sum() -> None:
    made = told(Terms(Plain(), 2.0, 7.0, 0.1))
    expected = 2 * 0.2**2 + 7 * 0.6**2 + 0.1 * softplus(-3)
    assert float(made.network_loss(OUTPUT, TARGET)) == pytest.approx(expected, rel=1e-5)


def test_the_networks_loss_is_esrgans_sum() -> None:
    made = told(Terms(AVERAGE, 0.01, 1.0, 5e-3, F.l1_loss, F.l1_loss))
    expected = 0.01 * 0.2 + 0.6 + 5e-3 * 2 * softplus(5 - 3)
    assert float(made.network_loss(OUTPUT, TARGET)) == pytest.approx(expected, rel=1e-5)


def test_the_discriminators_loss_is_its_games() -> None:
    for game, loss in ((Plain(), softplus(-5) + softplus(3)), (AVERAGE, 2 * softplus(3 - 5))):
        found = told(Terms(game)).discriminator_loss(OUTPUT, TARGET)
        assert float(found) == pytest.approx(loss, rel=1e-5)


@GAMES
def test_the_players_want_the_opposite_judgement_of_an_output(game: Game) -> None:
    high, judge = torch.ones(1, 3, 8, 8), Mean()
    assert game.judge_loss(judge, -high, high) < game.judge_loss(judge, high, -high)
    assert game.network_loss(judge, high, -high) < game.network_loss(judge, -high, high)


@GAMES
def test_the_discriminators_loss_has_no_gradient_for_the_network(game: Game) -> None:
    made = silent(playing(Terms(game)))
    output = made.network(torch.rand(2, 3, 12, 12)).detach()
    made.discriminator_loss(output, torch.rand(2, 3, 12, 12)).backward()
    assert all(p.grad is None for p in made.network.parameters())
    assert any(p.grad is not None and p.grad.any() for p in made.discriminator.parameters())


@GAMES
def test_every_weight_of_the_network_has_a_gradient(game: Game) -> None:
    made = silent(playing(Terms(game)))
    made.network_loss(made.network(torch.rand(1, 3, 12, 12)), torch.rand(1, 3, 12, 12)).backward()
    assert all(p.grad is not None and p.grad.any() for p in made.network.parameters())


def test_the_first_part_of_a_run_moves_the_network_alone_by_pixels_alone(tmp_path: Path) -> None:
    made = playing(batches=4)
    turns = []
    step = made.step

    def watched(player: str, loss: torch.Tensor) -> None:
        before = {name: p.detach().clone() for name, p in made.named_parameters()}
        step(player, loss)
        now = dict(made.named_parameters())
        moved = {name for name, value in before.items() if not torch.equal(value, now[name])}
        turns.append((player, {name.split(".")[0] for name in moved}))

    made.step = watched  # type: ignore[method-assign]
    trainer(tmp_path).fit(made, TinyData())
    pixels, judge = ("generator", {"network"}), ("discriminator", {"discriminator"})
    assert turns == [pixels, pixels, pixels, judge, pixels, judge]
    assert all(p.grad is None for p in made.features.parameters())
    assert [row["train/content"] != "" for row in numbers(tmp_path)] == [False] * 2 + [True] * 2


def test_the_game_may_begin_with_a_loss_of_another_size(tmp_path: Path) -> None:
    made = playing(Terms(Plain(), content=1e6, pretraining=0.5), 30)
    trainer(tmp_path, val_check_interval=100).fit(made, TinyData())
    assert float(numbers(tmp_path)[-1]["train/skipped"]) == 0


@METHODS
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, method: Callable[[], Training]) -> None:
    trainer(tmp_path / "whole").fit(method(), TinyData())
    with pytest.raises(SystemExit):
        trainer(tmp_path / "killed", callbacks=[StopAfter(2)]).fit(method(), TinyData())
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    trainer(tmp_path / "killed").fit(method(), TinyData(), ckpt_path=last)
    whole, killed = everything(tmp_path / "whole"), everything(tmp_path / "killed")
    assert differences(whole, killed) == []
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "killed")
    assert not [name for name in whole["state_dict"] if name.startswith("features.")]


@METHODS
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_each_method_trains_on_one_image_a_batch_with_finite_losses(
    tmp_path: Path, method: Callable[..., Training], precision: str
) -> None:
    made = method(batches=4)
    trainer(tmp_path, precision=precision, limit_val_batches=1).fit(made, TinyData(1))
    rows = numbers(tmp_path)
    assert [float(row["train/skipped"]) for row in rows] == [0] * 4
    assert all(float(row["train/pixels"]) < 10 for row in rows)


@METHODS
def test_steps_down_its_loss_bring_an_image_nearer(method: Callable[[], Training]) -> None:
    made = silent(method())
    loss = made.pixel_loss if isinstance(made, Restoration) else made.network_loss
    if isinstance(made, AdversarialRestoration):
        made.terms = replace(made.terms, pixel=1.0)
    made.learning_rate = 1e-2
    image = F.interpolate(torch.rand(1, 3, 6, 6), scale_factor=2)
    optimizer, *_ = made.configure_optimizers()
    losses = []
    for _ in range(40):
        output = made.network(image)
        optimizer.zero_grad()
        loss(output, image**2).backward()
        optimizer.step()
        losses.append(float((output - image**2).detach().abs().mean()))
    assert losses[-1] < 0.5 * losses[0], losses


def test_the_distance_is_the_one_given() -> None:
    made = silent(Restoration(DnCNN(2, 4), F.l1_loss))
    assert float(made.pixel_loss(OUTPUT, TARGET)) == pytest.approx(0.2)
    assert float(silent(plain()).pixel_loss(OUTPUT, TARGET)) == pytest.approx(0.04)


def test_adam_has_the_moments_and_the_rate_the_schedule_given(tmp_path: Path) -> None:
    stairs = Stairs((0.5,), (0.25,))
    made = Restoration(DnCNN(2, 4), betas=(0.5, 0.9), max_batches=4, schedule=stairs)
    rates = []
    step = made.step

    def watched(player: str, loss: torch.Tensor) -> None:
        step(player, loss)
        (group,) = made.trainer.optimizers[0].param_groups
        rates.append((group["lr"], *group["betas"]))

    made.step = watched  # type: ignore[method-assign]
    trainer(tmp_path).fit(made, TinyData())
    assert rates == [(1e-4, 0.5, 0.9)] * 2 + [(2.5e-5, 0.5, 0.9)] * 2


@METHODS
def test_a_restored_image_is_in_range_and_single_precision(method: Callable[[], Training]) -> None:
    made = method()
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.mul_(9)
    with torch.autocast("cpu", torch.bfloat16):
        restored = made.restore({"image": torch.rand(2, 3, 11, 13)}).image.detach()
    assert restored.shape == (2, 3, 11, 13)
    assert restored.dtype == torch.float32
    assert 0 <= float(restored.amin()) < float(restored.amax()) <= 1


class KeepWeights(pl.Callback):
    """Writes what each process has at the end."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: Training) -> None:
        path = Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.pt"
        torch.save(pl_module.state_dict(), path)


def fitted(folder: Path, made: Training, processes: int) -> list[dict[str, torch.Tensor]]:
    """The weights of each process after batches of two images in all."""
    settings: dict = {"precision": "64-true", "limit_val_batches": 0, "devices": processes}
    if processes > 1:  # one that waits for the other in vain fails, and does not hang
        settings["strategy"] = DDPStrategy(
            start_method="fork", find_unused_parameters=True, timeout=timedelta(seconds=60)
        )
    run = trainer(folder, every=100, **settings, callbacks=[KeepWeights()])
    run.fit(made, TinyData(2 // processes))
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(processes)]


def test_two_processes_of_one_image_train_like_one_of_two(tmp_path: Path) -> None:
    def made() -> Restoration:
        torch.manual_seed(0)
        return Restoration(RestorationUNet((8, 8)), max_batches=3, learning_rate=1e-3)

    (one,), (two, other) = fitted(tmp_path / "1", made(), 1), fitted(tmp_path / "2", made(), 2)
    apart = {name: float((one[name] - two[name]).abs().max()) for name in one}
    assert {name: far for name, far in apart.items() if far > 1e-7} == {}
    assert all(torch.equal(two[name], other[name]) for name in two)


def test_two_processes_that_play_keep_the_same_weights(tmp_path: Path) -> None:
    start = relativistic().state_dict()
    two, other = fitted(tmp_path, relativistic(batches=4), 2)
    weights = [name for name in two if "running" not in name and "tracked" not in name]
    assert all(torch.equal(two[name], other[name]) for name in weights)
    moved = {n.split(".")[0] for n in weights if not torch.equal(start[n].double(), two[n])}
    assert moved == {"network", "discriminator"}


def test_untrained_features_are_told_to_the_reader_of_the_table() -> None:
    assert "not comparable with the paper" in playing().caveat
    known = RandomFeatures(4)
    known.comparable = True
    made = AdversarialRestoration(SRResNet(1, 4), ImageDiscriminator((4, 4), 4), known, TERMS)
    assert made.caveat == plain().caveat == ""
