"""What the report holds, paper by paper, before anything else is told."""

from collections import Counter
from collections.abc import Sequence

from experiments.chapters import Chapter
from experiments.claims import NOT_RUN, read_claims
from experiments.settings import paper_of
from experiments.tables import Row, markdown
from experiments.verdicts import VERDICTS, comparisons_of

COLUMNS = ("paper", "experiments", "runs", "seeds", "scales", *VERDICTS)
NOTES = (
    "held and so on: orderings between runs that the paper claims; each is told with its numbers "
    "in the paper's own part.",
)


def overview_section(chapters: Sequence[Chapter]) -> list[str]:
    """A row for each paper: what was run, and how its claims fared; those without a run too.

    Raises:
        SettingsError: if a file cannot be read or claims something impossible.
    """
    rows = [_row(chapter) for chapter in chapters]
    there = {row["paper"] for row in rows}
    for told in read_claims().values():
        paper = paper_of(told.experiments[0]) if told.experiments else ""
        if paper and paper not in there:
            rows.append({"paper": paper, "runs": "0", NOT_RUN: str(len(told.claims))})
    return ["## At a glance\n", markdown(rows, COLUMNS, NOTES)]


def _row(chapter: Chapter) -> Row:
    groups = chapter.groups
    counts = sorted({len(group.runs) for group in groups})
    found = Counter(comparison.verdict for comparison in comparisons_of(chapter))
    return {
        "paper": chapter.paper,
        "experiments": str(len({group.experiment for group in groups})),
        "runs": str(sum(len(group.runs) for group in groups)),
        "seeds": f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0]),
        "scales": ", ".join(dict.fromkeys(group.scale for group in groups)),
        **{verdict: str(found[verdict] or "") for verdict in VERDICTS},
    }
