"""The pictures that runs left: of each row of a paper's tables the best run's."""

import re
from pathlib import Path
from urllib.parse import quote

from experiments.chapters import Chapter
from experiments.repeats import Repeats, Run

PICTURES = "pictures"
SHEET = "test.png"
WHILE_TRAINING = re.compile(r"_\d{7}$")  # a sheet of a validation is named by its batch
MONITOR = "monitor"


def gallery_section(chapter: Chapter, base: Path) -> list[str]:
    """The test sheet of each row's best run, and links to what else it left.

    Args:
        chapter: whose runs are shown.
        base: folder of the runs, to which the links are relative.
    """
    lines: list[str] = []
    for number in range(1, len(chapter.conditions.all) + 1):
        for name, group in chapter.named(number).items():
            shown = _shown(group, base)
            lines += [f"#### {name}, on {number}\n", *shown] if shown else []
    return ["### Pictures\n", *lines] if lines else []


def best_run(group: Repeats) -> tuple[Run, str]:
    """The run with the largest value of the metric that it was watched by, and that metric.

    The first seed and no metric where the test did not measure it.
    """
    metric = str(group.settings.get(MONITOR, "")).removeprefix("val/")
    values = group.values(metric)
    if not values:
        return group.runs[0], ""
    seed = max(values, key=lambda seed: values[seed])
    return next(run for run in group.runs if run.seed == seed), metric


def _shown(group: Repeats, base: Path) -> list[str]:
    run, metric = best_run(group)
    found = sorted((run.folder / PICTURES).glob("*.png"))
    kept = [path for path in found if not WHILE_TRAINING.search(path.stem)]
    if not kept:
        return []
    why = f", the best of {len(group.runs)} by {metric}" if metric and len(group.runs) > 1 else ""
    sheet = [path for path in kept if path.name == SHEET]
    others = [path for path in kept if path.name != SHEET]
    links = ", ".join(f"[{path.stem}]({_link(path, base)})" for path in others)
    lines = [f"Seed {run.seed}{why}."]
    lines += [f"\n\n![{group.experiment} on test images]({_link(path, base)})" for path in sheet]
    lines += [f"\n\nMore of this run: {links}." if links else ""]
    return ["".join(lines) + "\n"]


def _link(path: Path, base: Path) -> str:
    return quote(path.relative_to(base).as_posix())
