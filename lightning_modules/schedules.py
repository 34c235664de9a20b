"""Learning rates over a run: the factor on the first one, by the share of the run that is done."""

import math
from dataclasses import dataclass


def cosine(progress: float) -> float:
    """From 1 at the start (0) down to 0 at the end (1), along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def polynomial(progress: float) -> float:
    """From 1 at the start (0) down to 0 at the end (1): Caffe's "poly" policy.

    Makeup-Go (Section 5) names the policy without its power; 0.9 is that of other work of its
    authors' group and time.
    """
    return (1 - progress) ** 0.9


def held_then_linear(progress: float) -> float:
    """1 for the first three fifths of the run, then down to 0 at the end (1) along a line.

    ISPL's 30 epochs at a constant rate and 20 of decay (Section 4.1), batch by batch.
    """
    return min(1.0, (1 - progress) / (1 - 0.6))


def constant(_: float) -> float:
    """1 at any time of the run."""
    return 1.0


@dataclass(frozen=True)
class Stairs:
    """A learning rate that stays as it is between steps.

    Attributes:
        starts: at which shares of the run a step is taken, ascending.
        factors: on the first rate from there on, as many as starts.

    Raises:
        ValueError: if there are not as many of one as of the other, or starts do not ascend.
    """

    starts: tuple[float, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.factors) or list(self.starts) != sorted(self.starts):
            raise ValueError(
                "each step needs an ascending start and a factor, "
                f"got {self.starts} and {self.factors}"
            )

    def __call__(self, progress: float) -> float:
        """The factor at this share of the run."""
        taken = sum(progress >= start for start in self.starts)
        return (1.0, *self.factors)[taken]
