from pathlib import Path

from experiments import settings
from experiments.verdicts import claims_section
from tests.experiments.made_up import chapter, table_lines, write_run


def section(base: Path) -> list[str]:
    return claims_section(chapter(base))


def cells(text: str) -> list[list[str]]:
    return table_lines(text)[2:]


def rows(base: Path) -> list[list[str]]:
    return cells(section(base)[2])


def test_an_ordering_is_told_with_all_that_its_verdict_stands_on(runs: Path):
    for seed, ari in enumerate((12.0, 13.0, 17.0)):
        write_run(runs / f"a{seed}", "full", seed, {"ari": ari})
        write_run(runs / f"b{seed}", "plain", seed, {"ari": 10.0})
    assert rows(runs)[0] == [
        "ari of full above plain",
        "held",
        "60.5",
        "12.5",
        "14.00 ± 2.65",
        "10.00 ± 0.00",
        "+4 (+2 to +7)",
        "3",
        "1",
        "Table 1",
    ]


def test_a_claim_is_summed_up_over_its_orderings(runs: Path):
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"ari": 12.0})
        write_run(runs / f"b{seed}", "plain", seed, {"ari": 10.0})
    summary = section(runs)[1]
    assert cells(summary) == [["wide is better", "Table 1", "1", "", "", "1"]]
    assert summary.endswith("- Orderings held: 1, not run: 1.\n")


def test_orderings_that_were_not_run_are_listed_last(runs: Path):
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"psnr": 30.0})
        over = {"model.class_path": "some.OtherModel", "model.init_args": {}}
        write_run(runs / f"b{seed}", "other", seed, {"psnr": 31.0}, over)
    (row,) = rows(runs)
    assert (row[0], row[1]) == ("psnr of full above other", "did not hold")
    assert section(runs)[-1].endswith("- ari of full above plain\n")


def test_where_nothing_was_run_there_is_only_the_list(runs: Path):
    write_run(runs / "a", "full", 0)
    assert len(section(runs)) == 3
    assert section(runs)[1].endswith("- Orderings not run: 2.\n")


def test_settings_that_are_not_the_experiments_own_are_told_with_the_claim(runs: Path):
    rate = {"model.init_args.learning_rate": 0.1}
    for seed in (0, 1):
        for name in ("full", "plain"):
            write_run(runs / f"{name}{seed}", name, seed, {"ari": 1.0})
            write_run(runs / f"{name}{seed}_fast", name, seed, {"ari": 2.0}, rate)
    told = [row[0] for row in rows(runs) if row[1] == "undecided"]
    assert len(told) == 2
    assert "full with model.init_args.learning_rate=0.1" in told[1]
    assert "plain with model.init_args.learning_rate=0.1" in told[1]


def test_a_claim_that_no_seed_decides_has_no_difference(runs: Path):
    write_run(runs / "a", "full", 0, {"ari": 3.0})
    write_run(runs / "b", "plain", 1, {"ari": 1.0})
    (row,) = rows(runs)
    assert row[4:8] == ["3.0000", "1.0000", "", "0"]
    assert row[1] == "undecided"


def test_a_paper_that_claims_nothing_has_no_table(runs: Path):
    settings.claims_file().write_text("{}")
    write_run(runs / "a", "full", 0)
    assert section(runs) == []
