from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from PIL import Image

from lightning_modules.checkpoints import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from lightning_modules.embedder import (
    FaceEmbedding,
    VerificationScores,
    grey_pixels,
    people_to_train_on,
    roc_figure,
    trained_embedder,
)
from ops.losses.metric_learning import SemiHardTriplet
from ops.metrics.verification import roc
from ops.nets.embedder import Embedder
from tests.lightning_modules.people import PeopleData, fit, module
from tests.lightning_modules.tiny import StopAfter, differences, everything, numbers, trainer

CHECKPOINT = Path("checkpoints") / "last.ckpt"
QUIET = {"val_check_interval": 1000}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        fit(folder, module())
    return folder


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, module(), callbacks=[StopAfter(3)])
    fit(tmp_path, module())
    assert differences(everything(tmp_path), everything(whole)) == []
    assert numbers(tmp_path) == numbers(whole)


def test_the_peoples_directions_are_trained_and_part_of_a_checkpoint(whole: Path) -> None:
    directions = everything(whole)["state_dict"]["criterion.entropy.W"]
    assert directions.shape == (8, 6)
    fresh = module().criterion
    fresh.prepare(6, 8)
    assert not torch.allclose(directions, fresh.entropy.W, atol=1e-3)


def test_triplets_are_trained_too(tmp_path: Path) -> None:
    fit(tmp_path, module(SemiHardTriplet(), 3), **QUIET)
    assert [float(row["train/skipped"]) for row in numbers(tmp_path)] == [0, 0, 0]
    assert not any("criterion" in name for name in everything(tmp_path)["state_dict"])


def test_training_lowers_the_loss_and_tells_people_apart_better(tmp_path: Path) -> None:
    before, after = module(batches=40), module(batches=40)
    untrained = rows_of_a_test(tmp_path / "before", before)[1]["auc"]
    fit(tmp_path, after, **QUIET)
    losses = [float(row["train/identity"]) for row in numbers(tmp_path)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert rows_of_a_test(tmp_path / "after", after)[1]["auc"] > max(0.8, untrained)


def rows_of_a_test(folder: Path, made: FaceEmbedding, ckpt: Path | None = None) -> list[dict]:
    run = trainer(folder)
    run.test(made, PeopleData(), ckpt_path=ckpt, verbose=False)
    return made.results


def test_a_test_needs_no_people_of_the_training(tmp_path: Path, whole: Path) -> None:
    rows = rows_of_a_test(tmp_path, module(), whole / CHECKPOINT)
    own = trained_embedder(module().network, whole / CHECKPOINT)
    assert "last.ckpt (sha256 " in own.origin  # which a table says
    data = PeopleData().photographs["val"]
    image = torch.stack([data[0, i]["image"] for i in range(18)])
    scores = VerificationScores()
    with torch.no_grad():
        scores.update(image, own.normalised(image), torch.from_numpy(data.people))
    table = scores.table()
    assert rows == [{"method": name, **table[name]} for name in ("pixels", "output")]
    assert rows[1]["n"] == 18 * 17 / 2
    assert rows[1]["same"] == 6 * 3
    assert (rows[1]["people"], rows[1]["photographs"]) == (6, 18)


def test_a_test_draws_the_curves(tmp_path: Path) -> None:
    rows_of_a_test(tmp_path, module())
    with Image.open(tmp_path / "pictures" / "roc.png") as picture:
        assert picture.size == (720, 540)


def test_validation_logs_what_is_monitored(whole: Path) -> None:
    row = numbers(whole)[6]
    assert {"val/accuracy", "val/auc", "val/eer"} <= {name for name in row if row[name]}
    assert 0 <= float(row["val/auc"]) <= 1


def test_rates_that_the_pairs_do_not_resolve_are_left_out(whole: Path) -> None:
    row = numbers(whole)[6]  # 135 pairs of different people
    assert "val/tar_far_0.01" in row
    assert "val/tar_far_0.001" not in row


def test_two_processes_train_and_validate_together(tmp_path: Path) -> None:
    settings = {"devices": 2, "strategy": "ddp_fork_find_unused_parameters_true"}
    settings |= {"val_check_interval": 2}
    fit(tmp_path, module(batches=2), **settings)
    assert everything(tmp_path)["visagist"]["batches_done"] == 2
    validated = [float(row["val/auc"]) for row in numbers(tmp_path) if row["val/auc"]]
    assert len(validated) == 1
    assert 0 < validated[0] <= 1


def test_another_number_of_people_is_refused_when_a_run_goes_on(
    tmp_path: Path, whole: Path
) -> None:
    run = trainer(tmp_path)
    with pytest.raises(CheckpointError, match=r"entropy.W is \(8, 6\) there and \(8, 5\) here"):
        run.fit(module(), PeopleData(5), ckpt_path=whole / CHECKPOINT)


def test_a_set_that_does_not_say_who_is_who_is_refused() -> None:
    run = pl.Trainer(accelerator="cpu", barebones=True)
    run.datamodule = PeopleData(known=False)
    with pytest.raises(ValueError, match="faces does not say who is on its photographs"):
        people_to_train_on(run)
    run.datamodule = PeopleData(5)
    assert people_to_train_on(run) == 5


def test_an_embedder_predicts_no_pictures() -> None:
    with pytest.raises(MisconfigurationException, match="makes vectors, not pictures"):
        module().predict_step({}, 0)


def test_trained_weights_are_those_of_the_run(whole: Path) -> None:
    judge = trained_embedder(module().network, whole / CHECKPOINT)
    assert judge.comparable
    assert not judge.embedder.training
    network = judge.embedder
    saved = everything(whole)["state_dict"]
    ours = {f"network.{name}": value for name, value in network.state_dict().items()}
    assert differences(ours, {k: v for k, v in saved.items() if k in ours}) == []


def test_the_weights_of_another_network_are_refused(whole: Path) -> None:
    other = Embedder("test_resnet", dimensions=9, size=16)
    with pytest.raises(CheckpointError, match=r"last\.ckpt holds another network: .*projection"):
        trained_embedder(other, whole / CHECKPOINT)


def test_a_checkpoint_of_another_method_is_refused(whole: Path, tmp_path: Path) -> None:
    state = read_checkpoint(whole / CHECKPOINT)
    state["visagist"]["method"] = "Other"
    write_checkpoint(state, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt is of Other, not of FaceEmbedding"):
        trained_embedder(module().network, tmp_path / "other.ckpt")


def test_grey_pixels_know_neither_colour_nor_brightness() -> None:
    image = torch.rand(2, 3, 32, 40)
    found = grey_pixels(image)
    assert found.shape == (2, 256)
    torch.testing.assert_close(grey_pixels(image.flip(1)), found)
    torch.testing.assert_close(grey_pixels(image + 0.2), found, atol=1e-6, rtol=0)


def test_a_figure_has_a_line_for_each_method() -> None:
    curve = roc(torch.tensor([0.9, 0.5, 0.4, 0.1]), torch.tensor([True, False, True, False]))
    axes = roc_figure({"pixels": curve, "output": curve}).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["pixels: area 0.750", "output: area 0.750"]


def test_scores_know_their_dimensions_before_any_photograph() -> None:
    made = module()
    made.on_test_epoch_start()
    assert [each.shape for each in made.scores.output.embeddings] == [(0, made.network.dimensions)]
    assert [each.shape for each in made.scores.pixels.embeddings] == [(0, 256)]
