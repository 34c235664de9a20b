"""What the training of every paper shares."""

import csv
import logging
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import pytorch_lightning as pl
import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from lightning_modules.exhibits import CloseUp, Exhibit
from lightning_modules.guard import BatchSkipped, LossGuard, names_in
from lightning_modules.loggers import CsvMetrics
from lightning_modules.origin import FORMAT, changed_settings, check_origin, check_shapes
from lightning_modules.pictures import Sheet
from lightning_modules.schedules import cosine
from lightning_modules.scores import Scores

log = logging.getLogger(__name__)


class Restored(NamedTuple):
    """What a network makes of an image, and where it found something to change."""

    image: Tensor  # (b, 3, h, w) in [0, 1]
    mask: Tensor | None = None  # (b, 1, h, w) in [0, 1]


class Wanted(NamedTuple):
    """Where a restoration has to change an image."""

    mask: Tensor  # (b, 1, h, w) in [0, 1], what a predicted mask is compared with
    region: Tensor  # (b, 1, h, w) in {0, 1}, where errors are counted as inside


class Training(pl.LightningModule, ABC):
    """A run of `max_batches` batches with several players, each with an optimiser of its own.

    All of a run is one Lightning epoch over an endless stream of batches. The state of a run is
    its weights, optimisers and the number of batches done: the stream starts where that number
    says, and every random draw of a step is seeded by it. So a run goes on exactly where a
    checkpoint was written, without Lightning's own loop state.

    Args:
        max_batches: batches in the whole run.
        learning_rate: of every player at the start; falls to zero along a cosine.
        clip_norm: largest norm of a player's gradient; 0 leaves gradients as they are.
        lpips_weights: file with AlexNet's weights in torchvision's naming, for LPIPS.
        schedule: of the learning rate, see `lightning_modules.schedules`.
    """

    players: ClassVar[tuple[str, ...]] = ("generator",)
    masked: ClassVar[bool] = False  # whether `restore` gives masks
    frozen: ClassVar[tuple[str, ...]] = ()  # parts that come from files, not from checkpoints

    def __init__(
        self,
        max_batches: PositiveInt = 300_000,
        learning_rate: PositiveFloat = 2e-4,
        clip_norm: NonNegativeFloat = 0.0,
        lpips_weights: str | None = None,
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
        self.scores, self.sheet = Scores(lpips_weights, self.masked), Sheet()
        self.exhibits: list[Exhibit] = [CloseUp()]  # what a test shows beside its table
        self.guard = LossGuard()
        self.batches_done = 0
        self.settings = ""  # the run's merged settings as YAML, carried by its checkpoints
        self.results: list[dict[str, Any]] = []  # the rows of the last test's table
        self.caveat = ""  # what a reader of that table must know

    @abstractmethod
    def train_batch(self, batch: Any) -> None:
        """One batch of the paper's algorithm, written with `turn` and `step`."""

    @abstractmethod
    def restore(self, image: Tensor) -> Restored:
        """The network's answer to (b, 3, h, w) images in [0, 1], in evaluation."""

    @abstractmethod
    def wanted(self, image: Tensor, target: Tensor) -> Wanted:
        """Where `target` asks for a change of `image`."""

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
        theirs |= {name: value for name, value in ours.items() if self._is_frozen(name)}
        check_shapes(ours, theirs, state.get("path", "the checkpoint"))
        for change in changed_settings(state["settings"], self.settings):
            log.warning("going on with other settings: %s", change)
        self.batches_done = state["batches_done"]
        self.guard.restore(state["guard"])
        data = getattr(self._trainer, "datamodule", None)
        if data is not None:
            data.first_batch = self.batches_done

    def on_validation_epoch_start(self) -> None:
        """Empties the scores."""
        self.scores.reset()

    def on_test_epoch_start(self) -> None:
        """Empties the scores."""
        self.scores.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores a batch."""
        self._evaluate(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores a batch and shows it to the exhibits."""
        output = self._evaluate(batch)
        for exhibit in self.exhibits:
            exhibit.add(batch["image"], output, batch["target"])

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Restored:
        """What the network makes of a batch's images."""
        return self.restore(batch["image"])

    def on_validation_epoch_end(self) -> None:
        """Logs the scores and writes the first faces as a picture."""
        table = self.scores.table()
        named = {f"val/{name}": value for name, value in table["output"].items()}
        named |= {f"val/identity_{name}": value for name, value in table["identity"].items()}
        for name in ("val/n", "val/identity_n", "val/seconds"):
            named.pop(name)  # the rest of the log is the same in every run
        self.log_dict(named | {"step": float(self.batches_done)}, sync_dist=True)
        self._write_sheet(f"val_{self.batches_done:07d}.png")

    def on_test_epoch_end(self) -> None:
        """Keeps the table for the report, writes the first faces as a picture and the exhibits."""
        table = self.scores.table()
        named = {f"test/{k}": v for k, v in table["output"].items() if k not in ("n", "seconds")}
        self.log_dict(named, sync_dist=True)
        self.results = [{"method": method, **row} for method, row in table.items()]
        self._write_sheet("test.png")
        folder = Path(self.trainer.default_root_dir) if self.trainer.is_global_zero else None
        for exhibit in self.exhibits:
            exhibit.write(folder)

    def _evaluate(self, batch: dict[str, Any]) -> Tensor:
        image, target = batch["image"], batch["target"]
        start = _now(image)
        restored = self.restore(image)
        seconds = _now(restored.image) - start
        wanted = self.wanted(image, target)
        masks = None if restored.mask is None else (restored.mask, wanted.mask)
        self.scores.update(image, restored.image, target, wanted.region, masks, seconds)
        mask = {} if restored.mask is None else {"mask": restored.mask}
        self.sheet.add({"raw": image, **mask, "output": restored.image, "target": target})
        return restored.image

    def _write_sheet(self, name: str) -> None:
        picture = self.sheet.take()
        if not self.trainer.is_global_zero or picture is None:
            return
        self.sheet.write(picture, Path(self.trainer.default_root_dir) / "pictures" / name)
        for logger in self.trainer.loggers:
            self.sheet.send(picture, logger, name, self.batches_done)

    def _is_frozen(self, name: str) -> bool:
        return name.split(".")[0] in self.frozen

    def _optimizer(self, player: str) -> LightningOptimizer:
        optimizers = self.optimizers()
        listed = optimizers if isinstance(optimizers, list) else [optimizers]
        return listed[self.players.index(player)]

    def _set_learning_rates(self) -> None:
        factor = self.schedule(self.batches_done / self.max_batches)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * factor
        self.log_terms({"train/learning_rate": self.learning_rate * factor})

    def _report_skip(self, batch: Any, reason: str) -> None:
        files = ", ".join(names_in(batch)) or "unknown files"
        log.warning("batch %d skipped: %s; files: %s", self.batches_done + 1, reason, files)
        path = Path(self.trainer.default_root_dir) / f"skipped_rank{self.global_rank}.csv"
        with path.open("a", newline="") as file:
            csv.writer(file).writerow([self.batches_done + 1, reason, files])

    def _stop_when_done(self) -> None:
        if self.batches_done >= self.max_batches:
            self.trainer.should_stop = True


def _now(image: Tensor) -> float:
    """Seconds of a clock, once the work on the image's device is done."""
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return time.perf_counter()


def _step_seed(seed: int, step: int) -> int:
    """A seed of its own for every step; numbers near each other give unrelated draws."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63
