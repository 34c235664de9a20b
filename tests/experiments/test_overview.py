from pathlib import Path

from experiments import settings
from experiments.overview import overview_section
from tests.experiments.made_up import chapters, write_run


def rows(base: Path) -> list[str]:
    text = overview_section(chapters(base))[1]
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


def test_a_paper_has_a_row_with_its_runs_and_verdicts(runs: Path):
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"ari": 3.0})
        write_run(runs / f"b{seed}", "plain", seed, {"ari": 1.0})
    write_run(runs / "b2", "plain", 2, {"ari": 1.0})
    assert rows(runs) == ["| A Paper | 2 | 5 | 2 to 3 | demo | 1 |  |  | 1 |"]


def test_a_paper_without_a_run_has_one_too(runs: Path):
    (settings.EXPERIMENTS.parent / "b.yaml").write_text("paper: B Paper\n")
    for name in ("one", "two"):
        (settings.EXPERIMENTS / f"{name}.yaml").write_text("bases: [../b.yaml]\n")
    ordering = "{experiment: one, metric: test/psnr, below: two}"
    with settings.claims_file().open("a") as file:
        file.write(f"b: {{claims: [{{claim: x, source: y, orderings: [{ordering}]}}]}}\n")
    write_run(runs / "a", "full", 0)
    assert rows(runs)[1] == "| B Paper |  | 0 |  |  |  |  |  | 1 |"
