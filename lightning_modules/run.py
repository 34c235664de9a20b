"""A run of any training: its steps, its schedule, and going on where it was stopped."""

import csv
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from lightning_modules.guard import BatchSkipped, LossGuard, names_in
from lightning_modules.loggers import CsvMetrics
from lightning_modules.origin import (
    FORMAT,
    changed_settings,
    check_origin,
    check_plan,
    check_shapes,
)
from lightning_modules.schedules import cosine

log = logging.getLogger(__name__)


class Defined(Protocol):
    """Scores that say what they are."""

    @property
    def definitions(self) -> str:
        """What the columns of the table mean, in a few sentences."""
        ...

    @property
    def caveat(self) -> str:
        """What forbids holding the table against others; empty where nothing does."""
        ...


class Run(pl.LightningModule, ABC):
    """`max_batches` batches with one player or several, each with an optimiser of its own.

    All of a run is one Lightning epoch over an endless stream of batches. The state of a run is
    its weights, optimisers and the number of batches done: the stream starts where that number
    says, and every random draw of a step is seeded by it. So a run goes on exactly where a
    checkpoint was written, without Lightning's own loop state.

    What is evaluated and how is left to those who inherit; they set `scores`.

    Args:
        max_batches: batches in the whole run.
        learning_rate: of every player at the start; falls to zero along the schedule.
        clip_norm: largest norm of a player's gradient; 0 leaves gradients as they are.
        schedule: of the learning rate, see `lightning_modules.schedules`.
    """

    players: ClassVar[tuple[str, ...]] = ("generator",)
    frozen: ClassVar[tuple[str, ...]] = ()  # parts that come from files, not from checkpoints
    training_only: ClassVar[tuple[str, ...]] = ()  # parts that no evaluation takes from checkpoints
    plan: ClassVar[str] = ""  # a buffer that says how the network is put together, if any does
    scores: Defined

    def __init__(
        self,
        max_batches: int,
        learning_rate: float,
        clip_norm: float = 0.0,
        schedule: Callable[[float], float] = cosine,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.schedule = schedule
        # Plain numbers: the parser's own types end up in the optimisers, and a checkpoint that
        # holds them cannot be read safely.
        self.max_batches, self.learning_rate = int(max_batches), float(learning_rate)
        self.clip_norm = float(clip_norm) or math.inf
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # what seed_everything was given
        self.ratios: dict[str, float] = {}  # of a player's rate to the run's; 1 where not named
        self.guard = LossGuard()
        self.batches_done = 0
        self.settings = ""  # the run's merged settings as YAML, carried by its checkpoints
        self.results: list[dict[str, Any]] = []  # the rows of the last test's table
        self.caveat = ""  # what a reader of that table must know

    @abstractmethod
    def train_batch(self, batch: Any) -> None:
        """One batch of the paper's algorithm, written with `turn` and `step`."""

    @property
    def trustworthy(self) -> bool:
        """Whether the last batch's steps were all taken, so that the weights are worth saving."""
        return self.guard.in_a_row == 0

    @final
    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Runs `train_batch` up to the first bad loss or gradient, and counts where there is one.

        What the players did in this batch before that one stands; its step and what would have
        followed are left out.
        """
        torch.manual_seed(_step_seed(self.seed, self.batches_done))
        self._set_learning_rates()
        try:
            self.train_batch(batch)
            self.guard.passed()
        except BatchSkipped as skipped:
            self._report_skip(batch, str(skipped))
            self.guard.skip(str(skipped))
        finally:
            self.log_terms({"train/skipped": float(self.guard.skipped)})
            self.batches_done += 1

    @contextmanager
    def turn(self, player: str) -> Iterator[None]:
        """Only `player`'s parameters take gradients inside."""
        with self.toggled_optimizer(self._optimizer(player)):
            yield

    def step(self, player: str, loss: Tensor) -> None:
        """Moves `player` down the gradient of `loss`, the same on all processes.

        Raises:
            BatchSkipped: if the mean loss over the processes or the gradient's norm is bad.
        """
        optimizer = self._optimizer(player)
        mean = self.trainer.strategy.reduce(loss.detach().float(), reduce_op="mean")
        self.guard.judge(player, float(mean))
        optimizer.zero_grad()
        self.manual_backward(loss)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm))
        if not math.isfinite(norm):
            optimizer.zero_grad()
            raise BatchSkipped(f"the gradient of the {player} has norm {norm}")
        optimizer.step()
        self.log_terms({f"train/gradient_{player}": norm})

    def log_terms(self, terms: Mapping[str, Tensor | float], bar: bool = False) -> None:
        """Logs `terms` under the number of this batch, counted from 1."""
        self.log_dict(dict(terms), prog_bar=bar, on_step=True, on_epoch=False)
        self.log("step", float(self.batches_done + 1), on_step=True, on_epoch=False)

    def on_train_start(self) -> None:
        """Brings Lightning's counters to the batch from which the run goes on."""
        loop = self.trainer.fit_loop.epoch_loop
        loop.batch_progress.total.ready = self.batches_done  # when to validate
        loop._batches_that_stepped = self.batches_done  # when to log
        for logger in self.trainer.loggers:
            if isinstance(logger, CsvMetrics):
                logger.forget_after(self.batches_done)
        self._stop_when_done()

    def on_train_batch_end(self, *_: Any) -> None:
        """Ends the run after its last batch."""
        self._stop_when_done()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the run's position; Lightning's loops start afresh, so their state is left out."""
        checkpoint.pop("loops", None)
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in weights.items() if not self._is_frozen(k)}
        checkpoint["visagist"] = {
            "format": FORMAT,
            "method": type(self).__name__,
            "batches_done": self.batches_done,
            "guard": self.guard.state(),
            "settings": self.settings,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the position that a checkpoint holds; says which settings are others now.

        Raises:
            CheckpointError: if it is of another method, a newer version or other networks.
        """
        state = checkpoint.get("visagist", {"format": 0, "method": "something else"})
        check_origin(state, type(self).__name__)
        ours, theirs = self.state_dict(), checkpoint["state_dict"]
        if not self._fits:
            theirs = {k: v for k, v in theirs.items() if not _lies_in(k, self.training_only)}
            theirs |= {k: v for k, v in ours.items() if _lies_in(k, self.training_only)}
            checkpoint["state_dict"] = theirs
        theirs |= {name: value for name, value in ours.items() if self._is_frozen(name)}
        path = state.get("path", "the checkpoint")
        check_plan(ours, theirs, self.plan, path)
        check_shapes(ours, theirs, path)
        for change in changed_settings(state["settings"], self.settings):
            log.warning("going on with other settings: %s", change)
        self.batches_done = state["batches_done"]
        self.guard.restore(state["guard"])
        data = getattr(self._trainer, "datamodule", None)
        if data is not None:
            data.first_batch = self.batches_done

    @property
    def _fits(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == "fit"

    def _is_frozen(self, name: str) -> bool:
        return _lies_in(name, self.frozen)

    def _optimizer(self, player: str) -> LightningOptimizer:
        optimizers = self.optimizers()
        listed = optimizers if isinstance(optimizers, list) else [optimizers]
        return listed[self.players.index(player)]

    def _set_learning_rates(self) -> None:
        rate = self.learning_rate * self.schedule(self.batches_done / self.max_batches)
        for player, optimizer in zip(self.players, self.trainer.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = self.ratios.get(player, 1.0) * rate
        self.log_terms({"train/learning_rate": rate})

    def _report_skip(self, batch: Any, reason: str) -> None:
        files = ", ".join(names_in(batch)) or "unknown files"
        log.warning("batch %d skipped: %s; files: %s", self.batches_done + 1, reason, files)
        path = Path(self.trainer.default_root_dir) / f"skipped_rank{self.global_rank}.csv"
        with path.open("a", newline="") as file:
            csv.writer(file).writerow([self.batches_done + 1, reason, files])

    def _stop_when_done(self) -> None:
        if self.batches_done >= self.max_batches:
            self.trainer.should_stop = True


def _lies_in(name: str, parts: tuple[str, ...]) -> bool:
    return name.split(".")[0] in parts


def _step_seed(seed: int, step: int) -> int:
    """A seed of its own for every step; numbers near each other give unrelated draws."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63
