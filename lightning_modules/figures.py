"""Curves over the components of an edit, as Makeup-Go draws them (Figures 2b, 3 and 7).

Figures are made without pyplot: no display, no state of the process, safe in any thread.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[float]]

# Okabe and Ito's colours, which differ for every kind of colour vision; their yellow is too light.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("", "o", "s", "^")  # 7 x 4 x 4 curves differ
LOWEST = -1.0  # where the axis of d_i ends at the latest: the squared error has doubled
_LETTERS = 32  # in a line of a legend
_WIDTH, _HEIGHT, _ENTRY = 7.0, 4.2, 0.23  # inches: an axes' sides, and a line of a legend


def improvement_figure(curves: Curves) -> Figure:
    """d_i over the components, a line a run, with its ARI in the legend (Makeup-Go, Fig. 2b and 7).

    Where a run more than doubled a component's squared error, its line leaves the figure below;
    the legend says how often.

    Args:
        curves: d_i of the components from the first on, by the run's name; NaN where a component
            is not comparable, which leaves a gap.

    Raises:
        ValueError: if there is no curve, or one without a component.
    """
    _check(curves)
    figure = Figure((_WIDTH + 2.5, max(_HEIGHT, _ENTRY * len(curves) + 1)), layout="constrained")
    axes = figure.add_subplot()
    named = {f"{fill(name, _LETTERS)}: {_summary(d)}": d for name, d in curves.items()}
    _draw_improvement(axes, named)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def components_figure(improvement: Sequence[float], spectra: Curves) -> Figure:
    """d_i of one run under its ARI, beside the spectra of what it was tested on (Fig. 3).

    Args:
        improvement: as a curve of `improvement_figure`.
        spectra: shares of the eigenvalues from the first component on, by what they are the
            components of; drawn on a logarithmic axis.

    Raises:
        ValueError: if there is no spectrum, or a curve without a component.
    """
    curves = {"output": improvement}
    _check(curves)
    _check(spectra)
    figure = Figure((2 * _WIDTH, _HEIGHT), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_improvement(left, curves)
    left.set_title(_summary(improvement))
    left.legend(fontsize="small", frameon=False)
    _draw_spectra(right, spectra)
    right.set_title("Normalised eigenvalues")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all; the same bytes for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    temporary.replace(path)


def _summary(improvement: Sequence[float]) -> str:
    counted = [value for value in improvement if not math.isnan(value)]
    ari = math.fsum(counted) if counted else math.nan
    below = sum(value < LOWEST for value in counted)
    return f"ARI {ari:.1f} of {len(counted)}" + (f", {below} below {LOWEST:g}" if below else "")


def _draw_improvement(axes: Axes, curves: Curves) -> None:
    styles = itertools.cycle(itertools.product(MARKERS, DASHES, COLOURS))
    for (name, values), (marker, dash, colour) in zip(curves.items(), styles, strict=False):
        axes.plot(
            _numbers(values),
            values,
            color=colour,
            linestyle=dash,
            marker=marker,
            markevery=10,
            markersize=4,
            linewidth=1.4,
            label=name,
        )
    axes.axhline(1, color="#888888", linestyle="--", linewidth=1, label="ground truth: d = 1")
    axes.axhline(0, color="#888888", linewidth=1, label="untouched input: d = 0")
    seen = [value for values in curves.values() for value in values if math.isfinite(value)]
    axes.set_ylim(max(LOWEST, min([0.0, *seen]) - 0.08), 1.08)
    axes.set_xlabel("principal component $i$, by falling eigenvalue")
    axes.set_ylabel("relative improvement $d_i$")
    _tidy(axes, max(map(len, curves.values())))


def _draw_spectra(axes: Axes, spectra: Curves) -> None:
    for (name, shares), colour in zip(spectra.items(), itertools.cycle(COLOURS), strict=False):
        # A logarithm has no place for an empty component.
        shown = [share if share > 0 else math.nan for share in shares]
        axes.plot(_numbers(shown), shown, color=colour, linewidth=1.4, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("principal component, by falling eigenvalue")
    axes.set_ylabel("share of the sum of eigenvalues")
    axes.legend(frameon=False)
    _tidy(axes, max(map(len, spectra.values())))


def _tidy(axes: Axes, count: int) -> None:
    axes.set_xlim(0.5, count + 0.5)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _numbers(values: Sequence[float]) -> range:
    return range(1, len(values) + 1)


def _check(curves: Curves) -> None:
    if not curves:
        raise ValueError("there must be at least one curve to draw, got none")
    for name, values in curves.items():
        if not len(values):
            raise ValueError(f"the curve of {name} must have at least one component, got none")
