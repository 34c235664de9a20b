import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules.base import Training
from lightning_modules.components import Cut
from lightning_modules.regression import Perception, PerceptualRegression, Regression
from ops.nets.discriminator import PixelDiscriminator
from ops.nets.features import RandomFeatures
from ops.nets.vdsr import VDSR
from tests.lightning_modules.tiny import (
    StopAfter,
    TinyData,
    differences,
    everything,
    numbers,
    trainer,
)

CUT = Cut(patch_size=3, batches=2)
BATCHES = 6
WEIGHTS = Perception()


def plain(batches: int = BATCHES) -> Regression:
    torch.manual_seed(0)
    return Regression(VDSR(depth=3, width=8), CUT, batches)


def perceptual(perception: Perception = WEIGHTS, batches: int = BATCHES) -> PerceptualRegression:
    torch.manual_seed(0)
    network, discriminator = VDSR(depth=3, width=8), PixelDiscriminator((8, 8))
    return PerceptualRegression(
        network, discriminator, RandomFeatures(4), CUT, perception, batches, 1e-3
    )


def silent(made: PerceptualRegression) -> PerceptualRegression:
    made.log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    return made


METHODS = pytest.mark.parametrize("method", [plain, perceptual])


@METHODS
def test_a_killed_run_goes_on_bit_for_bit_and_fits_nothing_again(
    tmp_path: Path, method: type[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(tmp_path / "whole").fit(method(), TinyData())
    with pytest.raises(SystemExit):
        trainer(tmp_path / "killed", callbacks=[StopAfter(2)]).fit(method(), TinyData())

    def refuse(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(Cut, "fit_to_edits", refuse)
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    trainer(tmp_path / "killed").fit(method(), TinyData(), ckpt_path=last)
    whole, killed = everything(tmp_path / "whole"), everything(tmp_path / "killed")
    assert differences(whole, killed) == []
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "killed")


@METHODS
def test_the_components_of_the_edit_lie_in_the_checkpoint(
    tmp_path: Path, method: type[Training]
) -> None:
    made = method()
    data = TinyData()
    run = trainer(tmp_path)
    run.fit(made, data)
    saved = everything(tmp_path)["state_dict"]
    data.first_batch = 0
    expected = CUT.fit_to_edits(run, "cpu")
    found = {k.removeprefix("basis."): v for k, v in saved.items() if k.startswith("basis.")}
    assert differences(found, expected) == []
    assert not [name for name in saved if name.startswith("features.")]


@METHODS
def test_validation_logs_ari_beside_that_of_the_input(
    tmp_path: Path, method: type[Training]
) -> None:
    trainer(tmp_path, val_check_interval=6).fit(method(), TinyData())
    row = numbers(tmp_path)[5]
    assert float(row["val/identity_ari"]) == 0
    assert float(row["val/ari"]) != 0
    assert float(row["val/ari_n"]) == 9


@METHODS
def test_a_test_writes_the_curves_of_its_components(tmp_path: Path, method: type[Training]) -> None:
    made, run = method(), trainer(tmp_path)
    run.test(made, TinyData().val_dataloader(), verbose=False)
    with (tmp_path / "components.csv").open(newline="") as file:
        improvement = [float(row["improvement"]) for row in csv.DictReader(file)]
    assert len(improvement) == 9
    assert sum(improvement) == pytest.approx(made.results[1]["ari"], rel=1e-12)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["closeup.png", "components.png", "test.png"]


@METHODS
def test_a_restored_image_is_in_range(method: type[Training]) -> None:
    made = method()
    assert isinstance(made.network, nn.Module)
    image = torch.rand(2, 3, 12, 12)
    assert float(made.network(image).detach().amax()) > 1
    low, high = made.restore({"image": image}).image.detach().aminmax()
    assert 0 <= float(low) <= float(high) <= 1


def test_the_loss_is_the_squared_error_as_a_share_of_the_edits(tmp_path: Path) -> None:
    made, data = plain(batches=1), TinyData()
    run = trainer(tmp_path)
    network = plain().network  # with the weights before the first step
    run.fit(made, data)
    data.first_batch = 0
    batch = next(iter(data.train_dataloader()))
    error = (network(batch["image"]) - batch["target"]).square().mean()
    expected = error / made.basis.eigenvalues.mean()
    logged = float(numbers(tmp_path)[0]["train/output"])
    assert logged == pytest.approx(float(expected.detach()), rel=1e-5)


def test_training_lowers_the_squared_error(tmp_path: Path) -> None:
    trainer(tmp_path, val_check_interval=100).fit(plain(batches=40), TinyData())
    losses = [float(row["train/output"]) for row in numbers(tmp_path)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5]), losses


def test_training_lowers_the_distance_of_the_features(tmp_path: Path) -> None:
    trainer(tmp_path, val_check_interval=100).fit(perceptual(batches=40), TinyData())
    losses = [float(row["train/content"]) for row in numbers(tmp_path)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5]), losses


def test_each_turn_moves_its_own_player_alone(tmp_path: Path) -> None:
    made = perceptual(Perception(1.0, 1.0), batches=2)
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
    expected = [("generator", {"network"}), ("discriminator", {"discriminator"})]
    assert turns == expected * 2
    assert all(p.grad is None for p in made.features.parameters())


def test_the_discriminators_loss_has_no_gradient_for_the_network() -> None:
    made = silent(perceptual())
    image, target = torch.rand(2, 2, 3, 16, 16)
    made.discriminator_loss(made.network(image).detach(), target).backward()
    assert all(p.grad is None for p in made.network.parameters())
    assert any(p.grad is not None and p.grad.any() for p in made.discriminator.parameters())


def test_the_players_want_the_opposite_judgement_of_an_output() -> None:
    made = silent(perceptual(Perception(0.0, 1.0)))
    made.discriminator.forward = lambda image, _: image[:, :1]  # type: ignore[method-assign]
    high, low = torch.ones(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)
    # What is judged high is taken for real.
    assert made.discriminator_loss(low, high) < made.discriminator_loss(high, low)
    assert made.perception_loss(high, high) < made.perception_loss(low, high)


def test_the_perception_loss_has_each_terms_weight() -> None:
    output, target = torch.rand(2, 2, 3, 16, 16)

    def loss(content: float, adversarial: float) -> float:
        made = silent(perceptual(Perception(content, adversarial)))
        made.eval()  # the discriminator's spectral norm moves in training mode
        return float(made.perception_loss(output, target).detach())

    assert loss(1, 0) > 0
    assert loss(0, 1) != 0
    assert loss(2, 3) == pytest.approx(2 * loss(1, 0) + 3 * loss(0, 1), rel=1e-5)


def test_an_output_that_equals_the_target_has_no_content_loss() -> None:
    made = silent(perceptual(Perception(1.0, 0.0)))
    target = torch.rand(2, 3, 16, 16)
    assert made.perception_loss(target, target) == 0


def test_untrained_features_are_told_to_the_reader_of_the_table() -> None:
    assert "not comparable with the paper" in perceptual().caveat
    assert plain().caveat == ""
