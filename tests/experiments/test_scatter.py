from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from experiments.chapters import Chapter
from experiments.repeats import Repeats, Run
from experiments.scatter import EACH, ITERATIVE, METHOD, ONE_PASS, duels, scatter_section

TV = "model.init_args.terms.tv.weight"


def group(base: Path, name: str, method: str, losses: list[float], **settings: Any) -> Repeats:
    folder = base / name
    folder.mkdir()
    rows = "".join(f"person{i},{loss}\n" for i, loss in enumerate(losses))
    (folder / EACH).write_text(f"name,loss\n{rows}")
    told = {METHOD: method, TV: settings.pop("tv", 0.1), "max_batches": 5} | settings
    rows_of = {"output": {"n": len(losses), "loss": sum(losses) / len(losses)}}
    return Repeats((Run(folder, name, "demo", 0, told, rows_of),))


def test_a_duel_has_the_losses_of_each_target_and_the_ratio_of_their_means(tmp_path: Path):
    one = group(tmp_path, "ff", ONE_PASS, [3.0, 5.0])
    other = group(tmp_path, "steps", ITERATIVE, [1.0, 3.0])
    (duel,) = duels([other, one])
    assert (duel.one_pass, duel.iterative) == ("ff", "steps")
    assert duel.losses == ((1.0, 3.0), (3.0, 5.0))
    assert duel.ratio == pytest.approx(2.0)


def test_runs_of_other_losses_targets_or_kinds_are_not_compared(tmp_path: Path):
    one = group(tmp_path, "ff", ONE_PASS, [3.0, 5.0])
    others = [
        group(tmp_path, "tv", ITERATIVE, [1.0, 3.0], tv=0.2),
        group(tmp_path, "large", ITERATIVE, [1.0, 3.0], **{"data.init_args.size": 64}),
        group(tmp_path, "more", ITERATIVE, [1.0, 3.0, 2.0]),
        group(tmp_path, "same", ONE_PASS, [1.0, 3.0]),
    ]
    assert duels([one, *others]) == []
    unwritten = group(tmp_path, "unwritten", ITERATIVE, [1.0])
    (tmp_path / "unwritten" / EACH).unlink()
    assert duels([one, unwritten]) == []


def test_the_section_names_the_ratio_and_draws_the_scatter(tmp_path: Path):
    groups = (
        group(tmp_path, "ff", ONE_PASS, [3.0, 5.0]),
        group(tmp_path, "steps", ITERATIVE, [1.0, 3.0]),
    )
    heading, text = scatter_section(Chapter("paper", groups), tmp_path)
    assert heading == "### One pass against step by step\n"
    assert "ff against steps: the mean loss is 2.00 times as large over 2 targets" in text
    picture = text.rpartition("(")[2].rpartition(")")[0]
    with Image.open(tmp_path / picture) as image:
        assert image.size == (600, 552)


def test_without_a_duel_there_is_no_section(tmp_path: Path):
    alone = (group(tmp_path, "ff", ONE_PASS, [3.0]),)
    assert scatter_section(Chapter("paper", alone), tmp_path) == []
