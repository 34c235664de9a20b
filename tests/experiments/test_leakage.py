from pathlib import Path

import pytest

from experiments.chapters import Chapter, chapters_of
from experiments.leakage import UNKNOWN, leakage_section
from experiments.repeats import find_runs, repeats_of
from tests.experiments.made_up import make_experiments, write_run

SCORES = {"loss": 3.0, "top1_own": 1.0, "top5_own": 1.0, "people": 60.0}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_experiments(tmp_path / "experiments", monkeypatch)
    return tmp_path / "runs"


def section(base: Path) -> list[str]:
    chapter: Chapter
    (chapter,) = chapters_of(repeats_of(find_runs(base)[0])[0])
    return leakage_section(chapter)


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
    rows = [line for line in section(runs)[2].splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[2].strip("|").split(" |")] == [
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
