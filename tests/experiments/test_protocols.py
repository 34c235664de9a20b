import math
from pathlib import Path
from typing import Any

import pytest

from experiments.protocols import Rating, methods_of, protocols_section, trios_of
from tests.experiments.made_up import MINE, chapter, table_rows, write_run

# Table 3's EDSR, its S2S from Table 2.
PRINTED = {
    "s2s": "{test/fid: 20.605, test/lpips: 0.2475}",
    "s2r": "{test/fid: 82.172, test/lpips: 0.408}",
    "r2r": "{test/fid: 69.717, test/lpips: 0.349}",
}
SYNTHETIC = "class_path: a.Synthetic, init_args: {root: data/a, degradation: {class_path: a.Small}}"
REAL = "class_path: a.Real, init_args: {root: data/b}"
DATA = {
    "s2s": SYNTHETIC,
    "s2r": f"class_path: a.Joined, init_args: {{train: {{{SYNTHETIC}}}, test: {{{REAL}}}}}",
    "r2r": REAL,
}
PSNR = {"s2s": 30.0, "s2r": 24.0, "r2r": 27.0}


@pytest.fixture
def runs(runs: Path, tmp_path: Path) -> Path:
    """The folder of runs, with one method's three experiments in place of the shared ones."""
    folder = tmp_path / "experiments"
    (tmp_path / "paper.yaml").write_text(
        "paper: A Paper\nmax_batches: 8\nmodel: {class_path: some.Model, init_args: {width: 4}}\n"
    )
    for path in folder.glob("*.yaml"):
        path.unlink()
    (folder / "claims.yaml").write_text("{}")
    for name in PRINTED:
        lines = ["# x", "bases: [../paper.yaml]", f"expected: {PRINTED[name]}"]
        text = "\n".join([*lines, f"data: {{{DATA[name]}}}"])
        (folder / f"edsr_{name}.yaml").write_text(text)
    return runs


def run(base: Path, name: str, seed: int = 0, scale: str = "demo", **more: Any) -> None:
    scores = {"psnr": PSNR[name] + seed, "seconds": 1.0} | more.pop("scores", {})
    write_run(base / f"{name}{seed}{scale}", f"edsr_{name}", seed, scores, scale=scale, **more)


def rows(base: Path) -> dict[str, dict[str, str]]:
    found = table_rows(protocols_section(chapter(base))[1])
    return {row["metric"]: row for row in found}


def test_gap_and_gain_are_differences_of_the_means_over_the_seeds(runs: Path):
    for seed in (0, 1):
        for name in PSNR:
            run(runs, name, seed)
    found = rows(runs)["psnr"]
    assert found["method"] == "edsr"
    assert (found["S2S"], found["S2R"], found["R2R"]) == (
        *("30.50 ± 0.71", "24.50 ± 0.71", "27.50 ± 0.71"),
    )
    assert (found["gap"], found["gain"]) == ("+6", "+3")
    assert "gap x" not in found
    assert "seconds" not in rows(runs)


def test_the_papers_numbers_give_its_own_gap_and_gain_beside_ours(runs: Path):
    for name, fid, lpips in (("s2s", 10.0, 0.1), ("s2r", 40.0, 0.2), ("r2r", 20.0, 0.15)):
        run(runs, name, scores={"fid": fid, "lpips": lpips})
    found = rows(runs)
    last = found["mean of fid and lpips"]
    assert (last["gap x (paper)"], last["gain % (paper)"]) == ("2.8", "14.8")  # Table 3
    assert (last["gap x"], last["gain %"]) == ("3.0", "37.5")
    assert (found["fid"]["gap"], found["fid"]["gap (paper)"]) == ("-30", "-61.57")
    assert (found["lpips"]["gain"], found["lpips"]["gain (paper)"]) == ("-0.05", "-0.059")


def test_what_was_not_measured_is_empty_beside_the_papers_numbers(runs: Path):
    for name in PSNR:
        run(runs, name)
    found = rows(runs)
    assert found["lpips"]["S2R (paper)"] == "0.408"
    assert found["lpips"]["S2R"] == found["lpips"]["gap"] == ""
    assert found["mean of fid and lpips"]["gap x (paper)"] == "2.8"


def test_a_missing_run_is_named_and_nothing_is_counted(runs: Path):
    run(runs, "s2s")
    run(runs, "r2r")
    assert protocols_section(chapter(runs)) == [
        "### From synthetic to real\n",
        "edsr at scale demo: neither gap nor gain, for there is no run of edsr_s2r.\n",
    ]


def test_scales_are_told_apart(runs: Path):
    for name in PSNR:
        run(runs, name)
    run(runs, "s2s", scale="smoke")
    assert rows(runs)["psnr"]["gap"] == "+6"
    assert protocols_section(chapter(runs))[2:] == [
        "edsr at scale smoke: neither gap nor gain, for there is no run of edsr_s2r and of "
        "edsr_r2r.\n"
    ]


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("s2r", {"max_batches": 9}),
        ("r2r", {"model.init_args.width": 5}),
        ("s2s", MINE),
        ("s2s", {"data.init_args.degradation.class_path": "a.Other"}),
        ("s2r", {"data.init_args.test.init_args.root": "data/mine"}),
    ],
)
def test_runs_that_differ_in_more_than_the_protocol_are_not_held_together(
    runs: Path, name: str, over: dict[str, Any]
):
    for each in PSNR:
        run(runs, each, over=over if each == name else None)
    (_, line) = protocols_section(chapter(runs))
    assert "its runs under the three protocols differ in length, settings or data" in line


def test_real_tests_of_other_lengths_are_not_held_together(runs: Path):
    for name in PSNR:
        run(runs, name, n=50 if name == "r2r" else 60)
    assert trios_of("edsr", chapter(runs).groups) == []


def test_a_paper_without_the_three_experiments_or_their_runs_has_no_section(
    runs: Path, tmp_path: Path
):
    (tmp_path / "experiments" / "plain.yaml").write_text("# x\nbases: [../paper.yaml]\n")
    write_run(runs / "x", "plain", 0)
    assert methods_of(chapter(runs)) == ["edsr"]
    assert protocols_section(chapter(runs)) == []
    (tmp_path / "experiments" / "edsr_r2r.yaml").unlink()
    assert methods_of(chapter(runs)) == []


def test_a_rate_of_nothing_is_no_number():
    assert math.isnan(Rating((0.0, 1.0, 1.0)).gap_rate)
    assert math.isnan(Rating((1.0, 0.0, 1.0)).gain_rate)
    assert not Rating((1.0, math.nan, 1.0)).known
