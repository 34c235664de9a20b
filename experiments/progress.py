"""The progress of a whole run: a bar on a terminal, a line now and then in a log file."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column


def rate(batches: int, seconds: float) -> str:
    """Batches a second, or seconds a batch where that is easier to read."""
    if batches == 0 or seconds <= 0:
        return ""
    speed = batches / seconds
    return f"{speed:.1f} batches/s" if speed >= 1 else f"{1 / speed:.1f} s/batch"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def worded(metrics: dict[str, Any]) -> str:
    """The metrics meant for the bar, short."""
    shown = {name: value for name, value in metrics.items() if name != "v_num"}
    return "  ".join(f"{name} {float(value):.4g}" for name, value in shown.items())


class Progress(pl.Callback):
    """Shows batches done of all batches, rate, time left, and the metrics logged with `prog_bar`.

    Without a terminal it prints one line every `seconds`, so that a log file stays readable.

    Args:
        seconds: between two lines where there is no terminal.
        console: where to write; None takes standard error.
    """

    def __init__(self, seconds: float = 15.0, console: Console | None = None) -> None:
        self.seconds = seconds
        self.console = console or Console(file=sys.stderr)
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._first = 0
        self._began = self._told = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Starts the bar at the batches already done, which a resumed run does not count anew."""
        self._first = pl_module.batches_done
        self._began = self._told = time.monotonic()
        self._show(trainer, "training", pl_module.max_batches, pl_module.batches_done)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Moves the bar on."""
        if not trainer.is_global_zero:
            return
        done, last = pl_module.batches_done, pl_module.max_batches
        speed = rate(done - self._first, time.monotonic() - self._began)
        note = "  ".join(filter(None, [speed, worded(trainer.progress_bar_metrics)]))
        if self._bars is not None:
            self._bars.update(self._tasks["training"], completed=done, note=note)
        elif done == last or time.monotonic() - self._told >= self.seconds:
            self._tell(done, last, note)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Leaves the finished bar on the terminal."""
        self._close()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Adds a bar for the validation."""
        self._show(trainer, "validating", sum(map(int, trainer.num_val_batches)))

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Moves the validation's bar on."""
        self._advance("validating")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Takes the validation's bar away."""
        self._hide("validating")

    def on_test_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Starts a bar for the test."""
        self._show(trainer, "testing", sum(map(int, trainer.num_test_batches)))

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Moves the test's bar on."""
        self._advance("testing")

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Takes the test's bar away."""
        self._hide("testing")

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Gives the terminal back before anything is printed about the exception."""
        self._close()

    def _show(self, trainer: pl.Trainer, name: str, total: int, done: int = 0) -> None:
        if not (trainer.is_global_zero and self.console.is_terminal):
            return
        if self._bars is None:
            self._bars = _bars(self.console)
            self._bars.start()
        self._tasks[name] = self._bars.add_task(name, total=total, completed=done, note="")

    def _advance(self, name: str) -> None:
        if self._bars is not None:
            self._bars.advance(self._tasks[name])

    def _hide(self, name: str) -> None:
        if self._bars is None:
            return
        self._bars.remove_task(self._tasks.pop(name))
        if not self._tasks:
            self._close()

    def _tell(self, done: int, last: int, note: str) -> None:
        now = time.monotonic()
        left = (last - done) * (now - self._began) / max(1, done - self._first)
        self._told = now
        # Plain print: rich would break the line at the width of a terminal that is not there.
        line = f"batch {done}/{last}  {note}  {clock(left)} left"
        self.console.print(line, soft_wrap=True, highlight=False)

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}


def _bars(console: Console) -> Bars:
    # On a narrow terminal only the metrics are cut short.
    return Bars(
        TextColumn("{task.description}", table_column=Column(min_width=8, no_wrap=True)),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(min_width=11, no_wrap=True)),
        TimeElapsedColumn(table_column=Column(min_width=7, no_wrap=True)),
        TimeRemainingColumn(
            elapsed_when_finished=True, table_column=Column(min_width=7, no_wrap=True)
        ),
        TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        expand=True,
    )
