from collections.abc import Mapping
from pathlib import Path

from experiments.convergence import Curve, convergence_section, curve_of, read_column
from tests.experiments.made_up import WATCHED, chapter, write_run


def run(base: Path, name: str, seed: int, values: Mapping[int, float]) -> None:
    """A run with these validations, of an input of 20 dB."""
    folder = write_run(base / f"{name}{seed}", name, seed, over=WATCHED)
    lines = ["step,train/loss,val/identity_psnr,val/psnr", "1,0.5,,"]
    lines += [f"{batch},0.25,20.0,{value}" for batch, value in values.items()]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def test_a_column_is_read_where_it_was_logged(runs: Path):
    run(runs, "full", 0, {10: 25.0, 20: 26.0})
    path = runs / "full0" / "metrics.csv"
    assert read_column(path, "val/psnr") == {10: 25.0, 20: 26.0}
    assert read_column(path, "val/lpips") == {}
    assert read_column(path.with_name("none.csv"), "val/psnr") == {}


def test_a_curve_has_the_validations_of_all_seeds_with_mean_and_range(runs: Path):
    run(runs, "full", 0, {10: 25.0, 20: 26.0, 30: 27.0})
    run(runs, "full", 1, {10: 23.0, 20: 28.0})
    curve = curve_of(chapter(runs).groups[0], "val/psnr")
    assert curve is not None
    assert curve.batches == (10, 20)
    assert curve.middle == [24.0, 27.0]
    assert curve.range == ([23.0, 26.0], [25.0, 28.0])
    assert curve.untouched == 20.0


def test_one_validation_makes_no_curve_and_that_is_said(runs: Path):
    run(runs, "full", 0, {10: 25.0})
    assert curve_of(chapter(runs).groups[0], "val/psnr") is None
    told = convergence_section(chapter(runs), runs)
    assert told[1] == "Table 1, on 1: no curve, for no run was validated 2 times.\n"
    assert len(told) == 2


def test_each_table_has_a_plot_of_its_own(runs: Path):
    for name in ("full", "plain", "other"):
        run(runs, name, 0, {10: 25.0, 20: 26.0})
    told = "".join(convergence_section(chapter(runs), runs))
    pictures = [
        "report/convergence_a_paper_table_1_1_psnr.png",
        "report/convergence_a_paper_table_2_1_psnr.png",
    ]
    assert [part.split(")")[0] for part in told.split("](")[1:]] == pictures
    assert all((runs / path).read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_runs_that_tell_not_what_they_were_watched_by_have_no_section(runs: Path):
    write_run(runs / "a", "full", 0)
    assert convergence_section(chapter(runs), runs) == []


def test_a_curve_without_spread_has_a_range_of_nothing():
    curve = Curve((1, 2), ((3.0, 4.0),))
    assert curve.range == ([3.0, 4.0], [3.0, 4.0])
