from pathlib import Path

import pytest
from PIL import Image

from lightning_modules.inversion_base import Inversion
from tests.lightning_modules.inverted import ManyPeople, TargetData, fit, in_one_pass, iterative
from tests.lightning_modules.tiny import numbers, trainer

ROWS = ["output", "guide", "photograph", "another"]


def scored(folder: Path, made: Inversion, data: object) -> Inversion:
    trainer(folder).test(made, data, verbose=False)
    return made


def test_a_test_keeps_the_table_each_targets_numbers_and_the_faces(tmp_path: Path) -> None:
    made = scored(tmp_path, iterative(), TargetData())
    assert [row["method"] for row in made.results] == ROWS
    assert (tmp_path / "results_each.csv").is_file()
    with Image.open(tmp_path / "pictures" / "test.png") as picture:
        width, height = picture.size
    assert width == 3 * (12 * 16 + 4)  # target, guide and reconstruction
    assert height == 3 * (12 * 16 + 4) + 18


def test_before_any_step_the_inversion_is_the_guide(tmp_path: Path) -> None:
    output, guide, photograph, _ = scored(tmp_path, iterative(), TargetData()).results
    assert {**output, "method": ""} == {**guide, "method": ""}
    assert photograph["distance"] == 0


def test_a_test_needs_no_training_photographs(tmp_path: Path) -> None:
    made = scored(tmp_path, in_one_pass(), ManyPeople())
    assert made.results[0]["n"] == 3


def test_validation_logs_scores_and_shows_the_faces(tmp_path: Path) -> None:
    fit(tmp_path, in_one_pass(batches=4), ManyPeople(), val_check_interval=2)
    rows = numbers(tmp_path)
    scored = [row for row in rows if row["val/identity_second"]]
    assert [row["step"] for row in scored] == ["2", "4"]
    assert {"val/loss", "val/distance", "val/top5_own"} <= {k for k in scored[0] if scored[0][k]}
    assert "val/n" not in scored[0]
    shown = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert shown == ["iterate_0000002.png", "iterate_0000004.png"]


def test_training_logs_the_terms_and_the_lengths_of_embeddings(tmp_path: Path) -> None:
    fit(tmp_path, iterative(2), TargetData(), val_check_interval=1000)
    first = numbers(tmp_path)[0]
    terms = {name: float(first[f"train/{name}"]) for name in ("embedding", "tv", "guide")}
    loss = terms["embedding"] + 1e-3 * terms["tv"] + 0.1 * terms["guide"]
    assert float(first["train/loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(first["train/norm"]) > 0


def test_two_processes_score_the_same_targets(tmp_path: Path) -> None:
    settings = {"devices": 2, "strategy": "ddp_fork_find_unused_parameters_true"}
    fit(tmp_path, in_one_pass(batches=2), ManyPeople(), val_check_interval=2, **settings)
    alone = tmp_path / "alone"
    fit(alone, in_one_pass(batches=2), ManyPeople(), val_check_interval=2)
    told = [numbers(folder)[-1]["val/distance"] for folder in (tmp_path, alone)]
    assert float(told[0]) == pytest.approx(float(told[1]), rel=0.2)  # twice the photographs seen
