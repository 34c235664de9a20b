"""How much of a face a stored template gives away: whom rebuilt faces are taken for."""

from dataclasses import dataclass

from experiments.chapters import Chapter
from experiments.repeats import Repeats, mean
from experiments.tables import Row, markdown

OWN = "own"  # the network whose templates are inverted, and so no witness
REAL = "photograph"  # the row of the real photographs
PEOPLE = "people"
RANKS = {1: "first", 5: "among the first five"}
COLUMNS = (
    "on",
    "experiment",
    "judge",
    "seeds",
    "templates",
    "people",
    *(f"{words}, {who}" for words in RANKS.values() for who in ("rebuilt", "real", "chance")),
)
NOTES = (
    "rebuilt: share of the faces rebuilt from a template, and from a guide that shows somebody "
    "else or an average where the experiment has one, whose person the judge ranks first, or "
    "among the first five, of all `people`, by other photographs of them; mean over the seeds. "
    "real: the same of the photographs that the templates were made of, the most that can be "
    "expected. chance: of guessing.",
    "The judge is an embedder that the inversion never saw; what it recognises is in the picture, "
    "not in the weights of the network that was inverted.",
)
UNKNOWN = (
    "No second, independent embedder judged these runs, so they do not tell how much a template "
    "leaks; what only the inverted network recognises proves nothing.\n"
)


@dataclass(frozen=True)
class Leak:
    """How often one judge names the right person.

    Attributes:
        group: the runs.
        judge: who was asked.
        people: among how many it could choose.
        rebuilt: share of rebuilt faces, by rank.
        real: share of the photographs themselves, by rank.
    """

    group: Repeats
    judge: str
    people: float
    rebuilt: dict[int, float]
    real: dict[int, float]

    def chance(self, rank: int) -> float:
        """The share that guessing would name."""
        return min(1.0, rank / self.people)


def leakage_section(chapter: Chapter) -> list[str]:
    """Whom rebuilt faces are taken for, in a sentence and a table; nothing without inversions."""
    groups = [group for group in chapter.groups if group.values(PEOPLE) and _tells(group)]
    if not groups:
        return []
    leaks = [leak for group in groups for leak in leaks_of(group)]
    heading = "### What a template leaks\n"
    if not leaks:
        return [heading, UNKNOWN]
    rows = [_row(leak, chapter) for leak in leaks]
    return [heading, _sentence(max(leaks, key=lambda leak: leak.rebuilt[1])), _table(rows)]


def _tells(group: Repeats) -> bool:
    """Whether all its judges are trained: two steps of a smoke test tell nothing."""
    return group.scale != "smoke" and "untrained" not in group.runs[0].definitions


def leaks_of(group: Repeats) -> list[Leak]:
    """What each judge but the inverted network itself finds."""
    columns = {name for run in group.runs for name in run.rows.get("output", {})}
    judges = sorted(name.removeprefix("top1_") for name in columns if name.startswith("top1_"))
    people = mean(list(group.values(PEOPLE).values()))
    return [
        Leak(group, judge, people, _shares(group, judge, "output"), _shares(group, judge, REAL))
        for judge in judges
        if judge != OWN and group.values(f"top1_{judge}")
    ]


def _shares(group: Repeats, judge: str, method: str) -> dict[int, float]:
    return {k: mean(list(group.values(f"top{k}_{judge}", method).values())) for k in RANKS}


def _sentence(leak: Leak) -> str:
    """The worst case in words for whom keeps templates of faces."""
    scale = "" if leak.group.scale == "published" else f" at scale {leak.group.scale}"
    return (
        f"**Of the {leak.group.runs[0].count} faces that {leak.group.experiment} rebuilt{scale} "
        f"from stored templates, an independent recogniser named the right person out of "
        f"{leak.people:.0f} at once for {leak.rebuilt[1]:.0%}, where guessing gives "
        f"{leak.chance(1):.0%} and the real photographs {leak.real[1]:.0%}.** The closer the first "
        "of these comes to the last, the more the templates of a face database must be guarded "
        "like its photographs.\n"
    )


def _row(leak: Leak, chapter: Chapter) -> Row:
    row: Row = {
        "on": str(chapter.number(leak.group)),
        "experiment": leak.group.experiment,
        "judge": leak.judge,
        "seeds": str(len(leak.group.seeds)),
        "templates": leak.group.runs[0].count,
        "people": f"{leak.people:.0f}",
    }
    for rank, words in RANKS.items():
        shares = {"rebuilt": leak.rebuilt[rank], "real": leak.real[rank]}
        for who, share in (shares | {"chance": leak.chance(rank)}).items():
            row[f"{words}, {who}"] = f"{100 * share:.1f} %"
    return row


def _table(rows: list[Row]) -> str:
    return markdown(rows, COLUMNS, NOTES)
