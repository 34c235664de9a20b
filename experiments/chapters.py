"""A paper's part of the report: its runs, and under which conditions they were made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.repeats import PUBLISHED, Flat, Repeats, mean, own_settings, spread
from experiments.settings import names, paper_of
from experiments.tables import worded

OTHERS = "Other experiments"
ORDER = (PUBLISHED, "demo", "smoke")
CHECKPOINTS = "checkpoints"  # the folder below a run's


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
    values = {name: _without_home(settings.get(name)) for name in names}
    return [f"{name}={'null' if value is None else value}" for name, value in values.items()]


def _without_home(value: Any) -> Any:
    """A setting whose absolute paths are told by their ends, for a report goes to others."""
    if isinstance(value, Mapping):
        return {key: _without_home(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_home(inner) for inner in value]
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    parts = Path(value).parts
    return "/".join(["...", *(parts[-3:] if CHECKPOINTS in parts else parts[-1:])])


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

    @cached_property
    def shared(self) -> Flat:
        """Where all of several groups differ from their experiments' files, and in the same way."""
        first, *others = (own_settings(group, self.groups) for group in self.groups)
        alike = [key for key in first if all(key in own for own in others)]
        same = [key for key in alike if all(own[key] == first[key] for own in others)]
        return {key: first[key] for key in same} if others else {}

    def settings(self, group: Repeats) -> str:
        """In what a group differs from its experiment's files or its like, but for `shared`."""
        own = own_settings(group, self.groups)
        return ", ".join(_assigned(own, [key for key in own if key not in self.shared]))

    def named(self, number: int) -> dict[str, Repeats]:
        """The groups run on one condition, by experiment, and settings where they are others."""
        found: dict[str, Repeats] = {}
        for group in self.groups:
            if self.number(group) == number:
                name = ", ".join(filter(None, (group.experiment, self.settings(group))))
                alike = sum(known == name or known.startswith(f"{name} (") for known in found)
                found[f"{name} ({alike + 1})" if alike else name] = group  # told by a path's end
        return found

    def head(self) -> list[str]:
        """The heading, and on what the runs were made."""
        others = ", ".join(_assigned(self.shared, self.shared))
        told = [f"In all of them other than in their experiments' files: {others}.\n"]
        return [f"## {self.paper}\n", self.conditions.markdown(), *(told if others else [])]


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


def as_printed(number: Any) -> str:
    """A paper's number with the digits that the experiment's file gives it; empty for none."""
    return "" if number is None else str(number)


def mean_and_spread(values: Sequence[float]) -> str:
    """`mean ± spread` with as many decimals as the mean; empty without values."""
    if not values:
        return ""
    middle, about = mean(values), spread(values)
    decimals = 2 if abs(middle) >= 10 else 4
    return worded(middle) + ("" if about is None else f" ± {about:.{decimals}f}")
