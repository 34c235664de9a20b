"""Orderings that the papers state, held against runs that differ in nothing else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.repeats import Repeats, chain, differing
from experiments.settings import SettingsError, claims_file, describe, names, nearest, read

METRICS = (
    "psnr",
    "ssim",
    "ms_ssim",
    "inside",
    "outside",
    "lpips",
    "fid",
    "niqe",
    "soft_iou",
    "ari",
    "loss",
    "distance",
)
JUDGED = ("identity", "fed", "frechet", "top1", "top5")  # followed by a judge's name
LENGTH = "max_batches"
ONE_JUDGE = ("fed", "top1", "top5")  # the papers had one, and do not name it in the metric
SIGNS = {"above": 1, "below": -1}
WORDS = ("claim", "source", "orderings")  # what is said of a claim
NOT_RUN = "not run"
ENOUGH = 2  # seeds


@dataclass(frozen=True)
class Claim:
    """That one experiment's metric lies above, or below, another's.

    Attributes:
        experiment: of which it is said.
        metric: without `test/`.
        side: "above" or "below".
        other: the experiment that it is compared with.
        source: where the paper says so.
        words: what the paper says; several orderings may stand for it.
    """

    experiment: str
    metric: str
    side: str
    other: str
    source: str
    words: str = ""

    def __str__(self) -> str:
        return f"{self.metric} of {self.experiment} {self.side} {self.other}"

    @property
    def printed(self) -> tuple[float | None, float | None]:
        """The paper's two numbers; none where it does not print one."""
        figure, _, judge = self.metric.partition("_")
        name = figure if figure in ONE_JUDGE and judge else self.metric
        both = [describe(each, self.source)[1].get(f"test/{name}") for each in self.pair]
        return both[0], both[1]

    @property
    def pair(self) -> tuple[str, str]:
        """The two experiments."""
        return self.experiment, self.other


@dataclass(frozen=True)
class PaperClaims:
    """What one paper claims.

    Attributes:
        claims: one for each ordering, in the file's order.
        first: experiments whose checkpoints the others may start from.
    """

    claims: tuple[Claim, ...]
    first: tuple[str, ...] = ()

    @property
    def experiments(self) -> list[str]:
        """Those that the claims are of, in the order in which they come up."""
        return list(dict.fromkeys(name for claim in self.claims for name in claim.pair))


def read_claims() -> dict[str, PaperClaims]:
    """What experiments/claims.yaml says, by the short name of each paper, checked.

    Raises:
        SettingsError: if an entry says too little, too much or names what is not there.
    """
    path = claims_file()
    try:
        return {paper: _paper(told) for paper, told in read(path).items()}
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def _paper(told: Any) -> PaperClaims:
    entry = _mapping(told, "a paper", ("claims",), ("first",))
    first = tuple(map(str, _list(entry.get("first", []), "first")))
    for name in first:
        _known(name, names(), "experiment")
    listed = [_mapping(each, "a claim", WORDS) for each in _list(entry["claims"], "claims")]
    return PaperClaims(tuple(ordering for each in listed for ordering in _claim(each)), first)


def _claim(entry: Mapping[str, Any]) -> list[Claim]:
    for key in ("claim", "source"):
        if not (isinstance(entry[key], str) and entry[key]):
            raise SettingsError(f"{key} of a claim must be words, got '{entry[key]}'")
    orderings = _list(entry["orderings"], "orderings")
    return [_ordering(each, entry["source"], entry["claim"]) for each in orderings]


def _ordering(told: Any, source: str, words: str) -> Claim:
    entry = _mapping(told, "an ordering", ("experiment", "metric"), tuple(SIGNS))
    sides = [side for side in SIGNS if side in entry]
    if len(sides) != 1:
        raise SettingsError(f"an ordering must say either above or below, got {dict(entry)}")
    metric = _metric(str(entry["metric"]))
    experiment, other = str(entry["experiment"]), str(entry[sides[0]])
    _known(experiment, names(), "experiment")
    _known(other, [name for name in names() if name != experiment], "other experiment")
    return Claim(experiment, metric, sides[0], other, source, words)


def _mapping(
    told: Any, what: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """A mapping that has all that is needed and nothing unknown."""
    known = (*needed, *optional)
    if not isinstance(told, Mapping):
        raise SettingsError(f"{what} must say {', '.join(known)}, got '{told}'")
    for key in told:
        _known(str(key), known, f"key of {what}")
    lacking = [key for key in needed if key not in told]
    if lacking:
        raise SettingsError(f"{what} lacks {', '.join(lacking)}: {dict(told)}")
    return told


def _list(told: Any, what: str) -> list[Any]:
    if not isinstance(told, list):
        raise SettingsError(f"{what} must be a list, got a {type(told).__name__}")
    return told


def _known(word: str, known: Sequence[str], what: str) -> None:
    if word not in known:
        raise SettingsError(f"no {what} '{word}'{nearest(word, known)}")


def _metric(told: str) -> str:
    known = [f"test/{metric}" for metric in METRICS]
    figure, _, judge = told.removeprefix("test/").partition("_")
    if told not in known and not (figure in JUDGED and judge.isidentifier()):
        raise SettingsError(
            f"no metric '{told}'{nearest(told, known) or f'; there are {known[0]} and the like'}"
        )
    return told.removeprefix("test/")


def alike(one: Repeats, other: Repeats) -> bool:
    """Whether two experiments' runs differ in nothing but what their files say differently.

    They have to be at one scale, tested on as many images, on the same data but for what one of the
    two files itself says of them, and of one length, or each of the length that its files say.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    if one.scale != other.scale or one.runs[0].count != other.runs[0].count:
        return False
    files = [chain(repeats.experiment, one.scale) for repeats in (one, other)]
    differ = differing(one.settings, other.settings)
    as_told = all(
        repeats.settings.get(LENGTH) == told.get(LENGTH)
        for repeats, told in zip((one, other), files, strict=True)
    )
    if LENGTH in differ and not as_told:
        return False
    meant = differing(*files)
    return all(_meant(key, meant) for key in differ)


def _meant(key: str, meant: set[str]) -> bool:
    """Whether a setting is among those meant, or an argument of a class that is."""
    if key in meant:
        return True
    parts = key.split(".")
    owners = [".".join(parts[:i]) for i, part in enumerate(parts) if part == "init_args"]
    return any(f"{owner}.class_path" in meant for owner in owners)


@dataclass(frozen=True)
class Comparison:
    """A claim, and the runs that it was held against.

    Attributes:
        claim: what is claimed.
        ours: runs of the experiment that it is said of, and of the other; empty where not run.
    """

    claim: Claim
    ours: tuple[Repeats, Repeats] | None = None

    @property
    def values(self) -> tuple[dict[int, float], dict[int, float]]:
        """The metric of both sides, by seed."""
        if self.ours is None:
            return {}, {}
        return self.ours[0].values(self.claim.metric), self.ours[1].values(self.claim.metric)

    @property
    def differences(self) -> list[float]:
        """The metric of the one minus that of the other, for each seed that both have."""
        one, other = self.values
        return [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]

    @property
    def verdict(self) -> str:
        """`held`, `did not hold`, `undecided` or `not run`."""
        if not all(self.values):
            return NOT_RUN
        signed = [SIGNS[self.claim.side] * difference for difference in self.differences]
        if len(signed) < ENOUGH:
            return "undecided"
        if all(difference > 0 for difference in signed):
            return "held"
        return "did not hold" if all(difference < 0 for difference in signed) else "undecided"


def compared(claim: Claim, repeats: Iterable[Repeats]) -> list[Comparison]:
    """A claim against all runs that are alike; one comparison without runs where none are.

    Where several conditions were run, those with too few seeds for a verdict are left out, unless
    all are.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    there = list(repeats)
    ones = [group for group in there if group.experiment == claim.experiment]
    others = [group for group in there if group.experiment == claim.other]
    pairs = [(one, other) for one in ones for other in others if alike(one, other)]
    found = [Comparison(claim, pair) for pair in pairs]
    measured = [comparison for comparison in found if comparison.verdict != NOT_RUN]
    enough = [comparison for comparison in measured if len(comparison.differences) >= ENOUGH]
    return enough or measured or [Comparison(claim)]
