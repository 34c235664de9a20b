"""A paper's tables as the report shows them: its numbers, ours, and what was run for ours."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.chapters import OTHERS, Chapter, as_printed, mean_and_spread
from experiments.repeats import Flat, Repeats, Run, as_told, chain, mean
from experiments.settings import describe, names, paper_of
from experiments.tables import (
    COLUMNS,
    COMPARABLE,
    PAPER,
    SMALL,
    Row,
    beside_the_paper,
    columns_of,
    markdown,
    notes_of,
)

ELSEWHERE = "In none of the paper's tables"
NOT_RUN = "not run"
HEAD = ("on", "experiment", "method", "settings", "seeds", "n")
ROOT = "data.init_args.root"  # where data lie says nothing of what they are
PRINTED = (
    "(paper): the number that the paper printed, read from `expected`; where it has no column of "
    "ours beside it, the metric was not measured here. not run: an experiment of the table that "
    "has no run here."
)
DO_NOT_COMPARE = (
    "comparable: no at scales demo and smoke, with settings other than the experiment's own, and "
    "with a caveat named here; such a row is not to be held against the paper's."
)


def tables_section(chapter: Chapter) -> list[str]:
    """Every table of the chapter's paper that a run belongs to, then what its numbers mean.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    shipped = [] if chapter.paper == OTHERS else names()
    own = [name for name in shipped if paper_of(name) == chapter.paper]
    run = {group.experiment for group in chapter.groups}
    places = {name: tables_of(name) for name in [*own, *sorted(run - {*own})]}
    lines: list[str] = []
    shown: list[Row] = []
    for title in sorted({title for there in places.values() for title in there}, key=_order):
        members = [name for name, there in places.items() if title in there]
        if run.isdisjoint(members):
            lines += [f"### {title}\n", f"No run of {', '.join(members)}.\n"]
            continue
        rows = _rows(chapter, members, title)
        shown += rows
        lines += [f"### {title}\n", markdown(rows, _columns(rows), [])]
    notes = notes_of(shown, PRINTED)
    notes += [DO_NOT_COMPARE] if any(row.get(COMPARABLE) == "no" for row in shown) else []
    listed = "\n".join(f"- {note}" for note in [*_definitions(chapter.groups), *notes])
    return [*lines, f"### Conventions\n\n{listed}\n"]


def tables_of(experiment: str) -> list[str]:
    """The titles of the paper's tables that an experiment belongs to, as its file says.

    Raises:
        SettingsError: if the file cannot be read.
    """
    source = describe(experiment)[1].get("source", "") if experiment in names() else ""
    found = re.search(r"Tables? (\d+(?:, \d+)*(?: and \d+)?)", str(source))
    return [f"Table {number}" for number in re.findall(r"\d+", found[1])] if found else [ELSEWHERE]


def _order(title: str) -> tuple[bool, str]:
    return title == ELSEWHERE, title.zfill(10)


def _rows(chapter: Chapter, members: Sequence[str], title: str) -> list[Row]:
    """The rows of a table: inputs and rivals, outputs, and of a whole table what was not run."""
    groups = [group for group in chapter.groups if group.experiment in members]
    there = {group.experiment for group in groups}
    missing = [name for name in members if title != ELSEWHERE and name not in there]
    rows = [*_other_rows(groups, chapter), *(_row(group, chapter, title) for group in groups)]
    rows.sort(key=lambda row: str(row["on"]).split(", ")[0].zfill(4))
    return rows + [_unknown(name, title) for name in missing]


def _columns(rows: Sequence[Row]) -> list[str]:
    """Those that a row fills: ours, each before the paper's, then what only the paper measured."""
    filled = {name for row in rows for name, value in row.items() if value not in (None, "")}
    head = [name for name in HEAD if name in filled or name != "settings"]
    found = [name for name in columns_of(rows) if name in filled and name not in (*HEAD, *COLUMNS)]
    alone = [
        name for name in found if name.endswith(PAPER) and name.removesuffix(PAPER) not in filled
    ]
    last = [name for name in ("source", COMPARABLE) if name in found]
    return [*head, *(name for name in found if name not in (*alone, *last)), *alone, *last]


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


def _row(group: Repeats, chapter: Chapter, title: str) -> Row:
    metrics = {name: _cell(group, name) for name in _metrics(group.runs, "output")}
    head = {
        "on": str(chapter.number(group)),
        "experiment": group.experiment,
        "scale": group.scale,
        "method": "output",
        "settings": chapter.settings(group),
        "seeds": f"{len(group.seeds)} ({', '.join(map(str, group.seeds))})",
        "n": group.runs[0].count,
    }
    return head | _beside(metrics, group.experiment, title) | {COMPARABLE: _comparable(group)}


def _unknown(experiment: str, title: str) -> Row:
    return {"on": "", "experiment": experiment, "method": NOT_RUN} | _beside({}, experiment, title)


def _beside(metrics: Mapping[str, Any], experiment: str, title: str) -> Row:
    """Our metrics, each before the paper's; the paper's others beside an empty cell."""
    expected = describe(experiment, title)[1] if experiment in names() else {}
    printed = {name: as_printed(value) for name, value in expected.items()}
    unmeasured = {name.removeprefix("test/"): None for name in printed if name != "source"}
    return beside_the_paper({**metrics, **{k: metrics.get(k) for k in unmeasured}}, printed)


def _metrics(runs: Iterable[Run], method: str) -> list[str]:
    """The names of all metrics that a table of the runs has."""
    found = (name for run in runs for name in run.rows.get(method, {}))
    return [name for name in dict.fromkeys(found) if name not in (*COLUMNS, COMPARABLE)]


def _cell(group: Repeats, metric: str) -> str | None:
    """Mean and spread of a metric over the seeds; none where it was not measured."""
    values = list(group.values(metric).values())
    some = "" if len(values) == len(group.runs) else f" ({len(values)} of {len(group.runs)} seeds)"
    return mean_and_spread(values) + some if values else None


def _comparable(group: Repeats) -> str:
    """Whether a row may be held against the paper's."""
    said = {row.get(COMPARABLE) for run in group.runs for row in run.rows.values()}
    own = chain(group.experiment, group.scale)
    keys = own.keys() - {ROOT}
    other = [key for key in keys if not as_told(own[key], group.settings.get(key))]
    return "no" if "no" in said or group.scale in SMALL or other else "yes"


def _other_rows(groups: Iterable[Repeats], chapter: Chapter) -> list[Row]:
    """Scores of what was not learned, as the untouched input's: once for each of the data."""
    pools: list[tuple[Flat, list[Repeats]]] = []
    for group in groups:
        data = {key: value for key, value in group.condition.items() if key != "max_batches"}
        pool = next((there for known, there in pools if known == data), None)
        if pool is None:
            pools.append((data, [group]))
        else:
            pool.append(group)
    return [
        _other_row(method, pool, chapter)
        for _, pool in pools
        for method in dict.fromkeys(
            name for group in pool for run in group.runs for name in run.rows
        )
        if method != "output"
    ]


def _other_row(method: str, groups: Sequence[Repeats], chapter: Chapter) -> Row:
    runs = [run for group in groups for run in group.runs]
    numbers = dict.fromkeys(str(chapter.number(group)) for group in groups)
    row: Row = {
        "on": ", ".join(numbers),
        "experiment": "",
        "scale": groups[0].scale,
        "method": method,
        "n": runs[0].count,
    }
    cells = {name: _pooled(name, method, groups) for name in _metrics(runs, method)}
    return row | cells | {COMPARABLE: max(_comparable(group) for group in groups)}


def _pooled(metric: str, method: str, groups: Sequence[Repeats]) -> str | float | None:
    """The number that all runs agree on; none where experiments make different things of it."""
    each = [list(group.values(metric, method).values()) for group in groups]
    values = [value for told in each for value in told]
    if not values:
        return None
    means = [mean(told) for told in each if told]
    if not _alike(means):
        return None
    return values[0] if _alike(values) else mean_and_spread(values)


def _alike(values: Sequence[float]) -> bool:
    first = values[0]
    close = (math.isclose(value, first, rel_tol=1e-5) for value in values)
    return all(close) or all(map(math.isnan, values))
