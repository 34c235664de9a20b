"""A paper's part of the report: under which conditions it was run, and the table of its runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from experiments.repeats import (
    PUBLISHED,
    Flat,
    Repeats,
    Run,
    chain,
    mean,
    own_settings,
    spread,
)
from experiments.settings import describe, names, paper_of
from experiments.tables import (
    COLUMNS,
    COMPARABLE,
    SMALL,
    Row,
    beside_the_paper,
    columns_of,
    markdown,
    notes_of,
    worded,
)

OTHERS = "Other experiments"
HEAD = ("on", "experiment", "method", "settings", "seeds", "n")
ORDER = (PUBLISHED, "demo", "smoke")
ROOT = "data.init_args.root"  # where data lie says nothing of what they are
PRINTED = "(paper): the number that the paper printed, read from `expected`."
DO_NOT_COMPARE = (
    "comparable: no at scales demo and smoke, with settings other than the experiment's own, and "
    "with a caveat named here; such a row is not to be held against the paper's."
)


@dataclass(frozen=True)
class Conditions:
    """What the numbers of a chapter were reached on, in order, told apart by what differs."""

    all: tuple[Flat, ...]

    @cached_property
    def varied(self) -> list[str]:
        """The names of settings in which they are not all equal."""
        keys = dict.fromkeys(key for condition in self.all for key in condition)
        first = self.all[0]
        return [key for key in keys if any(c.get(key) != first.get(key) for c in self.all)]

    @property
    def words(self) -> list[list[str]]:
        """For each of them `name=value` of its scale, and of what it has and not all share."""
        names = ["scale", *(key for key in self.varied if key != "scale")]
        return [
            _assigned(condition, [key for key in names if condition.get(key) is not None])
            for condition in self.all
        ]

    def markdown(self) -> str:
        """A numbered list, and what they share."""
        lines = [f"{i}. {', '.join(words)}" for i, words in enumerate(self.words, 1)]
        first = self.all[0]
        rest = [key for key in first if key not in (*self.varied, "scale")]
        shared = ", ".join(_assigned(first, [key for key in rest if first[key] is not None]))
        listed = "\n".join(lines)
        return f"What the runs were made on (`on`):\n\n{listed}\n\nThe same in all: {shared}.\n"


def _assigned(settings: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    values = {name: settings.get(name) for name in names}
    return [f"{name}={'null' if value is None else value}" for name, value in values.items()]


@dataclass(frozen=True)
class Chapter:
    """The runs of one paper's experiments, by condition and name."""

    paper: str
    groups: tuple[Repeats, ...]

    @cached_property
    def conditions(self) -> Conditions:
        """What the runs were run on, each once."""
        found: list[Flat] = []
        for group in self.groups:
            if group.condition not in found:
                found.append(group.condition)
        return Conditions(tuple(found))

    def number(self, group: Repeats) -> int:
        """Which of the conditions a group was run on, counted from 1."""
        return self.conditions.all.index(group.condition) + 1

    def settings(self, group: Repeats) -> str:
        """In what a group differs from its experiment's files or its like, in words."""
        own = own_settings(group, self.groups)
        return ", ".join(_assigned(own, own))

    def named(self, number: int) -> dict[str, Repeats]:
        """The groups run on one condition, by experiment, and settings where they are others."""
        there = [group for group in self.groups if self.number(group) == number]
        words = {id(group): self.settings(group) for group in there}
        return {
            f"{group.experiment}, {words[id(group)]}" if words[id(group)] else group.experiment: (
                group
            )
            for group in there
        }

    def sections(self) -> list[str]:
        """The heading, the conditions and the table."""
        rows = [*_identity_rows(self), *(_row(group, self) for group in self.groups)]
        rows.sort(key=lambda row: str(row["on"]).split(", ")[0].zfill(4))
        optional = {"settings"} - {key for row in rows for key in row if row[key]}
        head = [name for name in HEAD if name not in optional]
        columns = [*head, *(name for name in columns_of(rows) if name not in (*HEAD, *COLUMNS))]
        notes = notes_of(rows, PRINTED)
        notes += [DO_NOT_COMPARE] if any(row.get(COMPARABLE) == "no" for row in rows) else []
        table = markdown(rows, columns, [*_definitions(self.groups), *notes])
        return [f"## {self.paper}\n", self.conditions.markdown(), table]


def chapters_of(repeats: Iterable[Repeats]) -> list[Chapter]:
    """All groups by paper, in its name's order; those of no paper last.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    papers: dict[str, list[Repeats]] = {}
    for group in sorted(repeats, key=_place):
        known = group.experiment in names()
        paper = (paper_of(group.experiment) if known else "") or OTHERS
        papers.setdefault(paper, []).append(group)
    order = sorted(papers, key=lambda paper: (paper == OTHERS, paper))
    return [Chapter(paper, tuple(papers[paper])) for paper in order]


def _place(group: Repeats) -> tuple[int, str, str]:
    scale = ORDER.index(group.scale) if group.scale in ORDER else len(ORDER)
    return scale, str(sorted(map(str, group.condition.items()))), group.experiment


def _definitions(groups: Sequence[Repeats]) -> list[str]:
    """What the metrics are, once; and what only some runs add to it, with their names."""
    told: dict[str, list[str]] = {}
    for group in groups:
        for text in {run.definitions for run in group.runs} - {""}:
            told.setdefault(text, []).append(group.experiment)
    lines: list[str] = []
    for text in sorted(told, key=len):
        common = next((line for line in lines if text.startswith(line)), "")
        whose = f"{', '.join(dict.fromkeys(told[text]))}: " if common else ""
        lines.append(whose + text.removeprefix(common).strip())
    return lines


def _row(group: Repeats, chapter: Chapter) -> Row:
    known = group.experiment in names()
    metrics = {name: _cell(group, name) for name in _metrics(group.runs, "output")}
    expected = describe(group.experiment)[1] if known else {}
    printed = {name: as_printed(value) for name, value in expected.items()}
    head = {
        "on": str(chapter.number(group)),
        "experiment": group.experiment,
        "scale": group.scale,
        "method": "output",
        "settings": chapter.settings(group),
        "seeds": f"{len(group.seeds)} ({', '.join(map(str, group.seeds))})",
        "n": group.runs[0].count,
    }
    return head | beside_the_paper(metrics, printed) | {COMPARABLE: _comparable(group)}


def as_printed(number: Any) -> str:
    """A paper's number with the digits that the experiment's file gives it; empty for none."""
    return "" if number is None else str(number)


def _metrics(runs: Iterable[Run], method: str) -> list[str]:
    """The names of all metrics that a table of the runs has."""
    names = (name for run in runs for name in run.rows.get(method, {}))
    return [name for name in dict.fromkeys(names) if name not in (*COLUMNS, COMPARABLE)]


def _cell(group: Repeats, metric: str) -> str | None:
    """Mean and spread of a metric over the seeds; none where it was not measured."""
    values = list(group.values(metric).values())
    some = "" if len(values) == len(group.runs) else f" ({len(values)} of {len(group.runs)} seeds)"
    return mean_and_spread(values) + some if values else None


def mean_and_spread(values: Sequence[float]) -> str:
    """`mean ± spread` with as many decimals as the mean; empty without values."""
    if not values:
        return ""
    middle, about = mean(values), spread(values)
    decimals = 2 if abs(middle) >= 10 else 4
    return worded(middle) + ("" if about is None else f" ± {about:.{decimals}f}")


def _comparable(group: Repeats) -> str:
    """Whether a row may be held against the paper's."""
    said = {row.get(COMPARABLE) for run in group.runs for row in run.rows.values()}
    own = chain(group.experiment, group.scale)
    other = {key for key in own.keys() - {ROOT} if group.settings.get(key) != own[key]}
    return "no" if "no" in said or group.scale in SMALL or other else "yes"


def _identity_rows(chapter: Chapter) -> list[Row]:
    """The untouched input's scores, once for each of the data, whatever the runs' length."""
    pools: list[tuple[Flat, list[Repeats]]] = []
    for group in chapter.groups:
        data = {key: value for key, value in group.condition.items() if key != "max_batches"}
        pool = next((groups for known, groups in pools if known == data), None)
        if pool is None:
            pools.append((data, [group]))
        else:
            pool.append(group)
    return [_identity_row(groups, chapter) for _, groups in pools]


def _identity_row(groups: Sequence[Repeats], chapter: Chapter) -> Row:
    runs = [run for group in groups for run in group.runs]
    numbers = dict.fromkeys(str(chapter.number(group)) for group in groups)
    row: Row = {
        "on": ", ".join(numbers),
        "experiment": "",
        "scale": groups[0].scale,
        "method": "identity",
        "n": runs[0].count,
    }
    for name in _metrics(runs, "identity"):
        found = [run.rows["identity"].get(name) for run in runs if "identity" in run.rows]
        values = [value for value in found if isinstance(value, float)]
        alike = all(math.isclose(value, values[0], rel_tol=1e-5) for value in values)
        row[name] = (values[0] if alike else mean_and_spread(values)) if values else None
    return row | {COMPARABLE: max(_comparable(group) for group in groups)}
