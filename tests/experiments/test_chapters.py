import math
from pathlib import Path

import pytest

from experiments import settings
from experiments.chapters import mean_and_spread
from tests.experiments.made_up import MINE, chapters, write_run


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


def test_what_all_runs_have_otherwise_is_told_once_and_paths_by_their_ends(runs: Path):
    judged = {"model.init_args.width": "/home/me/runs/judge/checkpoints/last.ckpt"}
    told = judged | {"data.init_args.root": "/home/me/faces"}
    write_run(runs / "a", "full", 0, over=told)
    write_run(runs / "b", "plain", 0, over=told)
    write_run(runs / "c", "plain", 0, over=told | {"model.class_path": "some.Third"})
    (chapter,) = chapters(runs)
    head = "".join(chapter.head())
    assert "experiments' files: model.init_args.width=.../judge/checkpoints/last.ckpt." in head
    assert "data.init_args.root=.../faces" in head
    assert "home" not in head
    assert [chapter.settings(group) for group in chapter.groups] == [
        "",
        "model.class_path=some.Model",
        "model.class_path=some.Third",
    ]


def test_groups_whose_words_are_the_same_are_numbered_and_none_is_lost(runs: Path):
    for place in ("a", "b"):
        told = {"model.init_args.width": f"/{place}/judge/checkpoints/last.ckpt"}
        write_run(runs / place, "full", 0, over=told)
    (chapter,) = chapters(runs)
    name = "full, model.init_args.width=.../judge/checkpoints/last.ckpt"
    assert list(chapter.named(1)) == [name, f"{name} (2)"]
