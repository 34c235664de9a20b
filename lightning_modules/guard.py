"""Decides which optimiser steps are safe to take, and when a run must stop."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

EXPLOSION = 100.0  # times all losses before it
SIGMAS = 6.0  # above the mean


class BatchSkipped(Exception):
    """A batch whose loss or gradient must not reach the weights; the message says why."""


class StoppedByLosses(RuntimeError):
    """Too many batches in a row were skipped; the last checkpoint is from before them."""


def exploded(value: float, history: deque[float]) -> bool:
    """Whether `value` is not finite, or a hundred times above all that came before.

    A loss below 0.01 counts as 0.01, so that a player whose loss was zero for a while may move.
    """
    if not math.isfinite(value):
        return True
    return len(history) >= 8 and value > EXPLOSION * max(0.01, *history)


def outlying(value: float, history: deque[float]) -> bool:
    """Whether `value` lies more than six standard deviations above a full `history`."""
    if len(history) < (history.maxlen or 0):
        return False
    mean = math.fsum(history) / len(history)
    variance = math.fsum((past - mean) ** 2 for past in history) / len(history)
    return value > mean + SIGMAS * math.sqrt(variance)


@dataclass
class LossGuard:
    """Watches each player's loss over the last `window` batches.

    Args:
        patience: batches skipped in a row that stop the run.
        window: batches of history from which outliers are judged.
    """

    patience: int = 10
    window: int = 128
    skipped: int = 0
    in_a_row: int = 0
    history: dict[str, deque[float]] = field(default_factory=dict)

    def judge(self, player: str, loss: float) -> None:
        """Records a player's loss.

        Raises:
            BatchSkipped: if the loss exploded or is an outlier.
        """
        history = self.history.setdefault(player, deque(maxlen=self.window))
        if exploded(loss, history):
            raise BatchSkipped(f"the loss of the {player} is {loss:.4g}")
        outlier = outlying(loss, history)
        history.append(loss)  # an outlier too, or a lasting change of level would end the run
        if outlier:
            raise BatchSkipped(f"the loss of the {player} jumped to {loss:.4g}")

    def passed(self) -> None:
        """Counts a batch whose steps were all taken."""
        self.in_a_row = 0

    def skip(self, reason: str) -> None:
        """Counts a skipped batch.

        Raises:
            StoppedByLosses: if it is the last that patience allows.
        """
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.patience:
            raise StoppedByLosses(
                f"{self.in_a_row} batches in a row were skipped, the last because {reason}: "
                "lower the learning rate and resume from the last checkpoint"
            )

    def state(self) -> dict[str, object]:
        """The counters and histories as plain types, for a checkpoint."""
        history = {player: list(values) for player, values in self.history.items()}
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "history": history}

    def restore(self, state: dict) -> None:
        """Takes over what `state` returned."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
        self.history = {
            player: deque(values, maxlen=self.window) for player, values in state["history"].items()
        }


def names_in(batch: object) -> list[str]:
    """The names of all images in a batch, however its parts are nested."""
    if not isinstance(batch, Mapping):
        return []
    own = list(batch.get("name", []))
    return own + [name for part in batch.values() for name in names_in(part)]
