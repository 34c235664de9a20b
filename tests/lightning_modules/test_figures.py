import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lightning_modules.figures import (
    COLOURS,
    components_figure,
    improvement_figure,
    save_figure,
)

CURVE = [1.0, 0.5, math.nan, -0.25]
SPECTRA = {"discrepancy": [0.9, 0.1, 0.0], "image": [0.99, 0.009, 0.001]}


def lines(figure: Figure, axes: int = 0) -> dict[str, list[float]]:
    return {str(line.get_label()): [*line.get_ydata()] for line in figure.axes[axes].lines}


def test_each_run_has_a_line_from_component_1_on_and_its_ari_in_the_legend() -> None:
    figure = improvement_figure({"crn": CURVE, "vdsr": [0.5, 0.0, 0.0, 0.0]})
    drawn = lines(figure)
    np.testing.assert_equal(drawn["crn: ARI 1.2 of 3"], CURVE)
    assert drawn["vdsr: ARI 0.5 of 4"] == [0.5, 0, 0, 0]
    assert [*figure.axes[0].lines[0].get_xdata()] == [1, 2, 3, 4]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == [*drawn]


def test_the_untouched_input_and_the_ground_truth_are_drawn_as_lines() -> None:
    drawn = lines(improvement_figure({"crn": CURVE}))
    assert drawn["untouched input: d = 0"] == [0, 0]
    assert drawn["ground truth: d = 1"] == [1, 1]


def test_what_leaves_the_figure_below_is_counted_in_the_legend() -> None:
    figure = improvement_figure({"bad": [0.5, -3.0, -1.0, -7.0]})
    assert "bad: ARI -10.5 of 4, 2 below -1" in lines(figure)
    assert figure.axes[0].get_ylim()[0] == -1


def test_as_many_runs_as_there_are_styles_can_be_told_apart() -> None:
    figure = improvement_figure({str(i): [0.1, 0.2] for i in range(112)})
    styles = {
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in figure.axes[0].lines[:112]
    }
    assert len(styles) == 112


def test_the_legend_of_many_runs_stays_in_the_figure() -> None:
    figure = improvement_figure({f"crn_mt_branches{i}": CURVE for i in range(40)})
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.x0 >= figure.axes[0].get_window_extent().x1


def test_spectra_lie_on_a_logarithmic_axis_with_gaps_where_a_share_is_0() -> None:
    figure = components_figure(CURVE, SPECTRA)
    assert figure.axes[1].get_yscale() == "log"
    np.testing.assert_equal(lines(figure, 1)["discrepancy"], [0.9, 0.1, math.nan])
    assert lines(figure, 1)["image"] == SPECTRA["image"]


def test_one_figure_shows_the_improvement_under_its_ari_beside_the_spectra() -> None:
    figure = components_figure(CURVE, SPECTRA)
    left, right = figure.axes
    assert left.get_title() == "ARI 1.2 of 3"
    np.testing.assert_equal(lines(figure)["output"], CURVE)
    assert right.get_title() == "Normalised eigenvalues"
    assert lines(figure, 1).keys() == SPECTRA.keys()


@pytest.mark.parametrize("values", [[math.nan] * 3, [1.0]])
def test_a_curve_without_a_number_or_of_one_component_is_drawn(
    tmp_path: Path, values: list[float]
) -> None:
    save_figure(components_figure(values, {"image": values}), tmp_path / "few.png")
    with Image.open(tmp_path / "few.png") as picture:
        assert picture.size == (1680, 504)


def test_a_saved_figure_is_a_picture_with_its_colours_and_nothing_else_is_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new" / "curves.png"
    save_figure(improvement_figure({"crn": CURVE}), path)
    assert [*path.parent.iterdir()] == [path]
    with Image.open(path) as picture:
        colours = {f"#{r:02X}{g:02X}{b:02X}" for r, g, b, _ in np.asarray(picture).reshape(-1, 4)}
    assert COLOURS[0] in colours


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save_figure(components_figure(CURVE, SPECTRA), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fill_the_disk(_: Figure, file: Path, **__: object) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fill_the_disk)
    with pytest.raises(OSError, match="disk full"):
        save_figure(improvement_figure({"crn": CURVE}), path)
    assert path.read_bytes() == b"old"


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one curve to draw, got none"):
        improvement_figure({})
    with pytest.raises(ValueError, match="curve of crn must have at least one component, got none"):
        improvement_figure({"crn": []})


def test_components_without_improvement_or_spectra_are_refused() -> None:
    with pytest.raises(ValueError, match="curve of output must have at least one component"):
        components_figure([], SPECTRA)
    with pytest.raises(ValueError, match="at least one curve"):
        components_figure(CURVE, {})
