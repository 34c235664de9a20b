import copy
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_modules.components import Cut
from lightning_modules.crn import ComponentRegression
from ops.nets.crn import CRN
from tests.lightning_modules.tiny import (
    StopAfter,
    TinyData,
    differences,
    everything,
    numbers,
    trainer,
)

CUT = Cut(dedicated=2, patch_size=3, batches=2)
BATCHES = 8


def module(cut: Cut = CUT, discrepancy: bool = True, batches: int = BATCHES) -> ComponentRegression:
    torch.manual_seed(0)
    _, heads = cut.unfitted()
    network = CRN(heads.channels, width=8, shrink=4, expand=8, mapping=1, trunk=1)
    return ComponentRegression(network, cut, discrepancy, batches)


def fitted(cut: Cut = CUT, discrepancy: bool = True) -> tuple[ComponentRegression, Any, Any]:
    """A module with components, without a Trainer, and the pairs that they are those of."""
    made = module(cut, discrepancy)
    made.log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    image, target = torch.rand(2, 4, 3, 12, 12)
    basis, scales = cut.fit([target - image if discrepancy else target], "cpu")
    made.heads.load_state_dict(cut.heads(basis, scales).state_dict())
    return made, image, target


def fit(folder: Path, made: ComponentRegression, **settings: Any) -> ComponentRegression:
    last = folder / "checkpoints" / "last.ckpt"
    data = TinyData(settings.pop("batch_size", 4))
    run = trainer(folder, **settings)
    run.fit(made, data, ckpt_path=last if last.exists() else None)
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        fit(folder, module())
    return folder


class Look(pl.Callback):
    """Keeps the state as it is before the first step."""

    def on_train_batch_start(self, _: pl.Trainer, made: pl.LightningModule, *__: object) -> None:
        if made.batches_done == 0:
            self.state = copy.deepcopy(made.state_dict())


def parts(state: dict[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key.split(".")[0] in names}


def pairs(batches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The first of TinyData's stream, in one process."""
    data = TinyData()
    data.trainer = trainer_of_one()
    stream = iter(data.train_dataloader())
    return [(batch["image"], batch["target"]) for batch in (next(stream) for _ in range(batches))]


def trainer_of_one() -> Any:
    return pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, barebones=True
    )


def test_the_components_are_fitted_before_the_first_step_and_kept(
    tmp_path: Path, whole: Path
) -> None:
    look = Look()
    fit(tmp_path, module(), callbacks=[look])
    basis, scales = CUT.fit([target - image for image, target in pairs(2)], "cpu")
    expected = {f"heads.{k}": v for k, v in CUT.heads(basis, scales).state_dict().items()}
    expected |= {f"basis.{k}": v for k, v in basis.state_dict().items()}
    assert differences(parts(look.state, "basis", "heads"), expected) == []
    saved = everything(whole)["state_dict"]
    assert differences(parts(saved, "basis", "heads"), expected) == []
    assert differences(parts(saved, "network"), parts(look.state, "network")) != []


def test_a_killed_run_goes_on_bit_for_bit_and_fits_nothing_again(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, module(), callbacks=[StopAfter(3)])

    def refuse(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(Cut, "fit", refuse)
    monkeypatch.setattr(Cut, "fit_to_edits", refuse)
    fit(tmp_path, module())
    assert differences(everything(tmp_path), everything(whole)) == []
    assert numbers(tmp_path) == numbers(whole)


def test_a_checkpoint_alone_restores_as_the_trained_network_does(tmp_path: Path) -> None:
    made = fit(tmp_path, module())
    read = module()
    batch = {"image": torch.rand(1, 3, 12, 15)}
    assert not torch.equal(read.restore(batch).image, made.restore(batch).image)
    read.load_state_dict(everything(tmp_path)["state_dict"])
    assert torch.equal(read.restore(batch).image, made.restore(batch).image)


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    settings = {"val_check_interval": 100}
    fit(tmp_path / "one", module(), **settings)
    settings |= {"devices": 2, "strategy": "ddp_fork_find_unused_parameters_true"}
    fit(tmp_path / "two", module(), batch_size=2, **settings)
    one, two = (everything(tmp_path / name)["state_dict"] for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-4, atol=1e-5), name


def test_a_network_without_the_heads_of_the_cut_is_refused() -> None:
    message = r"network.heads must be \[3, 3, 3\] for dedicated=2 and shared=whitened, got \[3, 3\]"
    with pytest.raises(ValueError, match=message):
        ComponentRegression(CRN([3, 3], width=4, shrink=2, expand=4), CUT)


def test_pairs_that_do_not_differ_are_refused_before_training(tmp_path: Path) -> None:
    class Same(TinyData):
        def train_dataloader(self) -> DataLoader:
            image = torch.rand(3, 12, 12)
            return DataLoader([{"image": image, "target": image}] * 4)

    with pytest.raises(ValueError, match="pairs that differ"):
        trainer(tmp_path).fit(module(), Same())
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


CUTS = [
    CUT,
    Cut(dedicated=0, patch_size=3),
    Cut(dedicated=2, patch_size=3, shared="maps"),
    Cut(dedicated=2, patch_size=3, scales="none"),
    Cut(dedicated=2, patch_size=3, scales="eigenvalues"),
    Cut(dedicated=2, patch_size=3, mode="joint_rgb"),
]


@pytest.mark.parametrize("discrepancy", [True, False])
@pytest.mark.parametrize("cut", CUTS)
def test_perfect_heads_have_no_loss_and_restore_the_target(cut: Cut, discrepancy: bool) -> None:
    made, image, target = fitted(cut, discrepancy)
    perfect = made.heads.targets(target - image if discrepancy else target)
    made.network.forward = lambda _: perfect  # type: ignore[method-assign]
    assert [float(loss) for loss in made.head_losses(image, target)] == [0] * len(perfect)
    assert torch.allclose(made.restore({"image": image}).image, target, atol=1e-4)
    worse = [part + 0.1 for part in perfect]
    made.network.forward = lambda _: worse  # type: ignore[method-assign]
    assert [float(loss) for loss in made.head_losses(image, target)] == [
        pytest.approx(0.01, rel=1e-3)
    ] * len(perfect)


def test_a_restored_image_is_in_range() -> None:
    made, image, _ = fitted()
    far = [torch.full_like(image, 50.0) for _ in made.network.heads]
    made.network.forward = lambda _: far  # type: ignore[method-assign]
    low, high = made.restore({"image": image}).image.aminmax()
    assert 0 <= float(low) <= float(high) <= 1


@pytest.mark.parametrize("discrepancy", [True, False])
@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut.dedicated])
def test_with_its_first_heads_alone_a_perfect_network_adds_the_first_components(
    cut: Cut, discrepancy: bool
) -> None:
    made, image, target = fitted(cut, discrepancy)
    whole = target - image if discrepancy else target
    perfect = made.heads.targets(whole)
    made.network.forward = lambda _: perfect  # type: ignore[method-assign]
    basis, _ = cut.fit([whole], "cpu")
    none, one, two, every = made.restore_with_first(image, [0, 1, 2, 3])
    ground = image if discrepancy else torch.zeros_like(image)
    parts = basis.decompose(whole, [[0], [1]])
    assert torch.equal(none, ground.clamp(0, 1))
    assert torch.allclose(one, (ground + parts[0]).clamp(0, 1), atol=1e-4)
    assert torch.allclose(two, (ground + parts[0] + parts[1]).clamp(0, 1), atol=1e-4)
    assert torch.equal(every, made.restore({"image": image}).image)


@pytest.mark.parametrize(("dedicated", "more"), [(2, ["branches.png"]), (0, [])])
def test_a_test_writes_curves_and_branches_where_there_are_some(
    tmp_path: Path, dedicated: int, more: list[str]
) -> None:
    made = module(Cut(dedicated, patch_size=3))
    trainer(tmp_path).test(made, TinyData().val_dataloader(), verbose=False)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [*more, "closeup.png", "components.png", "test.png"]
    assert (tmp_path / "components.csv").read_text().count("\n") == 10


def test_without_the_discrepancy_map_ari_still_counts_components_of_the_edit(
    tmp_path: Path,
) -> None:
    made = fit(tmp_path, module(discrepancy=False, batches=1))
    basis, scales = CUT.fit([target for _, target in pairs(2)], "cpu")
    edit, _ = CUT.fit([target - image for image, target in pairs(2)], "cpu")
    assert torch.equal(made.basis.vectors, edit.vectors)
    assert not torch.allclose(made.basis.vectors, basis.vectors, atol=1e-2)
    assert differences(made.heads.state_dict(), CUT.heads(basis, scales).state_dict()) == []


def test_without_scale_normalisation_the_heads_have_one_scale(tmp_path: Path) -> None:
    made = fit(tmp_path, module(Cut(2, scales="none", patch_size=3, batches=1), batches=1))
    state = made.heads.state_dict()
    deviation = made.basis.eigenvalues.mean().sqrt()
    assert torch.allclose(state["sigmas"], deviation.expand(2))
    assert state["rest"] == 1
    assert not torch.equal(made.basis.vectors, torch.eye(9))


def test_each_heads_loss_moves_its_own_branch_and_the_trunk() -> None:
    made, image, target = fitted()
    for index in range(3):
        made.zero_grad()
        made.head_losses(image, target)[index].backward()
        names = [name for name, p in made.named_parameters() if p.grad is not None]
        found = {".".join(name.split(".")[1:3]) for name in names}
        assert {name for name in found if name.startswith("branches")} == {f"branches.{index}"}
        assert [name for name in found if name.startswith("trunk")]


def test_a_heads_loss_does_not_know_the_other_heads() -> None:
    made, image, target = fitted()
    before = [loss.detach() for loss in made.head_losses(image, target)]
    with torch.no_grad():
        for parameter in made.network.branches[1].parameters():
            parameter.add_(0.1)
    after = [loss.detach() for loss in made.head_losses(image, target)]
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[2], before[2])
    assert not torch.isclose(after[1], before[1])


def test_training_lowers_the_loss_of_every_head(tmp_path: Path) -> None:
    fit(tmp_path, module(batches=40), val_check_interval=100)
    table = numbers(tmp_path)
    for head in ("train/head_0", "train/head_1", "train/head_2"):
        losses = [float(row[head]) for row in table]
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5]), losses


def test_validation_logs_ari_beside_that_of_the_input(whole: Path) -> None:
    row = numbers(whole)[6]
    assert float(row["val/identity_ari"]) == 0
    assert float(row["val/ari"]) != 0
    assert float(row["val/ari_n"]) == 9


@pytest.mark.parametrize("discrepancy", [True, False])
def test_in_bf16_the_restored_image_is_put_together_in_float32(discrepancy: bool) -> None:
    made, image, _ = fitted(discrepancy=discrepancy)
    with torch.autocast("cpu", torch.bfloat16):
        assert made.network(image)[0].dtype == torch.bfloat16
        assert made.restore({"image": image}).image.dtype == torch.float32
