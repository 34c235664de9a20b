"""What it costs to train on other degradations than those tested on (ISPL, Table 3).

A method is run three times: trained and tested on synthetic degradations (S2S), trained on those
and tested on real ones (S2R), trained and tested on real ones (R2R).
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.chapters import OTHERS, Chapter, as_printed, mean_and_spread
from experiments.repeats import Flat, Repeats, differing, mean
from experiments.settings import describe, names, paper_of
from experiments.tables import COLUMNS, COMPARABLE, PAPER, Row, markdown

SUFFIXES = ("_s2s", "_s2r", "_r2r")
RATED = ("fid", "lpips")  # whose change the paper counts as a rate
RATES = ("gap x", "gain %")
CELLS = ("S2S", "S2R", "R2R", "gap", "gain", *RATES)
NOTES = (
    "S2S, S2R, R2R: mean ± spread over the seeds, as in the table above. gap: S2S minus S2R; gain: "
    "R2R minus S2R; of the means over all seeds.",
    "gap x, gain %: of fid and lpips alone, S2R / S2S and (S2R - R2R) / S2R; their means over the "
    "two are what the paper's Table 3 prints as S2R gap and R2R gain.",
    "(paper): counted from the numbers that the paper printed for the three, read from `expected`.",
)


@dataclass(frozen=True)
class Rating:
    """A metric under the three protocols.

    Attributes:
        values: of S2S, S2R and R2R, means over the seeds; NaN for one that is not known.
    """

    values: tuple[float, float, float]

    @property
    def known(self) -> bool:
        """Whether all three are numbers."""
        return all(map(math.isfinite, self.values))

    @property
    def gap(self) -> float:
        """S2S minus S2R."""
        return self.values[0] - self.values[1]

    @property
    def gain(self) -> float:
        """R2R minus S2R."""
        return self.values[2] - self.values[1]

    @property
    def gap_rate(self) -> float:
        """S2R over S2S, how many times as large it becomes; NaN where S2S is 0."""
        return self.values[1] / self.values[0] if self.values[0] else math.nan

    @property
    def gain_rate(self) -> float:
        """By how many per cent of it S2R falls to R2R; NaN where S2R is 0."""
        return -100 * self.gain / self.values[1] if self.values[1] else math.nan


@dataclass(frozen=True)
class Trio:
    """Runs of one method under the three protocols that differ in nothing else."""

    method: str
    runs: tuple[Repeats, Repeats, Repeats]

    @property
    def metrics(self) -> list[str]:
        """What all three measured, or the paper printed for all three; those it rates last."""
        ours = [name for run in self.runs[0].runs for name in run.rows.get("output", {})]
        printed = [name.removeprefix("test/") for name in describe(self.runs[0].experiment)[1]]
        found = [name for name in dict.fromkeys([*ours, *printed]) if name not in RATED]
        measured = [name for name in found if name not in (*COLUMNS, COMPARABLE, "seconds")]
        return [
            name
            for name in [*measured, *RATED]
            if self.measured(name).known or self.printed(name).known
        ]

    def measured(self, metric: str) -> Rating:
        """A metric as the means over the seeds."""
        found = [mean(list(group.values(metric).values())) for group in self.runs]
        return Rating((found[0], found[1], found[2]))

    def printed(self, metric: str) -> Rating:
        """A metric as the paper printed it."""
        told = [describe(group.experiment)[1].get(f"test/{metric}") for group in self.runs]
        found = [float(value) if isinstance(value, int | float) else math.nan for value in told]
        return Rating((found[0], found[1], found[2]))


def protocols_section(chapter: Chapter) -> list[str]:
    """Gap and gain of the methods run under all three protocols, and what others lack.

    Nothing where no such experiment of the paper has a run.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    rows: list[Row] = []
    lacks: list[str] = []
    for method in methods_of(chapter):
        there = [g for g in chapter.groups if g.experiment in _experiments(method)]
        for scale in dict.fromkeys(group.scale for group in there):
            groups = [group for group in there if group.scale == scale]
            trios = trios_of(method, groups)
            rows += [row for trio in trios for row in _rows(trio, chapter)]
            lacks += [] if trios else [_lack(method, scale, groups)]
    if not rows and not lacks:
        return []
    columns = ("on", "method", "metric", *(name + x for name in CELLS for x in ("", PAPER)))
    shown = [name for name in columns if any(row.get(name) for row in rows)]
    table = [markdown(rows, shown, NOTES)] if rows else []
    return ["### From synthetic to real\n", *table, *(f"{line}\n" for line in lacks)]


def methods_of(chapter: Chapter) -> list[str]:
    """The methods that the chapter's paper has an experiment of for each protocol.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    if chapter.paper == OTHERS:
        return []
    known = names()
    stems = [name.removesuffix(SUFFIXES[0]) for name in known if name.endswith(SUFFIXES[0])]
    whole = [stem for stem in stems if set(_experiments(stem)) <= set(known)]
    return [stem for stem in whole if paper_of(stem + SUFFIXES[0]) == chapter.paper]


def trios_of(method: str, groups: Iterable[Repeats]) -> list[Trio]:
    """All threes of a method's runs that may be held against each other.

    They have to be of one scale and length and equal settings; S2S trained on what S2R was trained
    on, and S2R tested on what R2R was tested on.
    """
    there = list(groups)
    each = [[g for g in there if g.experiment == name] for name in _experiments(method)]
    return [
        Trio(method, (s2s, s2r, r2r))
        for s2s, s2r, r2r in itertools.product(*each)
        if _alike(s2s, s2r)
        and _alike(s2r, r2r)
        and _data(s2s, "train") == _data(s2r, "train")
        and _data(s2r, "test") == _data(r2r, "test")
        and s2r.runs[0].count == r2r.runs[0].count
    ]


def _experiments(method: str) -> list[str]:
    return [method + suffix for suffix in SUFFIXES]


def _alike(one: Repeats, other: Repeats) -> bool:
    differ = differing(one.settings, other.settings)
    return one.scale == other.scale and all(key.startswith("data.") for key in differ)


def _data(group: Repeats, side: str) -> Flat:
    """What a run was trained or tested on: of two sets joined, the one of that side."""
    joined = f"data.init_args.{side}."
    start = joined if any(key.startswith(joined) for key in group.settings) else "data."
    told = {k.removeprefix(start): v for k, v in group.settings.items() if k.startswith(start)}
    kept = ("class_path", "init_args.root", "init_args.size", "init_args.degradation")
    return {key: value for key, value in told.items() if key.startswith(kept)}


def _lack(method: str, scale: str, groups: Sequence[Repeats]) -> str:
    there = {group.experiment for group in groups}
    missing = [name for name in _experiments(method) if name not in there]
    why = (
        f"no run of {' and of '.join(missing)}"
        if missing
        else "its runs under the three protocols differ in length, settings or data"
    )
    return f"{method} at scale {scale}: neither gap nor gain, for there is {why}."


def _rows(trio: Trio, chapter: Chapter) -> list[Row]:
    """A row a metric, and a last one of the rates' means where there are two."""
    head = {"on": ", ".join(str(chapter.number(g)) for g in trio.runs), "method": trio.method}
    rows = [head | {"metric": metric} | _row(trio, metric) for metric in trio.metrics]
    means: Row = {}
    for rating, ending in ((trio.measured, ""), (trio.printed, PAPER)):
        rated = [rating(metric) for metric in RATED]
        if all(each.known for each in rated):
            means[RATES[0] + ending] = f"{mean([each.gap_rate for each in rated]):.1f}"
            means[RATES[1] + ending] = f"{mean([each.gain_rate for each in rated]):.1f}"
    return [*rows, head | {"metric": f"mean of {' and '.join(RATED)}"} | means] if means else rows


def _row(trio: Trio, metric: str) -> Row:
    row: Row = {}
    for name, group in zip(CELLS, trio.runs, strict=False):
        row[name] = mean_and_spread(list(group.values(metric).values()))
        row[name + PAPER] = as_printed(describe(group.experiment)[1].get(f"test/{metric}"))
    for rating, ending in ((trio.measured(metric), ""), (trio.printed(metric), PAPER)):
        if rating.known:
            row |= {"gap" + ending: f"{rating.gap:+.4g}", "gain" + ending: f"{rating.gain:+.4g}"}
        if rating.known and metric in RATED:
            row[RATES[0] + ending] = f"{rating.gap_rate:.1f}"
            row[RATES[1] + ending] = f"{rating.gain_rate:.1f}"
    return row
