import math
from pathlib import Path
from typing import Any

import pytest

from experiments import settings
from experiments.chapters import Chapter, chapters_of, mean_and_spread
from experiments.repeats import find_runs, repeats_of
from experiments.tables import read_rows
from tests.experiments.made_up import make_experiments, write_run

MINE = {"data.init_args.root": "data/mine"}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_experiments(tmp_path / "experiments", monkeypatch)
    return tmp_path / "runs"


def chapters(base: Path) -> list[Chapter]:
    return chapters_of(repeats_of(find_runs(base)[0])[0])


def table(base: Path) -> list[dict[str, str]]:
    """The rows of the only chapter's table, as text."""
    (chapter,) = chapters(base)
    lines = [line for line in chapter.sections()[2].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_runs_are_told_apart_by_the_settings_that_differ(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1, over={"model.init_args.width": 8})
    rows = [row for row in table(runs) if row["method"] == "output"]
    assert [(row["settings"], row["seeds"]) for row in rows] == [
        ("model.init_args.width=4", "1 (0)"),
        ("model.init_args.width=8", "1 (1)"),
    ]


def test_the_conditions_say_what_differs_between_them_and_what_they_share(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1, over=MINE)
    (chapter,) = chapters(runs)
    assert chapter.conditions.words == [
        ["scale=demo", "data.init_args.root=data/drawn"],
        ["scale=demo", "data.init_args.root=data/mine"],
    ]
    text = chapter.conditions.markdown()
    assert "2. scale=demo, data.init_args.root=data/mine\n" in text
    shared = text.splitlines()[-1]
    assert "max_batches=8" in shared
    assert "data.init_args.size=32" in shared
    assert "root" not in shared


def test_the_identity_stands_once_for_each_of_the_data(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1)
    write_run(runs / "c", "plain", 0, over={"max_batches": 9})  # other length, the same data
    write_run(runs / "d", "plain", 0, over=MINE)
    identity = [row for row in table(runs) if row["method"] == "identity"]
    assert sorted((row["on"], row["psnr"]) for row in identity) == [
        ("1, 2", "20.00"),
        ("3", "20.00"),
    ]


def test_an_identity_on_which_runs_disagree_shows_it(runs: Path):
    write_run(runs / "a", "full", 0)
    path = write_run(runs / "b", "full", 1) / "results.csv"
    path.write_text(path.read_text().replace("20.0", "22.0"))
    assert read_rows(path)[0]["psnr"] == 22.0
    (identity, _) = table(runs)
    assert identity["psnr"] == "21.00 ± 1.41"


def test_one_seed_has_no_spread_and_a_missing_metric_is_counted(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0, "ari": 5.0})
    write_run(runs / "b", "full", 1, {"psnr": 32.0, "ari": None})
    row = table(runs)[1]
    assert row["psnr"] == "31.00 ± 1.41"
    assert row["ari"] == "5.0000 (1 of 2 seeds)"
    assert row["lpips"] == ""


def test_what_is_no_number_stays_in_sight(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": math.nan})
    write_run(runs / "b", "full", 1, {"psnr": 32.0})
    assert table(runs)[1]["psnr"] == "nan"


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        ([], ""),
        ([30.0], "30.00"),
        ([0.5, 0.7], "0.6000 ± 0.1414"),
        ([-30.0, -32.0], "-31.00 ± 1.41"),
        ([math.inf, 1.0], "inf"),
    ],
)
def test_a_spread_has_the_decimals_of_its_mean(values: list[float], cell: str):
    assert mean_and_spread(values) == cell


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({}, "yes"),
        (MINE, "yes"),
        ({"max_batches": 9}, "no"),
        ({"data.init_args.size": 64}, "no"),
        ({"model.init_args.width": 3}, "no"),
    ],
)
def test_a_published_run_with_other_settings_than_its_files_is_not_comparable(
    runs: Path, over: dict[str, Any], said: str
):
    write_run(runs / "a", "full", 0, over=over, scale="published")
    assert [row["comparable"] for row in table(runs)] == [said, said]


def test_caveats_are_told_with_the_names_of_their_experiments(runs: Path):
    write_run(runs / "a", "full", 0)
    results = write_run(runs / "b", "plain", 0) / "results.md"
    results.write_text("| a |\n\n- psnr: in dB. Untrained features.\n")
    (chapter,) = chapters(runs)
    notes = [line for line in chapter.sections()[2].splitlines() if line.startswith("- ")]
    assert notes[:2] == ["- psnr: in dB.", "- plain: Untrained features."]


def test_experiments_of_other_papers_have_chapters_of_their_own(runs: Path):
    (settings.EXPERIMENTS / "lonely.yaml").write_text("bases: [../none.yaml]\n")
    (settings.EXPERIMENTS.parent / "none.yaml").write_text("max_batches: 3\n")
    write_run(runs / "a", "lonely", 0)
    write_run(runs / "b", "full", 0)
    assert [chapter.paper for chapter in chapters(runs)] == ["A Paper", "Other experiments"]


def test_a_run_of_an_experiment_that_is_not_shipped_is_shown_without_a_paper(runs: Path):
    folder = write_run(runs / "a", "full", 0)
    for name in ("results.csv", "config.yaml"):
        (folder / name).write_text((folder / name).read_text().replace("full", "mine"))
    (chapter,) = chapters(runs)
    assert chapter.paper == "Other experiments"
    assert [row["experiment"] for row in table(runs)] == ["", "mine"]
