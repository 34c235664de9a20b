import csv
from pathlib import Path

import pytest
import torch

from lightning_modules.inversion_loss import InversionLoss, Terms
from lightning_modules.inversion_scores import Answer, Embedders, InversionScores
from ops.metrics.recognition import recognition_rank
from tests.lightning_modules.inverted import embedder, embedders, pictures, targets


@pytest.fixture
def scored() -> tuple[InversionScores, dict[str, torch.Tensor]]:
    """Scores of one right and two wrong inversions, and what they are."""
    batch = targets()
    judge = embedder()
    loss = InversionLoss(judge, Terms())
    aim = loss.aim(batch["image"], batch["guides"])
    made = torch.cat([batch["image"][:1], batch["gallery"][3:]])
    images = {"output": made, "guide": batch["guides"][:, 0], "photograph": batch["image"]}
    with torch.no_grad():
        answers = {k: Answer(v, loss(v, aim, 1.0)) for k, v in images.items()}
    scores = InversionScores(embedders())
    scores.take(batch, answers)
    return scores, images


def test_rows_hold_losses_and_each_judges_columns(scored: tuple) -> None:
    table = scored[0].table()
    assert [*table] == ["output", "guide", "photograph", "another"]
    judged = ["identity_own", "top1_own", "top5_own", "identity_second", "top1_second"]
    expected = ["n", "loss", "distance", "embedding", "tv", "guide", "norm", *judged]
    assert [*table["output"]] == [*expected, "top5_second", "people"]
    assert table["output"]["n"] == 3
    assert table["output"]["people"] == 5


def test_photographs_themselves_are_at_no_distance_and_recognised(scored: tuple) -> None:
    row = scored[0].table()["photograph"]
    assert row["distance"] == 0
    assert row["identity_own"] == pytest.approx(1)
    assert (row["top1_own"], row["top1_second"]) == (1, 1)


def test_recognition_counts_those_among_the_nearest_of_all_people(scored: tuple) -> None:
    row, batch = scored[0].table()["output"], targets()
    for name, judge in (("own", embedder()), ("second", embedder(1, 12))):
        rank = recognition_rank(
            judge(scored[1]["output"]),
            batch["identity"],
            judge(batch["gallery"]),
            batch["gallery_identity"],
        )
        assert row[f"top1_{name}"] == pytest.approx(float((rank == 1).double().mean()))
        assert row[f"top5_{name}"] == 1
    assert row["top1_own"] < 1


def test_distances_are_those_of_the_inverted_network(scored: tuple) -> None:
    judge, table = embedder(), scored[0].table()
    wanted = (judge(scored[1]["output"]) - judge(targets()["image"])).square().sum(1)
    assert table["output"]["distance"] == pytest.approx(float(wanted.mean()), rel=1e-4)
    assert table["output"]["embedding"] == pytest.approx(float(wanted.mean()), rel=1e-4)
    length = judge(scored[1]["output"]).norm(dim=1).mean()
    assert table["output"]["norm"] == pytest.approx(float(length), rel=1e-5)


def test_another_photograph_is_the_galleries_of_the_same_person(scored: tuple) -> None:
    batch, judge = targets(), embedder()
    wanted = torch.nn.functional.cosine_similarity(
        judge(batch["gallery"][:3]), judge(batch["image"])
    )
    row = scored[0].table()["another"]
    assert row["identity_own"] == pytest.approx(float(wanted.mean()), rel=1e-5)
    assert not any(name.startswith("top") for name in row)


def test_each_targets_numbers_are_written(scored: tuple, tmp_path: Path) -> None:
    scored[0].write_each(tmp_path)
    with (tmp_path / "results_each.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["person0/0", "person1/0", "person2/0"]
    losses = [float(row["loss"]) for row in rows]
    assert sum(losses) / 3 == pytest.approx(scored[0].table()["output"]["loss"], rel=1e-6)
    assert rows[0]["top1_own"] == "1.0"
    assert [path.name for path in tmp_path.iterdir()] == ["results_each.csv"]


def test_without_scores_nothing_is_written(tmp_path: Path) -> None:
    InversionScores(Embedders(embedder())).write_each(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_table_without_a_second_judge_or_with_untrained_ones_says_so() -> None:
    judge = embedder()
    assert "no second judge" in InversionScores(Embedders(judge)).caveat
    assert "untrained" in InversionScores(Embedders(judge, {"second": embedder(1)})).caveat
    trained = embedder(), embedder(1)
    for each in trained:
        each.embedder.comparable = True
    told = InversionScores(Embedders(trained[0], {"second": trained[1]}))
    assert told.caveat == ""
    assert "own, test_resnet of our own; second, test_resnet of our own." in told.definitions


def test_no_other_judge_may_take_the_inverted_ones_name() -> None:
    with pytest.raises(ValueError, match="'own' is the network that is inverted"):
        InversionScores(Embedders(embedder(), {"own": embedder()}))


def test_a_gallery_is_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = InversionScores(Embedders(embedder()))
    images = pictures(30, 7)
    whole = scores.look(images)["own"]
    monkeypatch.setattr("lightning_modules.inversion_scores._PART", 3)
    torch.testing.assert_close(scores.look(images)["own"], whole)
