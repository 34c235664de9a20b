import csv
from pathlib import Path

import pytest

from experiments import report, settings
from experiments.report import Tag, beside_the_paper, rows_of, write_table
from experiments.settings import SettingsError

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
    empty = report.notes_of(rows_of(RESULTS, TAG), "")
    filled = report.notes_of(rows_of([{"method": "output", "n": 80, "lpips": 0.1}], TAG), "")
    assert report.NO_LPIPS in empty
    assert report.NO_LPIPS not in filled


def test_small_scales_are_marked_as_not_comparable():
    demo = report.notes_of(rows_of(RESULTS, TAG), "")
    published = report.notes_of(rows_of(RESULTS, Tag("tiny", "published")), "")
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
    assert report.columns_of(rows)[-1] == "comparable"
    write_table(rows, tmp_path, "")
    assert {row["comparable"] for row in report.read_rows(tmp_path / "results.csv")} == {said}


def test_the_papers_number_stands_beside_ours():
    row = {"method": "output", "psnr": 31.5, "ssim": 0.9}
    beside = beside_the_paper(row, {"test/psnr": 45.13, "source": "Table 1"})
    assert list(beside) == ["method", "psnr", "psnr (paper)", "ssim", "source"]
    assert beside["psnr (paper)"] == 45.13


def test_the_report_gathers_all_runs(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(settings, "EXPERIMENTS", tiny.parent)
    folder = tiny.parent / "runs"
    write_table(rows_of(RESULTS, TAG), folder / "tiny_demo", "")
    write_table(rows_of(RESULTS, TAG), folder / "other", "")
    assert report.main() == 0
    text = (folder / "report.md").read_text()
    assert text in capsys.readouterr().out
    assert "| tiny_demo | tiny | demo | output | 80 | 31.50 | 30.00 |" in text
    assert text.count("| output |") == 2
    assert "Table 0" in text


def test_the_report_says_which_rows_do_not_compare(tiny: Path):
    folder = tiny.parent / "runs"
    write_table(rows_of(RESULTS, Tag("tiny", "published")), folder / "one", "")
    assert report.main() == 0
    assert report.SOME_DO_NOT_COMPARE not in (folder / "report.md").read_text()
    write_table(rows_of(RESULTS, Tag("tiny", "published", "Other data.")), folder / "two", "")
    assert report.main() == 0
    text = (folder / "report.md").read_text()
    assert report.SOME_DO_NOT_COMPARE in text
    assert [line.count(" no |") for line in text.splitlines() if "| two |" in line] == [1, 1]


def test_the_report_gathers_the_runs_of_sweeps(tiny: Path):
    folder = tiny.parent / "runs"
    write_table(rows_of(RESULTS, TAG), folder / "tiny_demo" / "local-0123456789", "")
    assert report.main() == 0
    assert "| tiny_demo/local-0123456789 | tiny |" in (folder / "report.md").read_text()


def test_a_report_of_nothing_is_a_settings_error(tiny: Path):
    with pytest.raises(SettingsError, match="no results under"):
        report.main()
