"""Runs on the plane of perception and distortion (ISPL Fig. 8, left)."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from experiments.chapters import Chapter
from experiments.curves import FOLDER, file_name
from experiments.repeats import Repeats, mean, spread

DISTORTION = "psnr"
REALISM = ("lpips", "fid", "frechet_", "fed_")  # in this order; the last two end in a judge's name
FEWEST = 2  # points that make a plane
_LETTERS = 34  # in a line of the legend


@dataclass(frozen=True)
class Point:
    """Where the runs of one experiment lie.

    Attributes:
        realism: by seed, of those that have both.
        psnr: likewise, in dB.
    """

    realism: tuple[float, ...]
    psnr: tuple[float, ...]


def planes_section(chapter: Chapter, base: Path) -> list[str]:
    """Links to a chapter's planes, one for each condition with two points or more; draws them.

    Args:
        chapter: whose runs are shown.
        base: folder of the runs; the pictures go below it.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    lines: list[str] = []
    for number in range(1, len(chapter.conditions.all) + 1):
        groups = chapter.named(number)
        measure = realism_of(groups.values())
        if measure is None:
            continue
        points = points_of(groups, measure)
        picture = f"{FOLDER}/{file_name(['plane', chapter.paper, str(number)], [])}"
        draw(points, measure, base / picture)
        lines.append(f"On {number}:\n\n![{measure} and psnr]({picture})\n")
        without = [name for name in groups if name not in points]
        lines += [f"Without {measure}, so not shown: {', '.join(without)}.\n"] if without else []
    about = (
        "Mean over the seeds; bars: one sample standard deviation to each side. PSNR falls "
        "upwards, so that both are better towards the lower left.\n"
    )
    return ["### Perception and distortion\n", *lines, about] if lines else []


def realism_of(groups: Iterable[Repeats]) -> str | None:
    """The first of `REALISM` that two groups or more have beside PSNR; None where there is none."""
    there = list(groups)
    told = (name for group in there for run in group.runs for name in run.rows.get("output", {}))
    found = sorted({(rank, name) for name in told if (rank := _rank(name)) is not None})
    counts = {name: sum(_point(group, name) is not None for group in there) for _, name in found}
    return next((name for name, count in counts.items() if count >= FEWEST), None)


def points_of(groups: Mapping[str, Repeats], measure: str) -> dict[str, Point]:
    """The points of those groups that have one, by the name that they are given here."""
    points = {name: _point(group, measure) for name, group in groups.items()}
    return {name: point for name, point in points.items() if point is not None}


def draw(points: Mapping[str, Point], measure: str, path: Path) -> None:
    """Writes the plane: realism to the right, PSNR inverted, a point an experiment."""
    from matplotlib.figure import Figure

    from lightning_modules.figures import COLOURS, save_figure

    figure = Figure((9.5, max(4.6, 0.3 * len(points) + 1)), layout="constrained")
    axes = figure.add_subplot()
    styles = itertools.cycle(itertools.product(("o", "s", "^", "D", "v", "P"), COLOURS))
    for (name, point), (marker, colour) in zip(points.items(), styles, strict=False):
        axes.errorbar(
            mean(point.realism),
            mean(point.psnr),
            xerr=spread(point.realism),
            yerr=spread(point.psnr),
            fmt=marker,
            color=colour,
            capsize=3,
            label=fill(name, _LETTERS),
        )
    axes.invert_yaxis()
    axes.set_xlabel(f"← better    {measure}")
    axes.set_ylabel("← better    PSNR in dB, axis inverted")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    save_figure(figure, path)


def _rank(metric: str) -> int | None:
    for rank, name in enumerate(REALISM):
        if metric == name or (name.endswith("_") and metric.startswith(name)):
            return rank
    return None


def _point(group: Repeats, measure: str) -> Point | None:
    realism, psnr = group.values(measure), group.values(DISTORTION)
    both = [
        (realism[seed], psnr[seed])
        for seed in sorted(realism.keys() & psnr.keys())
        if math.isfinite(realism[seed]) and math.isfinite(psnr[seed])
    ]
    return Point(tuple(r for r, _ in both), tuple(p for _, p in both)) if both else None
