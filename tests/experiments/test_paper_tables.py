import math
from pathlib import Path
from typing import Any

import pytest

from experiments import settings
from experiments.claims import Claim
from experiments.paper_tables import ELSEWHERE, tables_of, tables_section
from experiments.tables import read_rows
from tests.experiments.made_up import MINE, chapter, table_rows, write_run


def section(base: Path) -> list[str]:
    return tables_section(chapter(base))


def table(base: Path, title: str = "Table 1") -> list[dict[str, str]]:
    """The rows of one of the only chapter's tables, as text."""
    parts = section(base)
    return table_rows(parts[parts.index(f"### {title}\n") + 1])


def output(base: Path) -> list[dict[str, str]]:
    return [row for row in table(base) if row["method"] == "output"]


def test_runs_are_told_apart_by_the_settings_that_differ(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1, over={"model.init_args.width": 8})
    assert [(row["settings"], row["seeds"]) for row in output(runs)] == [
        ("model.init_args.width=4", "1 (0)"),
        ("model.init_args.width=8", "1 (1)"),
    ]


def test_the_identity_stands_once_for_each_of_the_data(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1)
    write_run(runs / "c", "plain", 0, over={"max_batches": 9})  # other length, the same data
    write_run(runs / "d", "plain", 0, over=MINE)
    identity = [row for row in table(runs) if row["method"] == "identity"]
    assert sorted((row["on"], row["psnr"]) for row in identity) == [
        ("1, 2", "20.00"),
        ("3", "20.00"),
    ]


def test_an_identity_on_which_runs_disagree_shows_it(runs: Path):
    write_run(runs / "a", "full", 0)
    path = write_run(runs / "b", "full", 1) / "results.csv"
    path.write_text(path.read_text().replace("20.0", "22.0"))
    assert read_rows(path)[0]["psnr"] == 22.0
    identity = table(runs)[0]
    assert identity["psnr"] == "21.00 ± 1.41"


def test_one_seed_has_no_spread_and_a_missing_metric_is_counted(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0, "ari": 5.0})
    write_run(runs / "b", "full", 1, {"psnr": 32.0, "ari": None})
    row = table(runs)[1]
    assert row["psnr"] == "31.00 ± 1.41"
    assert row["ari"] == "5.0000 (1 of 2 seeds)"
    assert "lpips" not in row


def test_what_is_no_number_stays_in_sight(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": math.nan})
    write_run(runs / "b", "full", 1, {"psnr": 32.0})
    assert table(runs)[1]["psnr"] == "nan"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({}, "yes"),
        (MINE, "yes"),
        ({"max_batches": 9}, "no"),
        ({"data.init_args.size": 64}, "no"),
        ({"model.init_args.width": 3}, "no"),
    ],
)
def test_a_published_run_with_other_settings_than_its_files_is_not_comparable(
    runs: Path, over: dict[str, Any], said: str
):
    write_run(runs / "a", "full", 0, over=over, scale="published")
    assert [row["comparable"] for row in table(runs)] == [said, said, ""]


def test_caveats_are_told_with_the_names_of_their_experiments(runs: Path):
    write_run(runs / "a", "full", 0)
    results = write_run(runs / "b", "plain", 0) / "results.md"
    results.write_text("| a |\n\n- psnr: in dB. Untrained features.\n")
    notes = [line for line in section(runs)[-1].splitlines() if line.startswith("- ")]
    assert notes[:2] == ["- psnr: in dB.", "- plain: Untrained features."]


def test_a_run_of_an_experiment_that_is_not_shipped_is_shown_without_a_paper(runs: Path):
    folder = write_run(runs / "a", "full", 0)
    for name in ("results.csv", "config.yaml"):
        (folder / name).write_text((folder / name).read_text().replace("full", "mine"))
    assert [row["experiment"] for row in table(runs, ELSEWHERE)] == ["", "mine"]


@pytest.mark.parametrize(
    ("source", "titles"),
    [
        ("Table 1", ["Table 1"]),
        ("Tables 2 and 3", ["Table 2", "Table 3"]),
        ("Tables 1, 2 and 10 of 3", ["Table 1", "Table 2", "Table 10"]),
        ("Table 3, as 45.13 less 4.93", ["Table 3"]),
        ("not in Table 2; a network of ours", ["Table 2"]),
        ("Section 4.6; it shows pictures", [ELSEWHERE]),
    ],
)
def test_a_files_source_tells_its_tables(runs: Path, source: str, titles: list[str]):
    text = f'bases: [../paper.yaml]\nexpected: {{source: "{source}"}}\n'
    (settings.EXPERIMENTS / "full.yaml").write_text(text)
    assert tables_of("full") == titles


def test_a_table_tells_its_own_number_where_the_paper_has_two(runs: Path):
    numbers = 'test/psnr: 40.0, test/ari: 3.0, source: "Tables 1 and 2", Table 1: {test/psnr: 41.9}'
    text = f"bases: [../paper.yaml]\nexpected: {{{numbers}}}\n"
    (settings.EXPERIMENTS / "full.yaml").write_text(text)
    write_run(runs / "a", "full", 0)
    for title, psnr in (("Table 1", "41.9"), ("Table 2", "40.0")):
        row = next(row for row in table(runs, title) if row["experiment"] == "full")
        assert (row["psnr (paper)"], row["ari (paper)"]) == (psnr, "3.0")
    claim = Claim("full", "psnr", "above", "plain", "Section 4 and Table 1")
    assert claim.printed == (41.9, 36.0)
    assert settings.describe("full")[1]["test/psnr"] == 40.0


def test_each_of_the_papers_tables_has_one_here_and_says_what_was_not_run(runs: Path):
    write_run(runs / "a", "full", 0)
    missing = table(runs)[-1]
    assert (missing["experiment"], missing["method"]) == ("plain", "not run")
    assert (missing["psnr (paper)"], missing["psnr"], missing["seeds"]) == ("36.0", "", "")
    parts = section(runs)
    assert parts[parts.index("### Table 2\n") + 1] == "No run of other.\n"


def test_what_the_paper_measured_and_we_did_not_stands_alone(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0})
    row = output(runs)[0]
    assert (row["psnr"], row["psnr (paper)"], row["ari (paper)"]) == ("30.00", "40.0", "60.5")
    assert list(row)[-3:] == ["ari (paper)", "source", "comparable"]
    assert "ari" not in row


def test_what_experiments_do_not_agree_on_is_left_empty_beside_their_outputs(runs: Path):
    write_run(runs / "a", "full", 0)
    path = write_run(runs / "b", "plain", 0) / "results.csv"
    path.write_text(path.read_text().replace("20.0", "22.0"))
    identity = table(runs)[0]
    assert (identity["method"], identity["psnr"]) == ("identity", "")


def test_every_method_of_a_test_has_a_row(runs: Path):
    path = write_run(runs / "a", "full", 0) / "results.csv"
    path.write_text(path.read_text() + "full,demo,60,equalised,12.5,,no\n")
    assert path.read_text().splitlines()[0] == "experiment,scale,n,method,psnr,lpips,comparable"
    assert [row["method"] for row in table(runs)] == [
        "identity",
        "equalised",
        "output",
        "not run",
    ]
    assert table(runs)[1]["psnr"] == "12.50"
