"""What runs have cost: seconds, memory and numbers that are learned."""

import json
from collections.abc import Sequence
from typing import Any

from experiments.chapters import Chapter, mean_and_spread
from experiments.repeats import Repeats, Run
from experiments.tables import Row, markdown, worded

COST = "cost.json"
COLUMNS = (
    "on",
    "experiment",
    "device",
    "seeds",
    "batches",
    "training s",
    "ms a batch",
    "s an image",
    "peak MiB",
    "learned parameters",
)
NOTES = (
    "training s: wall-clock seconds of the training with its validations, mean ± spread over the "
    "seeds, on a machine that may have had other work; ms a batch: the same for each batch. "
    "s an image: of one image in the test, as in the tables above.",
    "peak MiB: the most that was allocated on a GPU, or resident in the (first) process on a CPU, "
    "PyTorch itself and the data included; the largest of the seeds. learned parameters: of each "
    "player, without frozen networks.",
)


def costs_section(chapter: Chapter) -> list[str]:
    """A table of what each row of a chapter has cost; nothing where no run tells of it."""
    rows = [_row(name, group, chapter) for name, group in _named(chapter)]
    told = [row for row in rows if row["training s"] or row["s an image"]]
    if not told:
        return []
    untold = [str(row["experiment"]) for row in told if not row["training s"]]
    notes = [*NOTES, *([f"No {COST} of {', '.join(untold)}."] if untold else [])]
    columns = [name for name in COLUMNS if any(row[name] for row in told)]
    return ["### Cost\n", markdown(told, columns, notes)]


def _named(chapter: Chapter) -> list[tuple[str, Repeats]]:
    numbers = range(1, len(chapter.conditions.all) + 1)
    return [pair for number in numbers for pair in chapter.named(number).items()]


def _row(name: str, group: Repeats, chapter: Chapter) -> Row:
    costs = [told for run in group.runs if (told := cost_of(run))]
    seconds = [float(told["seconds"]) for told in costs]
    batches = [1000 * float(told["seconds"]) / max(1, told["batches"]) for told in costs]
    counts = dict.fromkeys(str(told["batches"]) for told in costs)
    return {
        "on": str(chapter.number(group)),
        "experiment": name,
        "device": "; ".join(dict.fromkeys(_device(told) for told in costs)),
        "seeds": f"{len(costs) or len(group.runs)}",
        "batches": ", ".join(counts),
        "training s": mean_and_spread(seconds),
        "ms a batch": mean_and_spread(batches),
        "s an image": mean_and_spread(list(group.values("seconds").values())),
        "peak MiB": worded(max((float(told["peak_mib"]) for told in costs), default=None)),
        "learned parameters": _parameters(costs),
    }


def cost_of(run: Run) -> dict[str, Any]:
    """What a run tells of its cost; empty where it tells nothing that can be read."""
    try:
        told = json.loads((run.folder / COST).read_text(encoding="utf-8"))
        return {key: told[key] for key in ("batches", "seconds", "peak_mib")} | told
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # a run of before costs were written, or one that was ended while it wrote


def _device(told: dict[str, Any]) -> str:
    count = told.get("processes", 1)
    return f"{count} x {told.get('device', '')}" if count > 1 else str(told.get("device", ""))


def _parameters(costs: Sequence[dict[str, Any]]) -> str:
    learned = costs[0].get("parameters", {}) if costs else {}
    return ", ".join(f"{player} {count:,}" for player, count in learned.items())
