import csv
from pathlib import Path

import pytest

from experiments import report, settings
from experiments.report import Tag, beside_the_paper, rows_of, write_table
from experiments.settings import SettingsError

RESULTS = [
    {"method": "identity", "psnr": 26.0, "ssim": 0.9},
    {"method": "output", "psnr": 31.5, "ssim": 0.95, "soft_iou": 0.5},
]
TAG = Tag("tiny", "demo", 80)


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
    filled = report.notes_of(rows_of([{"method": "output", "lpips": 0.1}], TAG), "")
    assert report.NO_LPIPS in empty
    assert report.NO_LPIPS not in filled


def test_small_scales_are_marked_as_not_comparable():
    demo = report.notes_of(rows_of(RESULTS, TAG), "")
    published = report.notes_of(rows_of(RESULTS, Tag("tiny", "published", 80)), "")
    assert any("not comparable" in note for note in demo)
    assert not any("not comparable" in note for note in published)


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


def test_a_report_of_nothing_is_a_settings_error(tiny: Path):
    with pytest.raises(SettingsError, match="no results under"):
        report.main()
