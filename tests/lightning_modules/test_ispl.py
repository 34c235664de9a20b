from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from lightning_modules.ispl import Recipe, SubspaceRestoration, Terms
from ops.nets.features import RandomFeatures
from ops.nets.guidance import EP16x, EPMap, Implicit
from ops.nets.hifacegan import LipPrior, SpectralGenerator
from ops.nets.ispl import ISPL, Generator
from ops.nets.patch_discriminator import Judgement, MultiScaleDiscriminator
from tests.lightning_modules.tiny import (
    StopAfter,
    TinyData,
    differences,
    everything,
    numbers,
    trainer,
)

TERMS, RECIPE = Terms(layers=(0.25, 0.5, 1.0)), Recipe()
TWO_TIME_SCALES = Recipe((0.0, 0.9), 4.0)
BATCHES, PARSED = 10, partial(EPMap, classes=2)
Prior = Callable[[tuple[int, ...]], nn.Module]


def module(
    recipe: Recipe = RECIPE, terms: Terms = TERMS, prior: Prior = Implicit, batches: int = BATCHES
) -> SubspaceRestoration:
    torch.manual_seed(0)
    return SubspaceRestoration(
        ISPL((4, 6), prior),
        MultiScaleDiscriminator(2, (4, 6)),
        RandomFeatures(4),
        terms,
        recipe,
        batches,
        1e-3,
    )


def silent(made: SubspaceRestoration) -> SubspaceRestoration:
    made.log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    return made


class Told(nn.Module):
    """Judges an image by its mean, and shows twice the image as its only map."""

    def forward(self, image: torch.Tensor, condition: torch.Tensor) -> list[Judgement]:
        logits = image.mean((1, 2, 3), keepdim=True) + condition.mean((1, 2, 3), keepdim=True)
        return [Judgement(logits, [2 * image])]


class Doubled(nn.Module):
    """Three times the image, as the only map."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [3 * image]


def told(terms: Terms) -> SubspaceRestoration:
    """A module whose losses can be written down."""
    made = silent(module(terms=terms))
    made.discriminator, made.features = Told(), Doubled()
    return made


def test_the_generators_loss_is_the_sum_of_equation_13() -> None:
    made = told(Terms(2.0, 10.0, 7.0, layers=(0.5,)))
    image, output, target = (torch.full((1, 3, 8, 8), value) for value in (0.1, 0.3, 0.5))
    # D gives 0.4 for the output; maps are twice and three times 0.2 apart.
    expected = 2 * (0.4 - 1) ** 2 + 10 * 0.4 + 7 * 0.5 * 0.6
    assert float(made.generator_loss(image, output, target)) == pytest.approx(expected)


def test_the_distance_of_maps_may_be_the_printed_square() -> None:
    made = told(Terms(0.0, 10.0, 7.0, layers=(0.5,), distance=F.mse_loss))
    image, output, target = (torch.full((1, 3, 8, 8), value) for value in (0.1, 0.3, 0.5))
    expected = 10 * 0.4**2 + 7 * 0.5 * 0.6**2
    assert float(made.generator_loss(image, output, target)) == pytest.approx(expected)


def test_the_discriminators_loss_is_least_squares_without_logarithms() -> None:
    made = told(TERMS)
    image, output, target = (torch.full((1, 3, 8, 8), value) for value in (0.1, 0.3, 0.5))
    expected = (0.6 - 1) ** 2 + 0.4**2
    assert float(made.discriminator_loss(image, output, target)) == pytest.approx(expected)


def test_the_discriminators_see_the_degraded_image_beside_the_output() -> None:
    made = silent(module()).eval()  # spectral norms move in training mode
    image, other, output, target = torch.rand(4, 1, 3, 12, 12)
    losses = [made.discriminator_loss(each, output, target).detach() for each in (image, other)]
    assert losses[0] != losses[1]


def test_each_turn_moves_its_own_player_alone(tmp_path: Path) -> None:
    made = module(batches=2)
    turns = []
    step = made.step

    def watched(player: str, loss: torch.Tensor) -> None:
        before = {name: p.detach().clone() for name, p in made.named_parameters()}
        step(player, loss)
        now = dict(made.named_parameters())
        moved = {name for name, value in before.items() if not torch.equal(value, now[name])}
        turns.append((player, {name.split(".")[0] for name in moved}))

    made.step = watched  # type: ignore[method-assign]
    trainer(tmp_path).fit(made, TinyData(batch_size=1))
    assert turns == [("generator", {"network"}), ("discriminator", {"discriminator"})] * 2
    assert all(p.grad is None for p in made.features.parameters())


def test_every_weight_of_the_network_has_a_gradient() -> None:
    made = silent(module())
    image, target = torch.rand(2, 1, 3, 12, 12)
    made.generator_loss(image, made.network(image), target).backward()
    still = [n for n, p in made.network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_the_discriminators_loss_has_no_gradient_for_the_network() -> None:
    made = silent(module())
    image, target = torch.rand(2, 1, 3, 12, 12)
    made.discriminator_loss(image, made.network(image).detach(), target).backward()
    assert all(p.grad is None for p in made.network.parameters())
    assert any(p.grad is not None and p.grad.any() for p in made.discriminator.parameters())


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def made() -> SubspaceRestoration:
        return module(TWO_TIME_SCALES, batches=5)

    trainer(tmp_path / "whole").fit(made(), TinyData(2))
    with pytest.raises(SystemExit):
        trainer(tmp_path / "killed", callbacks=[StopAfter(2)]).fit(made(), TinyData(2))
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    trainer(tmp_path / "killed").fit(made(), TinyData(2), ckpt_path=last)
    whole, killed = everything(tmp_path / "whole"), everything(tmp_path / "killed")
    assert differences(whole, killed) == []
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "killed")
    assert not [name for name in whole["state_dict"] if name.startswith("features.")]


def test_the_players_rates_keep_their_ratio_while_they_fall(tmp_path: Path) -> None:
    made = module(TWO_TIME_SCALES)
    rates: list[tuple[float, ...]] = []
    step = made.step

    def watched(player: str, loss: torch.Tensor) -> None:
        step(player, loss)
        if player == "discriminator":
            listed = made.trainer.optimizers
            assert {group["betas"] for each in listed for group in each.param_groups} == {(0, 0.9)}
            rates.append(tuple(each.param_groups[0]["lr"] for each in listed))

    made.step = watched  # type: ignore[method-assign]
    trainer(tmp_path, every=100).fit(made, TinyData(1))
    expected = [1e-3] * 7 + [7.5e-4, 5e-4, 2.5e-4]
    assert [rate for rate, _ in rates] == pytest.approx(expected)
    assert [rate for _, rate in rates] == pytest.approx([4 * rate for rate in expected])


def test_steps_down_the_generators_loss_bring_a_face_nearer_to_its_target() -> None:
    made = silent(module())
    made.learning_rate = 5e-3
    image, target = torch.rand(2, 1, 3, 12, 12)
    optimizer, _ = made.configure_optimizers()
    losses = []
    for _ in range(20):
        loss = made.generator_loss(image, made.network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(made.perceptual_loss(made.network(image), target).detach()))
    assert losses[-1] < 0.6 * losses[0], losses


def released() -> SubspaceRestoration:
    made = module()
    made.network = ISPL((4, 6), LipPrior, SpectralGenerator)
    return made


def saving() -> SubspaceRestoration:
    made = module()
    made.network = ISPL((4, 6), generator=lambda *sides: Generator(*sides, checkpointing=True))
    return made


@pytest.mark.parametrize("method", [module, released, saving, lambda: module(prior=EP16x)])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_each_network_trains_on_one_face_a_batch_with_finite_losses(
    tmp_path: Path, method: Callable[[], SubspaceRestoration], precision: str
) -> None:
    made = method()
    made.max_batches = 2
    trainer(tmp_path, precision=precision, limit_val_batches=1).fit(made, TinyData(1))
    rows = numbers(tmp_path)
    assert [float(row["train/skipped"]) for row in rows] == [0, 0]
    assert all(float(row["train/gan"]) < 10 for row in rows)


class KeepWeights(pl.Callback):
    """Writes what each process has at the end."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: SubspaceRestoration) -> None:
        path = Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.pt"
        torch.save(pl_module.state_dict(), path)


def trained(folder: Path, processes: int) -> list[dict[str, torch.Tensor]]:
    """The weights of each process after two batches of two faces."""
    settings: dict = {"precision": "64-true", "limit_val_batches": 0, "devices": processes}
    if processes > 1:  # one that waits for the other in vain fails, and does not hang
        settings["strategy"] = DDPStrategy(
            start_method="fork", find_unused_parameters=True, timeout=timedelta(seconds=60)
        )
    run = trainer(folder, every=100, callbacks=[KeepWeights()], **settings)
    run.fit(module(TWO_TIME_SCALES, batches=2), TinyData(2 // processes))
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(processes)]


def test_two_processes_of_one_face_train_like_one_of_two(tmp_path: Path) -> None:
    start = module().state_dict()
    (one,), (two, other) = trained(tmp_path / "one", 1), trained(tmp_path / "two", 2)
    moves = {name: float((one[name] - start[name]).abs().max()) for name in one}
    apart = {name: float((one[name] - two[name]).abs().max()) for name in one}
    assert {n: d for n, d in apart.items() if d > 1e-5 * moves[n] + 1e-12} == {}
    assert sum(move > 1e-4 for move in moves.values()) > 50
    assert all(torch.equal(two[name], other[name]) for name in two)


def test_a_test_shows_subspaces_guidance_and_enlargements(tmp_path: Path) -> None:
    made: Any = module()
    trainer(tmp_path).test(made, TinyData().val_dataloader(), verbose=False)
    assert made.network.prior.channels == (6, 4)  # two levels
    with Image.open(tmp_path / "pictures" / "subspaces.png") as sheet:
        assert sheet.width == (1 + 2) * (192 + 4)
    names = sorted(path.stem for path in (tmp_path / "pictures").iterdir())
    assert names == ["closeup", "enlargements", "strengths", "subspaces", "test"]


def test_holding_no_level_and_guiding_by_one_change_nothing() -> None:
    made, image = module(), torch.rand(2, 3, 12, 12)
    restored = made.restore({"image": image}).image
    assert torch.equal(made.restore_holding(image, ()), restored)
    assert torch.equal(made.restore_guided(image, 1.0), restored)
    assert not torch.equal(made.restore_holding(image, (1,)), restored)
    assert not torch.equal(made.restore_guided(image, 0.5), restored)


def test_a_restored_face_is_in_range_and_single_precision() -> None:
    made = module()
    nn.init.normal_(made.network.generator.head.weight, std=9.0)
    with torch.autocast("cpu", torch.bfloat16):
        restored = made.restore({"image": torch.rand(2, 3, 11, 13)}).image.detach()
    assert restored.shape == (2, 3, 11, 13)
    assert restored.dtype == torch.float32
    assert 0 <= float(restored.amin()) < float(restored.amax()) <= 1


def test_parsing_maps_come_from_the_batch_and_are_asked_for(tmp_path: Path) -> None:
    made, image = module(prior=PARSED), torch.rand(1, 3, 12, 12)
    with pytest.raises(ValueError, match="guided by a face parsing map and got none"):
        trainer(tmp_path).fit(made, TinyData(1))
    one, other = torch.eye(2)[:, None, :, None, None].expand(2, 1, 2, 12, 12)
    restored = made.predict_step({"image": image, "target": image, "parsing": one}, 0).image
    assert torch.equal(restored, made.restore({"image": 1 - image, "parsing": one}).image)
    assert not torch.equal(restored, made.restore({"image": image, "parsing": other}).image)


def test_pictures_of_images_alone_are_left_out_where_the_prior_needs_parsing() -> None:
    assert (len(module().exhibits), len(module(prior=PARSED).exhibits)) == (4, 1)


def test_as_many_layers_are_weighted_as_there_are_maps() -> None:
    made = silent(module(terms=replace(TERMS, layers=(1.0,))))
    with pytest.raises(ValueError, match="each map needs a weight"):
        made.perceptual_loss(*torch.rand(2, 1, 3, 12, 12))


def test_untrained_features_are_told_to_the_reader_of_the_table() -> None:
    assert "not comparable with the paper" in module().caveat
    trained = RandomFeatures(4)
    trained.comparable = True
    made = SubspaceRestoration(ISPL((4, 6)), MultiScaleDiscriminator(2, (4, 6)), trained, TERMS)
    assert made.caveat == ""
