import json
from pathlib import Path

import pytest

from experiments.costs import COST, cost_of, costs_section
from tests.experiments.made_up import chapter, table_rows, write_run

TOLD = {
    "batches": 8,
    "seconds": 20.0,
    "processes": 1,
    "device": "cpu, 2 cores",
    "peak_mib": 300.5,
    "parameters": {"generator": 12345, "discriminator": 7},
}


def rows(base: Path) -> list[dict[str, str]]:
    return table_rows(costs_section(chapter(base))[1])


def test_a_row_has_the_mean_over_the_seeds_and_the_largest_peak(runs: Path):
    for seed, seconds in enumerate((20.0, 24.0)):
        folder = write_run(runs / f"a{seed}", "full", seed, {"psnr": 30.0, "seconds": 0.5})
        told = TOLD | {"seconds": seconds, "peak_mib": 300.0 + seed}
        (folder / COST).write_text(json.dumps(told))
    assert rows(runs) == [
        {
            "on": "1",
            "experiment": "full",
            "device": "cpu, 2 cores",
            "seeds": "2",
            "batches": "8",
            "training s": "22.00 ± 2.83",
            "ms a batch": "2750.00 ± 353.55",
            "s an image": "0.5000 ± 0.0000",
            "peak MiB": "301.00",
            "learned parameters": "generator 12,345, discriminator 7",
        }
    ]


def test_what_was_not_told_is_said_to_be(runs: Path):
    (write_run(runs / "a", "full", 0) / COST).write_text(json.dumps(TOLD))
    write_run(runs / "b", "plain", 0, {"psnr": 30.0, "seconds": 0.5})
    text = costs_section(chapter(runs))[1]
    assert text.endswith("- No cost.json of plain.\n")


def test_without_anything_told_there_is_no_section(runs: Path):
    write_run(runs / "a", "full", 0)
    assert costs_section(chapter(runs)) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"batches": 3}', "null"])
def test_a_file_that_was_cut_short_tells_nothing(runs: Path, content: str):
    (write_run(runs / "a", "full", 0) / COST).write_text(content)
    assert cost_of(chapter(runs).groups[0].runs[0]) == {}


def test_several_processes_are_counted(runs: Path):
    (write_run(runs / "a", "full", 0) / COST).write_text(json.dumps(TOLD | {"processes": 4}))
    assert rows(runs)[0]["device"] == "4 x cpu, 2 cores"
