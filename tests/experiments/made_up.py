"""Experiments and finished runs that nobody trained: what the report is tested with."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import settings
from experiments.chapters import Chapter, chapters_of
from experiments.repeats import Repeats, find_runs, repeats_of
from experiments.settings import load_chain

PAPER = """
paper: A Paper
max_batches: 8
data: {class_path: some.Data, init_args: {root: data/drawn, size: 32}}
model: {class_path: some.Model, init_args: {width: 4}}
"""
EXPERIMENTS = {
    "full": """
expected: {test/psnr: 40.0, test/ari: 60.5, source: Table 1}
""",
    "plain": """
expected: {test/psnr: 36.0, test/ari: 12.5, source: Table 1}
model: {init_args: {width: 1}}
""",
    "other": """
expected: {test/psnr: 39.0, source: Table 2}
model: {class_path: some.OtherModel}
""",
}
CLAIMS = """
paper:
  claims:
    - claim: wide is better
      source: Table 1
      orderings:
        - {experiment: full, metric: test/ari, above: plain}
        - {experiment: full, metric: test/psnr, above: other}
"""
MINE = {"data.init_args.root": "data/mine"}  # settings, as `write_run` takes them
WATCHED = {"monitor": "val/psnr"}


def make_experiments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three experiments of one paper and its claims in `folder`, in place of the shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "paper.yaml").write_text(PAPER)
    for name, content in EXPERIMENTS.items():
        (folder / f"{name}.yaml").write_text(f"# {name}\nbases: [../paper.yaml]\n{content}")
    (folder / "claims.yaml").write_text(CLAIMS)
    monkeypatch.setattr(settings, "EXPERIMENTS", folder)
    monkeypatch.setenv("RUNS", str(folder.parent / "runs"))


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    whole: dict[str, Any] = {}
    for name, value in dotted.items():
        *parts, last = name.split(".")
        inner = whole
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return whole


def write_run(
    folder: Path,
    experiment: str,
    seed: int = 0,
    scores: Mapping[str, float | None] | None = None,
    over: Mapping[str, Any] | None = None,
    n: int = 60,
    scale: str = "demo",
) -> Path:
    """A finished run in `folder`.

    Args:
        folder: of the run.
        experiment: one of `EXPERIMENTS`.
        seed: of the run.
        scores: of the output, `{"psnr": 30.0}` without.
        over: settings, by dotted name, that it was started with.
        n: images in the test.
        scale: "demo", "smoke" or "published".
    """
    small = None if scale == "published" else scale
    told = settings.merge(load_chain(experiment, small).settings, nested(over or {}))
    own = {"experiment": experiment, "scale": scale, "run_dir": str(folder)}
    folder.mkdir(parents=True)
    config = told | own | {"seed_everything": seed}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    found = dict(scores or {"psnr": 30.0})
    head = {"experiment": experiment, "scale": scale, "n": n}
    last = {} if "lpips" in found else {"lpips": None}
    last |= {"comparable": "no" if small else "yes"}
    rows = [
        head | {"method": "identity"} | dict.fromkeys(found, 20.0) | last,
        head | {"method": "output"} | found | last,
    ]
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "results.md").write_text("| a |\n\n- psnr: in dB.\n- more\n")
    state = {"commit": "0123456789", "uncommitted_changes": False}
    (folder / "environment.json").write_text(json.dumps(state))
    return folder


def write_components(folder: Path, improvement: Sequence[float | None]) -> None:
    """A run's components.csv, the discrepancy's and image's shares made up."""
    with (folder / "components.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["component", "improvement", "discrepancy", "image"])
        writer.writerows([i, d, 0.5, 0.5] for i, d in enumerate(improvement, 1))


def groups(base: Path) -> list[Repeats]:
    """The finished runs below `base`, those that differ in the seed alone together."""
    return repeats_of(find_runs(base)[0])[0]


def chapters(base: Path) -> list[Chapter]:
    """The report's chapters on the runs below `base`."""
    return chapters_of(groups(base))


def chapter(base: Path) -> Chapter:
    """The only chapter on the runs below `base`."""
    (found,) = chapters(base)
    return found


def table_lines(markdown: str) -> list[list[str]]:
    """The cells of each line of a table: its head, the rule, its rows."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def table_rows(markdown: str) -> list[dict[str, str]]:
    """The cells of each row of a table by the column's name."""
    head, _, *rows = table_lines(markdown)
    return [dict(zip(head, row, strict=True)) for row in rows]
