"""What the runs did to each component of an edit, drawn for all that may be compared."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.repeats import Repeats, mean
from experiments.settings import SettingsError

COMPONENTS = "components.csv"
FOLDER = "report"  # below the folder of runs
LONGEST = 120  # characters of a picture's name; file systems take 255 bytes


def read_improvement(path: Path) -> dict[int, float]:
    """d_i by the number of the component, of a run's components.csv; NaN where it has none.

    Raises:
        SettingsError: if the file is not what a test of Makeup-Go writes.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                int(row["component"]): float(row["improvement"] or "nan")
                for row in csv.DictReader(file)
            }
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SettingsError(
            f"{path} is no table of components: test the run again by `make evaluate`"
        ) from error


def improvement(group: Repeats) -> list[float]:
    """The mean of d_i over the seeds, by component; empty where no run has told it.

    A component that a run could not count is left out of the mean; NaN where no run could.

    Raises:
        SettingsError: if a run's file cannot be used.
    """
    paths = [run.folder / COMPONENTS for run in group.runs]
    runs = [read_improvement(path) for path in paths if path.is_file()]
    components = sorted({component for run in runs for component in run})
    counted = ([run[i] for run in runs if not math.isnan(run.get(i, math.nan))] for i in components)
    return [mean(values) for values in counted]


def curves_of(groups: Mapping[str, Repeats]) -> dict[str, list[float]]:
    """The curves of those groups that have one, by the name that they are given here.

    Raises:
        SettingsError: if a run's file cannot be used.
    """
    curves = {name: improvement(group) for name, group in groups.items()}
    return {name: curve for name, curve in curves.items() if curve}


def file_name(words: Sequence[str], taken: Sequence[str]) -> str:
    """The name of a picture that these words tell, and that is none of those taken."""
    plain = re.sub(r"[^a-z0-9.]+", "_", "_".join(words).lower())[:LONGEST].strip("_.") or "runs"
    name, count = f"{plain}.png", 1
    while name in taken:
        count += 1
        name = f"{plain}_{count}.png"
    return name


def draw(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Writes the plot of d_i, a line a group."""
    from lightning_modules.figures import improvement_figure, save_figure

    save_figure(improvement_figure(curves), path)
