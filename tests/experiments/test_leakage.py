from pathlib import Path

from experiments.leakage import UNKNOWN, leakage_section
from tests.experiments.made_up import chapter, table_lines, write_run

SCORES = {"loss": 3.0, "top1_own": 1.0, "top5_own": 1.0, "people": 60.0}


def section(base: Path) -> list[str]:
    return leakage_section(chapter(base))


def run(base: Path, seed: int, first: float, name: str = "full") -> None:
    """A run whose rebuilt faces the second judge ranks first for this share, the real for 0.9."""
    scores = SCORES | {"top1_second": first, "top5_second": 0.5}
    path = write_run(base / f"{name}{seed}", name, seed, scores) / "results.csv"
    lines = path.read_text().splitlines()
    real = lines[1].replace("identity", "photograph").replace("20.0", "0.9")
    path.write_text("\n".join([*lines, real]) + "\n")


def test_the_second_judges_shares_stand_beside_chance_and_the_photographs(runs: Path):
    run(runs, 0, 0.2)
    run(runs, 1, 0.4)
    assert table_lines(section(runs)[2])[2] == [
        *("1", "full", "second", "2", "60", "60"),
        *("30.0 %", "90.0 %", "1.7 %", "50.0 %", "90.0 %", "8.3 %"),
    ]


def test_one_sentence_tells_the_worst_case(runs: Path):
    run(runs, 0, 0.2)
    run(runs, 0, 0.4, "plain")
    sentence = section(runs)[1]
    assert "faces that plain rebuilt at scale demo from stored templates" in sentence
    assert "the right person out of 60 at once for 40%, where guessing gives 2%" in sentence
    assert "real photographs 90%" in sentence


def test_the_inverted_network_is_no_witness(runs: Path):
    write_run(runs / "a", "full", 0, SCORES)
    assert section(runs) == ["### What a template leaks\n", UNKNOWN]


def test_runs_of_restoration_leak_nothing(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0, "top1_own": 0.5})
    assert section(runs) == []
