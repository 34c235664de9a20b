"""Orderings that the papers state, held against runs that differ in nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.repeats import Repeats, chain, differing
from experiments.settings import SettingsError, describe, find, names, nearest, read

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
SIGNS = {"above": 1, "below": -1}
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
    """

    experiment: str
    metric: str
    side: str
    other: str
    source: str

    def __str__(self) -> str:
        return f"{self.metric} of {self.experiment} {self.side} {self.other}"

    @property
    def printed(self) -> tuple[float | None, float | None]:
        """The paper's two numbers; none where it does not print one."""
        figure, _, judge = self.metric.partition("_")
        name = "fed" if figure == "fed" and judge else self.metric  # it had one judge
        both = [describe(each)[1].get(f"test/{name}") for each in self.pair]
        return both[0], both[1]

    @property
    def pair(self) -> tuple[str, str]:
        """The two experiments."""
        return self.experiment, self.other


def claims_of(experiment: str) -> list[Claim]:
    """What an experiment's file says under `claims`, checked.

    Raises:
        SettingsError: if an entry says too little, too much or names what is not there.
    """
    path = find(experiment)
    told = read(path).get("claims") or []
    if not isinstance(told, list):
        raise SettingsError(f"{path}: claims must be a list, got a {type(told).__name__}")
    try:
        return [_claim(experiment, entry) for entry in told]
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def _claim(experiment: str, entry: Any) -> Claim:
    if not isinstance(entry, Mapping):
        raise SettingsError(f"a claim must be `metric: ..., above: ...`, got '{entry}'")
    known = ("metric", *SIGNS, "source")
    for key in entry:
        if key not in known:
            line = nearest(str(key), known) or f"; there are {', '.join(known)}"
            raise SettingsError(f"no key '{key}' in a claim{line}")
    sides = [side for side in SIGNS if side in entry]
    if len(sides) != 1:
        raise SettingsError(f"a claim must say either above or below, got {dict(entry)}")
    if not (isinstance(entry.get("source"), str) and entry["source"]):
        raise SettingsError(f"a claim must name its source in the paper, got {dict(entry)}")
    metric = _metric(str(entry.get("metric", "")))
    other = str(entry[sides[0]])
    if other not in names() or other == experiment:
        line = nearest(other, [name for name in names() if name != experiment])
        raise SettingsError(f"no other experiment '{other}' to compare with{line}")
    return Claim(experiment, metric, sides[0], other, entry["source"])


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

    They have to be at one scale, of one length, tested on as many images, and on the same data but
    for what one of the two files itself says of them.

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    if one.scale != other.scale or one.runs[0].count != other.runs[0].count:
        return False
    meant = differing(*(chain(repeats.experiment, one.scale) for repeats in (one, other)))
    differ = differing(one.settings, other.settings)
    return "max_batches" not in differ and all(_meant(key, meant) for key in differ)


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

    Raises:
        SettingsError: if an experiment's file cannot be read.
    """
    there = list(repeats)
    ones = [group for group in there if group.experiment == claim.experiment]
    others = [group for group in there if group.experiment == claim.other]
    pairs = [(one, other) for one in ones for other in others if alike(one, other)]
    found = [Comparison(claim, pair) for pair in pairs]
    measured = [comparison for comparison in found if comparison.verdict != NOT_RUN]
    return measured or [Comparison(claim)]
