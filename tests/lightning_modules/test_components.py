from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

from lightning_modules.components import Cut, training_pairs
from ops.kernels.component import PatchPCA
from tests.lightning_modules.tiny import TinyData

CUT = Cut(dedicated=2, patch_size=3, batches=2)


def on_process(rank: int, world: int, batch_size: int) -> Any:
    """A stand-in for the Trainer of one of `world` processes, with the ten tiny faces."""
    data = TinyData(batch_size)
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world)  # type: ignore[assignment]
    return SimpleNamespace(datamodule=data)


def edits(trainer: Any, batches: int = 2) -> list[torch.Tensor]:
    return [target - image for image, target in training_pairs(trainer, batches, "cpu")]


@pytest.fixture
def maps() -> list[torch.Tensor]:
    return edits(on_process(0, 1, 4))


def test_the_training_pairs_are_the_first_of_the_stream() -> None:
    trainer = on_process(0, 1, 4)
    stream = iter(trainer.datamodule.train_dataloader())
    pairs = list(training_pairs(trainer, 3, "cpu"))
    assert len(pairs) == 3
    for image, target in pairs:
        batch = next(stream)
        assert torch.equal(image, batch["image"])
        assert torch.equal(target, batch["target"])


def test_the_components_of_the_edits_are_those_of_target_minus_image(
    maps: list[torch.Tensor],
) -> None:
    pca = PatchPCA(3)
    for some in maps:
        pca.update(some)
    state = CUT.fit_to_edits(on_process(0, 1, 4), "cpu")
    assert torch.equal(state["vectors"], pca.basis().vectors)
    assert torch.equal(state["eigenvalues"], pca.basis().eigenvalues)


@pytest.mark.parametrize("mode", ["per_channel", "joint_rgb"])
@pytest.mark.parametrize("dedicated", [0, 2])
@pytest.mark.parametrize("shared", ["whitened", "maps"])
def test_unfitted_heads_take_up_the_state_of_fitted_ones(
    maps: list[torch.Tensor],
    shared: Literal["whitened", "maps"],
    dedicated: int,
    mode: Literal["per_channel", "joint_rgb"],
) -> None:
    cut = Cut(dedicated, shared=shared, patch_size=3, mode=mode)
    basis, scales = cut.fit(maps, "cpu")
    fitted = cut.heads(basis, scales)
    empty, heads = cut.unfitted()
    before = heads.targets(maps[0])
    empty.load_state_dict(basis.state_dict())
    heads.load_state_dict(fitted.state_dict())
    after = heads.targets(maps[0])
    assert all(map(torch.equal, after, fitted.targets(maps[0])))
    assert not any(map(torch.equal, after, before))
    assert torch.equal(empty.vectors, basis.vectors)


@pytest.mark.parametrize(
    ("shared", "dedicated", "channels"),
    [("whitened", 2, (3, 3, 3)), ("maps", 2, (3, 3, 21)), ("whitened", 0, (3,)), ("maps", 0, (3,))],
)
def test_each_dedicated_component_has_a_head_and_the_rest_has_one(
    shared: Literal["whitened", "maps"], dedicated: int, channels: tuple[int, ...]
) -> None:
    _, heads = Cut(dedicated, shared=shared, patch_size=3).unfitted()
    assert heads.channels == channels


@pytest.mark.parametrize("dedicated", [0, 2])
def test_with_measured_scales_every_head_has_a_target_of_deviation_1(
    maps: list[torch.Tensor], dedicated: int
) -> None:
    cut = Cut(dedicated, patch_size=3)
    heads = cut.heads(*cut.fit(maps, "cpu"))
    # The whitened rest is scaled by the sum of the scaled components, which it is nearly.
    tolerances = [1e-4] * dedicated + [0.2 if dedicated else 1e-4]
    for part, tolerance in zip(heads.targets(torch.cat(maps)), tolerances, strict=True):
        assert float(part.square().mean().sqrt()) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("dedicated", [0, 2])
def test_without_scale_normalisation_all_scales_are_one_deviation(
    maps: list[torch.Tensor], dedicated: int
) -> None:
    basis, scales = Cut(dedicated, scales="none", patch_size=3).fit(maps, "cpu")
    deviation = basis.eigenvalues.mean().sqrt()
    assert torch.allclose(scales.components, deviation.expand(9))
    assert scales.rest == (1.0 if dedicated else pytest.approx(float(deviation)))


def test_the_printed_scales_are_the_roots_of_the_eigenvalues(maps: list[torch.Tensor]) -> None:
    basis, scales = Cut(2, scales="eigenvalues", patch_size=3).fit(maps, "cpu")
    assert torch.allclose(scales.components, basis.eigenvalues.sqrt())
    _, measured = CUT.fit(maps, "cpu")
    assert not torch.allclose(scales.components, measured.components, rtol=0.05)


def test_two_processes_fit_what_one_does(
    two_processes: Callable[[Callable[[int], Any]], list[Any]],
) -> None:
    def fit(rank: int, world: int = 2) -> dict[str, torch.Tensor]:
        trainer = on_process(rank, world, 4 // world)
        basis, scales = CUT.fit(edits(trainer), "cpu")
        edit = CUT.fit_to_edits(trainer, "cpu")
        fitted = {**basis.state_dict(), **CUT.heads(basis, scales).state_dict()}
        return fitted | {f"edit_{name}": value for name, value in edit.items()}

    first, second = two_processes(fit)
    alone = fit(0, world=1)
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], value, rtol=1e-4, atol=1e-6), name
    half, _ = CUT.fit(edits(on_process(0, 2, 2)), "cpu")
    assert not torch.allclose(half.vectors, first["vectors"], atol=1e-2)


def test_more_dedicated_components_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="dedicated must be from 0 to 8, got 9"):
        Cut(9, patch_size=3).unfitted()


@pytest.mark.parametrize("scales", ["measured", "eigenvalues", "none"])
def test_maps_of_nothing_but_0_are_refused(
    scales: Literal["measured", "eigenvalues", "none"],
) -> None:
    with pytest.raises(ValueError, match="all maps are 0: fit the components to pairs that differ"):
        Cut(2, scales=scales, patch_size=3).fit([torch.zeros(1, 3, 8, 8)], "cpu")


def test_edits_that_change_nothing_are_refused() -> None:
    image = torch.rand(1, 3, 8, 8)
    batches = [{"image": image, "target": image}]
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(train_dataloader=lambda: batches))
    with pytest.raises(ValueError, match="all maps are 0"):
        CUT.fit_to_edits(trainer, "cpu")


def test_maps_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="must be from 1 to the maps"):
        CUT.fit([torch.rand(1, 3, 2, 2)], "cpu")
