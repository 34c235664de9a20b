"""How runs converged: the metric of each validation over the batches (RetouchFormer, Fig. 3)."""

import csv
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from experiments.chapters import Chapter
from experiments.curves import FOLDER, file_name
from experiments.paper_tables import tables_of
from experiments.repeats import Repeats, mean

METRICS = "metrics.csv"
MONITOR = "monitor"  # the setting that names the metric which a run is watched by
FEWEST = 2  # validations that make a curve
_LETTERS = 34  # in a line of the legend


@dataclass(frozen=True)
class Curve:
    """A metric over the validations that all seeds of an experiment have.

    Attributes:
        batches: after which was validated.
        each: the metric, by seed.
        untouched: the same of the untouched input; none where it was not measured.
    """

    batches: tuple[int, ...]
    each: tuple[tuple[float, ...], ...]
    untouched: float | None = None

    @property
    def middle(self) -> list[float]:
        """The mean over the seeds."""
        return [mean(values) for values in zip(*self.each, strict=True)]

    @property
    def range(self) -> tuple[list[float], list[float]]:
        """The smallest and the largest of the seeds."""
        columns = list(zip(*self.each, strict=True))
        return [min(values) for values in columns], [max(values) for values in columns]


def convergence_section(chapter: Chapter, base: Path) -> list[str]:
    """Curves of a chapter's runs, one plot for each table of the paper and condition; draws them.

    Args:
        chapter: whose runs are shown.
        base: folder of the runs; the pictures go below it.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    lines: list[str] = []
    taken: list[str] = []
    for title, number, metric in _plots(chapter):
        groups = {
            name: group
            for name, group in chapter.named(number).items()
            if title in tables_of(group.experiment) and group.settings.get(MONITOR) == metric
        }
        curves = {name: curve_of(group, metric) for name, group in groups.items()}
        drawn = {name: curve for name, curve in curves.items() if curve is not None}
        where = f"{title}, on {number}"
        if not drawn:
            lines.append(f"{where}: no curve, for no run was validated {FEWEST} times.\n")
            continue
        words = ["convergence", chapter.paper, title, str(number), metric.split("/")[-1]]
        taken.append(file_name(words, taken))
        draw(drawn, metric, base / FOLDER / taken[-1])
        lines.append(f"{where}:\n\n![{metric} against batches]({FOLDER}/{taken[-1]})\n")
    about = "Line: mean over the seeds; band: their range; dashed: the untouched input.\n"
    return ["### Convergence\n", *lines, *([about] if taken else [])] if lines else []


def _plots(chapter: Chapter) -> list[tuple[str, int, str]]:
    """Table, condition and metric of each plot, in order."""
    found = {
        (title, chapter.number(group), str(group.settings[MONITOR]))
        for group in chapter.groups
        if MONITOR in group.settings
        for title in tables_of(group.experiment)
    }
    return sorted(found)


def curve_of(group: Repeats, metric: str) -> Curve | None:
    """The curve of a group's runs; none where they share fewer than two validations."""
    told = [read_column(run.folder / METRICS, metric) for run in group.runs]
    there = [values for values in told if values]
    if not there:
        return None
    batches = sorted(set.intersection(*(set(values) for values in there)))
    if len(batches) < FEWEST:
        return None
    each = tuple(tuple(values[batch] for batch in batches) for values in there)
    return Curve(tuple(batches), each, _untouched(group, metric))


def _untouched(group: Repeats, metric: str) -> float | None:
    name = metric.replace("val/", "val/identity_")
    columns = (read_column(run.folder / METRICS, name) for run in group.runs)
    values = [value for column in columns for value in column.values()]
    return mean(values) if values else None


def read_column(path: Path, metric: str) -> dict[int, float]:
    """A metric of a run's metrics.csv by batch; nothing where the run did not log it."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {int(row["step"]): float(row[metric]) for row in rows if row.get(metric)}


def draw(curves: Mapping[str, Curve], metric: str, path: Path) -> None:
    """Writes the plot, a line a group with the range of its seeds."""
    from matplotlib.figure import Figure

    from lightning_modules.figures import COLOURS, save_figure

    figure = Figure((9.5, max(4.2, 0.3 * len(curves) + 1)), layout="constrained")
    axes = figure.add_subplot()
    styles = itertools.cycle(itertools.product(("-", "-."), COLOURS))
    for (name, curve), (dash, colour) in zip(curves.items(), styles, strict=False):
        axes.plot(curve.batches, curve.middle, dash, color=colour, label=fill(name, _LETTERS))
        axes.fill_between(curve.batches, *curve.range, color=colour, alpha=0.18, linewidth=0)
    for value in _levels(curve.untouched for curve in curves.values()):
        axes.axhline(value, color="#666666", linestyle="--", linewidth=1)
    axes.set_xlabel("batches")
    axes.set_ylabel(metric)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    save_figure(figure, path)


def _levels(values: Iterable[float | None]) -> list[float]:
    """The different ones, told apart by four digits."""
    return list({f"{value:.4g}": value for value in values if value is not None}.values())
