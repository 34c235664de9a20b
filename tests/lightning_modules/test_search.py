from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from datamodules.alternating import SideBySide
from datamodules.stream import StepSampler
from lightning_modules.enhancement import References, Terms
from lightning_modules.nasfe import searched_fusion
from lightning_modules.search import Alternation, FusionSearch
from ops.nets.darts import SearchNetwork
from ops.nets.degradation_classifier import DegradationClassifier
from ops.nets.features import RandomFeatures
from ops.nets.genotype import Genotype
from ops.nets.nasfe import NASFE
from tests.lightning_modules.tiny import (
    Faces,
    StopAfter,
    differences,
    everything,
    numbers,
    trainer,
)

ALWAYS = Alternation(learning_rate=1e-2, frozen_until=0.0)
AHEAD = Alternation(learning_rate=1e-2, frozen_until=0.0, lookahead=0.1)
PIXELS = Terms(0.0, 0.0)


def network(fusion: nn.Module | None = None, plain: bool = True) -> NASFE:
    torch.manual_seed(0)
    fusion = fusion or SearchNetwork(8, 1, 2, checkpointing=False, partial=2)
    seen = (False, None) if plain else (True, 16)
    return NASFE(fusion, 8, *seen, (4, 4, 4, 8), (0, 0, 1, 1), (0, 0, 1), 8)


def module(
    turns: Alternation = ALWAYS, terms: Terms = PIXELS, plain: bool = True, batches: int = 6
) -> FusionSearch:
    made, classifier = network(plain=plain), DegradationClassifier((4, 8))
    references = References(RandomFeatures(4), 0.5)
    return FusionSearch(made, classifier, references, terms, alternation=turns, max_batches=batches)


class Halved(pl.LightningDataModule):
    """The faces of `tiny`, in another order for the alphas; a mark is added to one half's targets.

    Args:
        mark: what is added.
        marked: to which half.
        batch_size: faces in a batch of one process.
    """

    def __init__(self, mark: float = 0.0, marked: str = "alphas", batch_size: int = 2) -> None:
        super().__init__()
        self.first_batch, self.mark, self.marked = 0, mark, marked
        self.batch_size = batch_size

    def train_dataloader(self) -> SideBySide:
        return SideBySide({"weights": self._half("weights", 1), "alphas": self._half("alphas", 2)})

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Faces(2), batch_size=1)

    def _half(self, name: str, seed: int) -> Iterator[dict[str, Any]]:
        rank, world = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        order = StepSampler(
            10,
            self.batch_size,
            seed=seed,
            rank=rank,
            world=world,
            first_batch=self.first_batch,
        )
        mark = self.mark * (name == self.marked)
        for batch in DataLoader(Faces(10), batch_sampler=order):
            yield batch | {"target": batch["target"] + mark}


def fit(folder: Path, made: FusionSearch, **settings: Any) -> FusionSearch:
    last = folder / "checkpoints" / "last.ckpt"
    data = settings.pop("data", Halved())
    run = trainer(folder, **{"val_check_interval": 3} | settings)
    run.fit(made, data, ckpt_path=last if last.exists() else None)
    return made


class Alone:
    """A strategy of one process."""

    def reduce(self, value: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "mean"
        return value


def parts(made: FusionSearch) -> tuple[torch.Tensor, torch.Tensor]:
    """The architecture and the weights, each in a row."""
    alphas = made.fusion.alphas.detach().clone()
    weights = [p.detach() for n, p in made.network.named_parameters() if "alphas" not in n]
    return alphas, torch.cat([weight.flatten() for weight in weights])


@pytest.mark.parametrize("turns", [ALWAYS, AHEAD], ids=["first order", "second order"])
def test_each_player_learns_from_its_own_half(tmp_path: Path, turns: Alternation) -> None:
    def after(name: str, data: Halved) -> tuple[torch.Tensor, torch.Tensor]:
        made = module(turns, batches=1)
        return parts(fit(tmp_path / name, made, data=data, val_check_interval=9))

    alphas, weights = after("plain", Halved())
    own, others = after("alphas", Halved(0.5, "alphas"))
    assert not torch.equal(own, alphas)
    if turns.lookahead:  # the step ahead is on the weights' half
        assert not torch.equal(after("weights", Halved(0.5, "weights"))[0], alphas)
    else:
        assert torch.equal(after("weights", Halved(0.5, "weights"))[0], alphas)
    # One step later the weights have seen the alphas' half through the alphas alone.
    assert (others - weights).norm() < 0.3 * (weights - parts(module(turns))[1]).norm()


def test_the_alphas_gradient_is_that_of_their_half_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module()
    given = next(iter(Halved(0.5).train_dataloader()))
    found = {}

    def kept(player: str, loss: torch.Tensor) -> None:
        found[player] = torch.autograd.grad(loss, made.fusion.alphas, allow_unused=True)[0]
        raise StopIteration

    monkeypatch.setattr(made, "step", kept)
    monkeypatch.setattr(made, "log_terms", lambda *_, **__: None)
    monkeypatch.setattr(made, "turn", lambda _: torch.enable_grad())
    with pytest.raises(StopIteration):
        made.train_batch(given)
    output = made.network(given["alphas"]["image"])
    loss = (output - given["alphas"]["target"]).square().mean()
    (wanted,) = torch.autograd.grad(loss, made.fusion.alphas)
    torch.testing.assert_close(found, {"alphas": wanted})


def test_a_step_ahead_has_the_gradient_of_darts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(AHEAD).double()
    given = next(iter(Halved(0.5).train_dataloader()))
    for half in given.values():
        half |= {name: half[name].double() for name in ("image", "target")}
    monkeypatch.setattr(FusionSearch, "trainer", SimpleNamespace(strategy=Alone()))
    (found,) = torch.autograd.grad(made.unrolled_loss(given), made.fusion.alphas)
    names, tensors = zip(*made.network.named_parameters(), strict=True)

    def loss(half: str, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        output = torch.func.functional_call(made.network, parameters, given[half]["image"])
        return (output - given[half]["target"]).square().mean()

    ours = dict(zip(names, tensors, strict=True))
    slopes = torch.autograd.grad(
        loss("weights", ours), tensors, create_graph=True, allow_unused=True
    )
    moved = {
        name: tensor if slope is None or name == "fusion.alphas" else tensor - 0.1 * slope
        for (name, tensor), slope in zip(ours.items(), slopes, strict=True)
    }
    (wanted,) = torch.autograd.grad(loss("alphas", moved), made.fusion.alphas)
    (plain,) = torch.autograd.grad(loss("alphas", ours), made.fusion.alphas)
    assert (found - wanted).norm() < 0.05 * wanted.norm()  # a difference quotient, as in DARTS
    assert (plain - wanted).norm() > 0.5 * wanted.norm()


def test_the_alphas_wait_until_their_part_of_the_run(tmp_path: Path) -> None:
    class Look(pl.Callback):
        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def on_train_batch_end(self, *_: Any) -> None:
            self.seen.append(made.fusion.alphas.detach().clone())

    made, look = module(Alternation(frozen_until=0.5), batches=4), Look()
    first = made.fusion.alphas.detach().clone()
    fit(tmp_path, made, callbacks=[look], val_check_interval=9)
    still = [torch.equal(alphas, first) for alphas in look.seen]
    assert still == [True, True, False, False]
    assert [row["train/alphas"] == "" for row in numbers(tmp_path)] == still


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FusionSearch]:
    """A search of four batches that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        return folder, fit(folder, module(batches=4))


def test_a_killed_search_goes_on_bit_for_bit(
    tmp_path: Path, whole: tuple[Path, FusionSearch]
) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, module(batches=4), callbacks=[StopAfter(2)])
    fit(tmp_path, module(batches=4))
    assert differences(everything(whole[0]), everything(tmp_path)) == []
    assert numbers(whole[0]) == numbers(tmp_path)
    assert (whole[0] / "genotype.json").read_text() == (tmp_path / "genotype.json").read_text()


def test_a_killed_search_of_second_order_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def made() -> FusionSearch:
        return module(AHEAD, batches=2)

    settings = {"val_check_interval": 9}
    fit(tmp_path / "whole", made(), **settings)
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", made(), callbacks=[StopAfter(1)], **settings)
    fit(tmp_path / "killed", made(), **settings)
    assert differences(everything(tmp_path / "whole"), everything(tmp_path / "killed")) == []


def test_two_processes_search_like_one(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"val_check_interval": 9}
    fit(tmp_path / "one", module(AHEAD, batches=1), data=Halved(0.5, batch_size=4), **settings)
    settings |= {"devices": 2, "strategy": "ddp_fork_find_unused_parameters_true"}
    fit(tmp_path / "two", module(AHEAD, batches=1), data=Halved(0.5, batch_size=2), **settings)
    one, two = (slope_of_the_alphas(tmp_path / name) for name in ("one", "two"))
    assert (one - two).norm() < 0.01 * one.norm()


def slope_of_the_alphas(folder: Path) -> torch.Tensor:
    """The gradient of a search's first batch, as the alphas' Adam remembers it."""
    (state,) = everything(folder)["optimizer_states"][1]["state"].values()
    return state["exp_avg"] / (1 - ALWAYS.betas[0])


def test_the_genotype_of_a_run_makes_the_network_of_the_next(
    whole: tuple[Path, FusionSearch],
) -> None:
    folder, made = whole
    genotype = Genotype.from_json((folder / "genotype.json").read_text())
    assert genotype == made.fusion.derive()
    restored = network(searched_fusion(str(folder), channels=8, cells=2))(torch.rand(1, 3, 16, 16))
    assert restored.shape == (1, 3, 16, 16)


def test_a_validation_says_how_the_search_stands(whole: tuple[Path, FusionSearch]) -> None:
    row = numbers(whole[0])[2]
    assert 2.0 < float(row["val/entropy"]) < 2.4
    assert 0 <= float(row["val/skips"]) <= 4
    assert (whole[0] / "pictures" / "alphas_0000003.png").is_file()


def test_two_optimisers_share_all_that_is_trained_and_decay_the_alphas_alone() -> None:
    made = module(terms=Terms(classification=1.0), plain=False)
    weights, alphas = made.configure_optimizers()
    (group,) = alphas.param_groups
    assert [id(p) for p in group["params"]] == [id(made.fusion.alphas)]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-2, (0.5, 0.999), 1e-3)
    (group,) = weights.param_groups
    assert (group["lr"], group["weight_decay"]) == (5e-4, 0)
    both = [*made.network.parameters(), *made.classifier.parameters()]
    wanted = {id(p) for p in both} - {id(made.fusion.alphas)}
    assert {id(p) for p in group["params"]} == wanted
    assert made.ratios["alphas"] * made.learning_rate == pytest.approx(1e-2)


def test_the_decay_does_not_outweigh_the_gradient() -> None:
    made = module(Alternation())
    _, ours = made.configure_optimizers()
    alphas = made.fusion.alphas
    theirs = torch.optim.Adam([nn.Parameter(0.1 * torch.ones(3))], 3e-4, weight_decay=1e-3)
    nn.init.constant_(alphas, 0.1)
    for _ in range(50):
        alphas.grad = torch.full_like(alphas, -3e-5)  # as in a demo's first batches
        (other,) = theirs.param_groups[0]["params"]
        other.grad = torch.full_like(other, -3e-5)
        ours.step()
        theirs.step()
    assert (alphas > 0.1 + 0.9 * 50 * 3e-4).all()
    assert (other < 0.1).all()


def test_a_fusion_that_is_not_searched_is_refused() -> None:
    references = References(RandomFeatures(4))
    made = network(nn.Conv2d(8, 8, 3, padding=1))
    with pytest.raises(TypeError, match=r"needs ops.nets.darts.SearchNetwork .* got Conv2d"):
        FusionSearch(made, DegradationClassifier((4, 8)), references)
