import math
from pathlib import Path

import pytest

from experiments import settings
from experiments.chapters import Chapter, chapters_of, mean_and_spread
from experiments.repeats import find_runs, repeats_of
from tests.experiments.made_up import make_experiments, write_run

MINE = {"data.init_args.root": "data/mine"}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_experiments(tmp_path / "experiments", monkeypatch)
    return tmp_path / "runs"


def chapters(base: Path) -> list[Chapter]:
    return chapters_of(repeats_of(find_runs(base)[0])[0])


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


def test_experiments_of_other_papers_have_chapters_of_their_own(runs: Path):
    (settings.EXPERIMENTS / "lonely.yaml").write_text("bases: [../none.yaml]\n")
    (settings.EXPERIMENTS.parent / "none.yaml").write_text("max_batches: 3\n")
    write_run(runs / "a", "lonely", 0)
    write_run(runs / "b", "full", 0)
    assert [chapter.paper for chapter in chapters(runs)] == ["A Paper", "Other experiments"]
