import math
from pathlib import Path

import pytest

from experiments.curves import curves_of, draw, file_name, improvement, read_improvement
from experiments.repeats import Repeats, Run
from experiments.settings import SettingsError
from tests.experiments.made_up import write_components


def run(folder: Path, seed: int = 0) -> Run:
    folder.mkdir()
    rows = {"output": {"n": "60"}}
    return Run(folder, "full", "demo", seed, {}, rows)


def test_d_is_read_by_component_and_nan_where_it_is_empty(tmp_path: Path):
    write_components(tmp_path, [0.5, None, -2.0])
    found = read_improvement(tmp_path / "components.csv")
    assert list(found) == [1, 2, 3]
    assert (found[1], found[3]) == (0.5, -2.0)
    assert math.isnan(found[2])


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "component,improvement\n1,x\n"])
def test_what_is_no_table_of_components_is_named(tmp_path: Path, content: str):
    path = tmp_path / "components.csv"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"components\.csv is no table of components: test"):
        read_improvement(path)


def test_a_curve_is_the_mean_over_the_seeds_that_counted_a_component(tmp_path: Path):
    first, second = run(tmp_path / "a", 0), run(tmp_path / "b", 1)
    write_components(first.folder, [0.25, None, None])
    write_components(second.folder, [0.75, 0.5, None])
    curve = improvement(Repeats((first, second)))
    assert curve[:2] == [0.5, 0.5]
    assert math.isnan(curve[2])


def test_components_are_ordered_by_number_and_not_by_line(tmp_path: Path):
    one = run(tmp_path / "a")
    lines = [f"{i},{i / 100}" for i in (10, 9, 1)]
    text = "\n".join(["component,improvement", *lines])
    (one.folder / "components.csv").write_text(text)
    assert improvement(Repeats((one,))) == [0.01, 0.09, 0.1]


def test_a_group_without_curves_is_left_out(tmp_path: Path):
    with_one, without = run(tmp_path / "a"), run(tmp_path / "b")
    write_components(with_one.folder, [1.0])
    groups = {"x": Repeats((with_one,)), "y": Repeats((without,))}
    assert curves_of(groups) == {"x": [1.0]}


def test_a_picture_is_called_by_words_and_never_as_another():
    words = ["Makeup-Go", "scale=demo", "root=data/a b"]
    assert file_name(words, []) == "makeup_go_scale_demo_root_data_a_b.png"
    assert file_name(words, [file_name(words, [])]) == "makeup_go_scale_demo_root_data_a_b_2.png"
    assert file_name(["..", "/"], []) == "runs.png"


def test_a_plot_is_written_where_it_is_asked_for(tmp_path: Path):
    path = tmp_path / "report" / "x.png"
    draw({"full": [0.5, math.nan, -3.0], "plain": [0.1]}, path)
    assert path.read_bytes().startswith(b"\x89PNG")
