from pathlib import Path

import pytest

from experiments import report
from experiments.__main__ import main
from experiments.settings import SettingsError
from tests.experiments.made_up import MINE, write_components, write_run


def reported(base: Path, *arguments: str) -> str:
    assert report.main(arguments) == 0
    return (base / "report.md").read_text()


def test_the_report_holds_rows_claims_runs_and_what_is_left_out(
    runs: Path, capsys: pytest.CaptureFixture[str]
):
    for seed in (0, 1):
        write_run(runs / f"full{seed}", "full", seed, {"psnr": 30.0 + seed, "ari": 20.0})
        write_run(runs / f"plain{seed}", "plain", seed, {"psnr": 29.0, "ari": 12.0 + seed})
    (write_run(runs / "half", "full", 9) / "results.csv").unlink()
    text = reported(runs)
    assert text in capsys.readouterr().out
    assert "## A Paper\n" in text
    assert "| A Paper | 2 | 4 | 2 | demo | 1 |  |  | 1 |" in text
    assert "| 1 | full | output | 2 (0, 1) | 60 | 30.50 ± 0.71 | 40.0 | 20.00 ± 0.00 |" in text
    assert "| 1 |  | identity |  | 60 | 20.00 |  | 20.00 |" in text
    assert "| ari of full above plain | held | 60.5 | 12.5 | 20.00 ± 0.00 |" in text
    assert "| A Paper | 1 | plain | 1 | plain1 | 0123456 |" in text
    assert "- half: no results.csv: not finished, or not tested" in text


def test_the_page_shows_what_the_markdown_says(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.25})
    text = reported(runs)
    shown = (runs / "report.html").read_text()
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("## ")]
    assert headings
    assert all(f">{heading}</h2>" in shown for heading in headings)
    assert "<td>30.25</td>" in shown


def test_two_reports_of_the_same_runs_are_the_same_text(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "plain", 0)
    assert reported(runs) == reported(runs)


def test_a_run_twice_of_one_seed_is_said_and_not_counted(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0})
    write_run(runs / "b", "full", 0, {"psnr": 40.0})
    text = reported(runs)
    assert "| 1 (0) | 60 | 30.00 |" in text
    assert "- b: same settings and seed as a" in text


def test_runs_of_two_commits_are_said_to_be(runs: Path):
    write_run(runs / "a", "full", 0)
    assert "not all of one commit" not in reported(runs)
    environment = write_run(runs / "b", "full", 1) / "environment.json"
    environment.write_text('{"commit": "abcdefghij", "uncommitted_changes": true}')
    text = reported(runs)
    assert "| b | abcdefg and changes |" in text
    assert "not all of one commit" in text


def test_curves_are_drawn_for_each_condition_and_linked(runs: Path):
    for seed in (0, 1):
        write_components(write_run(runs / f"a{seed}", "full", seed), [0.5, None, seed])
    write_components(write_run(runs / "b", "plain", 0, over=MINE), [0.1, 0.2])
    write_run(runs / "c", "other", 0, over={"data.init_args.root": "data/third"})
    text = reported(runs)
    linked = [line.split("(")[1][:-1] for line in text.splitlines() if line.startswith("![")]
    assert linked == [
        "report/a_paper_scale_demo_root_data_drawn.png",
        "report/a_paper_scale_demo_root_data_mine.png",
    ]
    assert all((runs / path).read_bytes().startswith(b"\x89PNG") for path in linked)


def test_a_broken_file_of_components_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (write_run(runs / "a", "full", 0) / "components.csv").write_text("a,b\n1,2\n")
    assert main(["report"]) == 2
    assert "components.csv is no table of components" in capsys.readouterr().err


def test_a_report_of_nothing_says_what_to_do_and_what_there_was(runs: Path):
    with pytest.raises(SettingsError, match=r"no results under .*: train or test"):
        report.main()
    (write_run(runs / "half", "full", 9) / "results.csv").unlink()
    with pytest.raises(SettingsError, match=r"half: no results\.csv"):
        report.main()


def test_pictures_of_test_images_can_be_left_out(runs: Path):
    folder = write_run(runs / "a", "full", 0) / "pictures"
    folder.mkdir()
    (folder / "test.png").write_bytes(b"")
    assert "a/pictures/test.png" in reported(runs)
    assert "pictures" not in reported(runs, "--without-pictures")
