"""The table of a paper's claims: its numbers, ours, and whether what it says held here."""

from collections import Counter
from collections.abc import Sequence

from experiments.chapters import OTHERS, Chapter, as_printed, mean_and_spread
from experiments.claims import NOT_RUN, Claim, Comparison, compared, read_claims
from experiments.repeats import mean
from experiments.settings import paper_of
from experiments.tables import Row, markdown

VERDICTS = ("held", "did not hold", "undecided", NOT_RUN)
SUMMARY = ("claim", "source", *VERDICTS)
COLUMNS = (
    "ordering",
    "verdict",
    "paper",
    "paper, other",
    "ours",
    "ours, other",
    "difference (range)",
    "pairs",
    "on",
    "source",
)
NOTES = (
    "other: the second experiment of an ordering; ours: mean ± spread as in the tables above.",
    "pairs: seeds that both were run with, at one scale, on the same data and images, of one "
    "length (or each of the length that its files say) and with equal settings but for those in "
    "which the two experiments' files differ; difference: first minus other, its mean and range "
    "over the pairs.",
    "held: the difference has the claimed sign for every pair, of at least two; did not hold: the "
    "opposite sign for every pair; undecided: mixed, or fewer than two pairs; not run: no such "
    "runs of one of the two, or without this metric. It is said of these runs, at their scale. "
    "Runs with too few seeds are left out where others of the same ordering have enough.",
)


def comparisons_of(chapter: Chapter) -> list[Comparison]:
    """All orderings that a chapter's paper claims, against the chapter's runs.

    Raises:
        SettingsError: if a file cannot be read or claims something impossible.
    """
    if chapter.paper == OTHERS:
        return []
    told = [claim for paper in read_claims().values() for claim in paper.claims]
    claims = [claim for claim in told if paper_of(claim.experiment) == chapter.paper]
    return [found for claim in claims for found in compared(claim, chapter.groups)]


def counted(comparisons: Sequence[Comparison]) -> str:
    """How many orderings held and how many did not, in words."""
    found = Counter(comparison.verdict for comparison in comparisons)
    return ", ".join(f"{verdict}: {found[verdict]}" for verdict in VERDICTS if found[verdict])


def claims_section(chapter: Chapter) -> list[str]:
    """What the paper claims and what came of it; nothing where it claims nothing.

    Raises:
        SettingsError: if a file cannot be read or claims something impossible.
    """
    comparisons = comparisons_of(chapter)
    if not comparisons:
        return []
    measured = [each for each in comparisons if each.verdict != NOT_RUN]
    rows = [_row(comparison, chapter) for comparison in measured]
    rows.sort(key=lambda row: row["on"].zfill(4))
    summary = markdown(_summary(comparisons), SUMMARY, [f"Orderings {counted(comparisons)}."])
    missing = [_not_run([each.claim for each in comparisons if each.verdict == NOT_RUN])]
    table = [markdown(rows, COLUMNS, NOTES)] if rows else []
    return ["### What the paper claims\n", summary, *table, *filter(None, missing)]


def _summary(comparisons: Sequence[Comparison]) -> list[Row]:
    """A row for each claim: how many of its orderings came out how."""
    claims = dict.fromkeys((each.claim.words, each.claim.source) for each in comparisons)
    rows: list[Row] = []
    for words, source in claims:
        found = Counter(
            each.verdict
            for each in comparisons
            if (each.claim.words, each.claim.source) == (words, source)
        )
        counts = {verdict: str(found[verdict] or "") for verdict in VERDICTS}
        rows.append({"claim": words, "source": source, **counts})
    return rows


def _not_run(claims: Sequence[Claim]) -> str:
    """The orderings of which nothing is known here; nothing where there are none."""
    if not claims:
        return ""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for claim in claims:
        lines.setdefault((claim.experiment, claim.side, claim.other), []).append(claim.metric)
    listed = [
        f"- {', '.join(metrics)} of {one} {side} {other}"
        for (one, side, other), metrics in lines.items()
    ]
    return "Not run, or without this metric:\n\n" + "\n".join(listed) + "\n"


def _row(comparison: Comparison, chapter: Chapter) -> Row:
    claim = comparison.claim
    printed = [as_printed(number) for number in claim.printed]
    ours = [mean_and_spread(list(side.values())) for side in comparison.values]
    pairs = str(len(comparison.differences)) if comparison.ours else ""
    where = str(chapter.number(comparison.ours[0])) if comparison.ours else ""
    cells = (
        _worded(claim, comparison, chapter),
        comparison.verdict,
        *printed,
        *ours,
        _difference(comparison),
        pairs,
        where,
        claim.source,
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
