"""The table of a paper's claims: its numbers, ours, and whether what it says held here."""

from collections import Counter

from experiments.chapters import OTHERS, Chapter, as_printed, mean_and_spread
from experiments.claims import NOT_RUN, Claim, Comparison, claims_of, compared
from experiments.repeats import mean
from experiments.settings import names, paper_of
from experiments.tables import Row, markdown

COLUMNS = (
    "claim",
    "source",
    "paper",
    "paper, other",
    "on",
    "ours",
    "ours, other",
    "difference (range)",
    "pairs",
    "verdict",
)
NOTES = (
    "other: the second experiment of a claim; ours: mean ± spread as in the table above.",
    "pairs: seeds that both were run with, at one scale, on the same data and images, of one "
    "length and with equal settings but for those in which the two experiments' files differ; "
    "difference: first minus other, its mean and range over the pairs.",
    "held: the difference has the claimed sign for every pair, of at least two; did not hold: the "
    "opposite sign for every pair; undecided: mixed, or fewer than two pairs; not run: no such "
    "runs of one of the two, or without this metric. It is said of these runs, at their scale.",
)


def claims_section(chapter: Chapter) -> list[str]:
    """What the paper's experiments claim and what came of it; nothing where none claims anything.

    Raises:
        SettingsError: if an experiment's file cannot be read or claims something impossible.
    """
    if chapter.paper == OTHERS:
        return []
    experiments = [name for name in names() if paper_of(name) == chapter.paper]
    claims = [claim for name in experiments for claim in claims_of(name)]
    if not claims:
        return []
    comparisons = [found for claim in claims for found in compared(claim, chapter.groups)]
    rows = [_row(comparison, chapter) for comparison in comparisons]
    rows.sort(key=lambda row: (row["verdict"] == NOT_RUN, row["on"].zfill(4)))
    found = Counter(comparison.verdict for comparison in comparisons)
    total = ", ".join(f"{verdict}: {count}" for verdict, count in found.items())
    return ["### What the paper claims\n", f"{total}.\n", markdown(rows, COLUMNS, NOTES)]


def _row(comparison: Comparison, chapter: Chapter) -> Row:
    claim = comparison.claim
    printed = [as_printed(number) for number in claim.printed]
    ours = [mean_and_spread(list(side.values())) for side in comparison.values]
    pairs = str(len(comparison.differences)) if comparison.ours else ""
    where = str(chapter.number(comparison.ours[0])) if comparison.ours else ""
    cells = (
        _worded(claim, comparison, chapter),
        claim.source,
        *printed,
        where,
        *ours,
        _difference(comparison),
        pairs,
        comparison.verdict,
    )
    return dict(zip(COLUMNS, cells, strict=True))


def _worded(claim: Claim, comparison: Comparison, chapter: Chapter) -> str:
    """The claim, with the settings of either side that are not its experiment's own."""
    if comparison.ours is None:
        return str(claim)
    told = [
        f"{group.experiment} with {chapter.settings(group)}"
        for group in comparison.ours
        if chapter.settings(group)
    ]
    return f"{claim} ({'; '.join(told)})" if told else str(claim)


def _difference(comparison: Comparison) -> str:
    """The mean of the differences with their range; empty without any."""
    found = comparison.differences
    if not found:
        return ""
    low, high = min(found), max(found)
    return f"{mean(found):+.4g} ({low:+.4g} to {high:+.4g})"
