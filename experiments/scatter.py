"""One pass against step by step: the loss of each target by both (inversion paper, Fig. 10)."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.chapters import Chapter
from experiments.curves import FOLDER, file_name
from experiments.repeats import Repeats, Run, mean

EACH = "results_each.csv"
METHOD = "model.class_path"
ONE_PASS = "lightning_modules.inversion.FeedForwardInversion"
ITERATIVE = "lightning_modules.inversion.IterativeInversion"
SAME = ("model.init_args.terms.", "model.init_args.embedders.inverted.", "data.init_args.size")
PRINTED = 1.6  # the paper's ratio of the mean losses, Section 5.2


@dataclass(frozen=True)
class Duel:
    """The losses of the same targets by two runs that minimise the same.

    Attributes:
        one_pass: name of the run whose network gives an image at once.
        iterative: name of the other.
        losses: (iterative, one pass) for each target.
    """

    one_pass: str
    iterative: str
    losses: tuple[tuple[float, float], ...]

    @property
    def ratio(self) -> float:
        """The mean loss of one pass over that of the iterations."""
        return mean([loss for _, loss in self.losses]) / mean([loss for loss, _ in self.losses])


def scatter_section(chapter: Chapter, base: Path) -> list[str]:
    """Figures of a chapter's duels, with their ratios; draws them.

    Args:
        chapter: whose runs are shown.
        base: folder of the runs; the pictures go below it.
    """
    lines: list[str] = []
    for duel in duels(chapter.groups):
        picture = f"{FOLDER}/{file_name(['scatter', duel.one_pass, duel.iterative], [])}"
        draw(duel, base / picture)
        lines.append(
            f"{duel.one_pass} against {duel.iterative}: the mean loss is {duel.ratio:.2f} times as "
            f"large over {len(duel.losses)} targets (paper: {PRINTED}).\n\n![losses]({picture})\n"
        )
    return ["### One pass against step by step\n", *lines] if lines else []


def duels(groups: Iterable[Repeats]) -> list[Duel]:
    """All pairs of runs of one seed and scale, loss, embedder and targets."""
    runs = [run for group in groups for run in group.runs]
    ours, others = (
        [run for run in runs if run.settings.get(METHOD) == method]
        for method in (ONE_PASS, ITERATIVE)
    )
    found = [_duel(one, other) for one in ours for other in others if _alike(one, other)]
    return [duel for duel in found if duel is not None]


def draw(duel: Duel, path: Path) -> None:
    """Writes the scatter: iterative loss to the right, that of one pass upwards, and equality."""
    from matplotlib.figure import Figure

    from lightning_modules.figures import COLOURS, save_figure

    figure = Figure((5.0, 4.6), layout="constrained")
    axes = figure.add_subplot()
    across, up = zip(*duel.losses, strict=True)
    axes.scatter(across, up, s=14, color=COLOURS[0])
    axes.axline((across[0], across[0]), slope=1, color="#888888", linewidth=1, label="equal")
    axes.set_xlabel(f"loss of {duel.iterative}")
    axes.set_ylabel(f"loss of {duel.one_pass}")
    axes.set_title(f"ratio of the means {duel.ratio:.2f}")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    save_figure(figure, path)


def _alike(one: Run, other: Run) -> bool:
    told = (_loss(run.settings) for run in (one, other))
    same = (one.seed, one.scale) == (other.seed, other.scale)
    return same and next(told) == next(told)


def _loss(settings: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in settings.items() if key.startswith(SAME)}


def _duel(one: Run, other: Run) -> Duel | None:
    first, second = _losses(other.folder / EACH), _losses(one.folder / EACH)
    if not first or first.keys() != second.keys():
        return None
    losses = tuple((first[name], second[name]) for name in first)
    return Duel(one.folder.name, other.folder.name, losses)


def _losses(path: Path) -> dict[str, float]:
    """The loss of each target; none where the file is missing."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: float(row["loss"]) for row in csv.DictReader(file)}
