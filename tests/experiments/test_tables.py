import csv
import math
from pathlib import Path

import pytest

from experiments import tables
from experiments.tables import Tag, beside_the_paper, rows_of, write_table

RESULTS = [
    {"method": "identity", "n": 80, "psnr": 26.0, "ssim": 0.9},
    {"method": "output", "n": 80, "psnr": 31.5, "ssim": 0.95, "soft_iou": 0.5},
]
TAG = Tag("tiny", "demo")


def test_every_row_says_whose_it_is_and_from_how_many_images():
    rows = rows_of(RESULTS, TAG)
    assert {(row["experiment"], row["scale"], row["n"]) for row in rows} == {("tiny", "demo", 80)}


def test_a_table_is_written_as_csv_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_table(rows_of(RESULTS, TAG), tmp_path, "psnr: in dB.")
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["identity", "output"]
    assert float(rows[1]["psnr"]) == 31.5
    text = (tmp_path / "results.md").read_text()
    assert "| tiny | demo | output | 80 | 31.50 | 0.9500 |" in text
    assert "- psnr: in dB." in text
    assert "identity" in capsys.readouterr().out


def test_an_empty_lpips_column_says_why():
    empty = tables.notes_of(rows_of(RESULTS, TAG), "")
    measured = {"method": "output", "n": 80, "psnr": 30.0, "lpips": 0.1}
    others = {"method": "output", "n": 80, "accuracy": 0.9}  # no pairs of pictures
    assert tables.NO_LPIPS in empty
    assert tables.NO_LPIPS not in tables.notes_of(rows_of([measured], TAG), "")
    assert "lpips" not in rows_of([others], TAG)[0]


def test_small_scales_are_marked_as_not_comparable():
    demo = tables.notes_of(rows_of(RESULTS, TAG), "")
    published = tables.notes_of(rows_of(RESULTS, Tag("tiny", "published")), "")
    assert any("not comparable" in note for note in demo)
    assert not any("not comparable" in note for note in published)


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (Tag("tiny", "published"), "yes"),
        (Tag("tiny", "demo"), "no"),
        (Tag("tiny", "smoke"), "no"),
        (Tag("tiny", "published", "Features are random."), "no"),
    ],
)
def test_the_last_column_says_whether_a_row_may_be_compared(tag: Tag, said: str, tmp_path: Path):
    rows = rows_of(RESULTS, tag)
    assert tables.columns_of(rows)[-1] == "comparable"
    write_table(rows, tmp_path, "")
    assert {row["comparable"] for row in tables.read_rows(tmp_path / "results.csv")} == {said}


def test_the_papers_number_stands_beside_ours():
    row = {"method": "output", "psnr": 31.5, "ssim": 0.9}
    beside = beside_the_paper(row, {"test/psnr": 45.13, "source": "Table 1"})
    assert list(beside) == ["method", "psnr", "psnr (paper)", "ssim", "source"]
    assert beside["psnr (paper)"] == 45.13


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    write_table(rows_of([{"method": "output", "n": 2, "psnr": float("nan")}], TAG), tmp_path, "")
    (row,) = tables.read_rows(tmp_path / "results.csv")
    assert math.isnan(row["psnr"])
    assert row["lpips"] is None
    assert row["n"] == "2"


def test_a_bar_in_a_cell_does_not_end_it():
    assert tables.markdown([{"a": "x|y"}], ["a"], []) == "| a |\n| --- |\n| x\\|y |\n"


def test_notes_stand_under_their_table_after_an_empty_line():
    text = tables.markdown([{"a": 1.0}], ["a"], ["one", "two"])
    assert text == "| a |\n| --- |\n| 1.0000 |\n\n- one\n- two\n"
