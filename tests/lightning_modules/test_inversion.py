from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_modules.inversion import (
    IterativeInversion,
    adam,
    balanced,
    from_guide,
    from_noise,
    gradient_descent,
    unchanged,
)
from lightning_modules.inversion_loss import Smoothness, Terms, Usual
from ops.kernels.laplacian import normalise_gradient
from ops.nets.inverter import GuidedInverter, Inverter
from tests.lightning_modules.inverted import (
    LAYER,
    LENGTH,
    SIDE,
    ManyPeople,
    TargetData,
    fit,
    in_one_pass,
    iterative,
)
from tests.lightning_modules.tiny import StopAfter, differences, everything, numbers, trainer

CHECKPOINT = Path("checkpoints") / "last.ckpt"
QUIET = {"val_check_interval": 1000}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        fit(folder, iterative())
    return folder


def test_a_killed_inversion_goes_on_bit_for_bit(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, iterative(), callbacks=[StopAfter(3)])
    fit(tmp_path, iterative())
    assert differences(everything(tmp_path), everything(whole)) == []
    assert numbers(tmp_path) == numbers(whole)


def test_a_checkpoint_holds_images_and_no_embedder(whole: Path) -> None:
    state = everything(whole)["state_dict"]
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "images": (3, 3, SIDE, SIDE)
    }
    assert 0 <= state["images"].min() < state["images"].max() <= 1


def test_the_distance_falls(whole: Path) -> None:
    distances = [float(row["train/embedding"]) for row in numbers(whole)]
    assert distances[-1] < 0.7 * distances[0]


def moved(folder: Path, **settings: object) -> tuple[Tensor, Tensor]:
    """The images before the first step and after one."""
    made = fit(folder, iterative(1, **settings), **QUIET)
    guides = TargetData().targets["guides"].flatten(0, 1)
    assert isinstance(made, IterativeInversion)
    assert made.images is not None
    return guides, made.images.detach()


def test_without_steps_of_their_own_images_start_as_their_guides(tmp_path: Path) -> None:
    guides, images = moved(tmp_path, learning_rate=1e-6)
    assert (images - guides).abs().max() <= 2e-6


def test_noise_is_seeded_grey_and_of_the_guides_shape() -> None:
    guides = torch.zeros(2, 1, 3, 40, 40)
    draws = [from_noise(guides, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert draws[0].shape == guides.shape
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].mean() == pytest.approx(0.5, abs=0.01)
    assert draws[0].std() == pytest.approx(0.1, abs=0.01)
    assert 0 <= draws[0].min() <= draws[0].max() <= 1


def test_a_start_from_guides_is_a_copy() -> None:
    guides = torch.rand(2, 1, 3, 4, 4)
    start = from_guide(guides, torch.Generator())
    assert torch.equal(start, guides)
    assert start.data_ptr() != guides.data_ptr()


def test_gradient_descent_on_balanced_gradients_takes_steps_in_pixel_values(
    tmp_path: Path,
) -> None:
    settings = {"gradient": balanced, "optimizer": gradient_descent, "learning_rate": 1e-3}
    guides, images = moved(tmp_path, **settings)
    inside = (guides > 0.05) & (guides < 0.95)  # else a step may be cut off at the range's end
    step = (images - guides)[inside].square().mean().sqrt()
    assert 1e-3 < step < 4e-3  # five bands of strength 1, less where they overlap


def test_gradients_are_balanced_as_the_operator_does_or_left_alone() -> None:
    gradient = torch.randn(2, 3, 16, 16)
    assert torch.equal(balanced(gradient), normalise_gradient(gradient))
    assert torch.equal(unchanged(gradient), gradient)


def test_optimisers_move_down_the_gradient() -> None:
    for make in (adam, gradient_descent):
        x = torch.nn.Parameter(torch.tensor([1.0]))
        optimizer = make([x], 0.1)
        x.square().sum().backward()
        optimizer.step()
        assert 0 < x.item() < 1


def test_images_of_different_guides_stand_side_by_side_and_the_nearest_counts(
    tmp_path: Path,
) -> None:
    data = TargetData(2, guides=3)
    made = iterative(2)
    fit(tmp_path, made, data, **QUIET)
    assert made.images is not None
    assert made.images.shape == (6, 3, SIDE, SIDE)
    batch = data.targets
    with torch.no_grad():
        answers = made._answers(batch)
        seen = made.embedder(made.images).view(2, 3, LENGTH)
        distance = (seen - made.embedder(batch["image"])[:, None]).square().sum(2)
    best = distance.argmin(1)
    images = made.images.detach().view(2, 3, 3, SIDE, SIDE)
    rows = torch.arange(2)
    assert torch.equal(answers["output"].images, images[rows, best])
    assert torch.equal(answers["guide"].images, batch["guides"][rows, best])
    torch.testing.assert_close(answers["output"].losses.embedding, distance.min(1).values)


def test_no_image_sees_another(tmp_path: Path) -> None:
    alone, together = iterative(2), iterative(2)
    fit(tmp_path / "alone", alone, TargetData(1), **QUIET)
    data = TargetData(3)
    data.targets["image"][:1] = TargetData(1).targets["image"]
    data.targets["guides"][:1] = TargetData(1).targets["guides"]
    fit(tmp_path / "together", together, data, **QUIET)
    assert alone.images is not None
    assert together.images is not None
    torch.testing.assert_close(alone.images[0], together.images[0], atol=1e-4, rtol=0)


def test_what_is_usual_is_fitted_before_the_first_step_and_kept(tmp_path: Path) -> None:
    terms = Terms(tv=Smoothness(0.0), gaussian=Usual(0.1, LAYER, faces=4))
    made = iterative(2, terms)
    fit(tmp_path, made, **QUIET)
    assert made.loss.gaussian is not None
    assert made.loss.gaussian.images == 4
    kept = everything(tmp_path)["state_dict"]
    assert torch.equal(kept["loss.gaussian.mean"], made.loss.gaussian.mean)


def test_an_iterative_inversion_needs_fixed_targets(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data of ManyPeople: take datamodules.targets"):
        fit(tmp_path, iterative(), ManyPeople())


def test_a_network_killed_in_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    fit(tmp_path / "whole", in_one_pass(), ManyPeople())
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", in_one_pass(), ManyPeople(), callbacks=[StopAfter(3)])
    fit(tmp_path / "killed", in_one_pass(), ManyPeople())
    ends = [everything(tmp_path / name) for name in ("killed", "whole")]
    assert differences(*ends) == []
    assert not any("embedder" in name for name in ends[0]["state_dict"])


def test_a_guided_network_answers_by_the_guide(tmp_path: Path) -> None:
    made = in_one_pass(GuidedInverter(LENGTH, SIDE, 6, 4), 2)
    fit(tmp_path, made, ManyPeople(), **QUIET)
    batch = ManyPeople().batch
    aim = made.loss.aim(batch["image"], batch["guides"])
    other = {**batch, "guides": batch["guides"].flip(0)}
    with torch.no_grad():
        one, two = made.invert(batch, aim), made.invert(other, aim)
    assert one.shape == batch["guides"].shape
    assert (one - two).abs().max() > 1e-4


def test_training_moves_the_network_and_nothing_of_the_embedder(tmp_path: Path) -> None:
    made = in_one_pass(batches=30)
    before = {name: value.clone() for name, value in made.embedder.state_dict().items()}
    fit(tmp_path, made, ManyPeople(), **QUIET)
    losses = [float(row["train/loss"]) for row in numbers(tmp_path)]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert differences(before, dict(made.embedder.state_dict())) == []


def test_a_network_for_other_embeddings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gives 8 numbers and the network takes 5: set network"):
        in_one_pass(Inverter(5, SIDE, 6))


def test_a_test_after_training_tells_the_same_as_from_the_checkpoint(
    tmp_path: Path, whole: Path
) -> None:
    made = iterative()
    run = trainer(tmp_path)
    run.test(made, TargetData(), ckpt_path=whole / CHECKPOINT, verbose=False)
    assert made.images is not None
    saved = everything(whole)["state_dict"]["images"]
    assert torch.equal(made.images.detach(), saved)
    last = pl.Trainer(accelerator="cpu", barebones=True)
    answers = last.predict(made, TargetData())
    assert answers is not None
    assert torch.equal(answers[0].image, saved)
