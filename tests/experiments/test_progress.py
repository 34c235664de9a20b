import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from experiments.progress import Progress, clock, rate, worded


def trainer(first: bool = True) -> Any:
    return SimpleNamespace(
        is_global_zero=first,
        progress_bar_metrics={"train/loss": torch.tensor(0.123456)},
        num_val_batches=[3],
        num_test_batches=[2],
    )


def run(progress: Progress, first: bool = True, done: int = 0, last: int = 4) -> None:
    module = SimpleNamespace(batches_done=done, max_batches=last)
    watched = trainer(first)
    progress.on_train_start(watched, module)
    for batch in range(done + 1, last + 1):
        module.batches_done = batch
        progress.on_train_batch_end(watched, module)
    progress.on_validation_start(watched, module)
    for _ in range(3):
        progress.on_validation_batch_end(watched)
    progress.on_validation_end(watched, module)
    progress.on_train_end(watched, module)


def shown(terminal: bool, **how: Any) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    run(Progress(seconds=how.pop("seconds", 15.0), console=console), **how)
    return text.getvalue()


def test_a_terminal_gets_a_bar_with_the_metrics_and_the_validation():
    text = shown(terminal=True)
    assert "4/4" in text
    assert "train/loss 0.1235" in text
    assert "validating" in text


def test_a_log_file_gets_the_last_line_and_no_bar():
    text = shown(terminal=False)
    assert text.count("\n") == 1
    assert text.startswith("batch 4/4 ")
    assert "0:00:00 left" in text


def test_a_log_file_gets_a_line_every_so_many_seconds():
    assert shown(terminal=False, seconds=0.0).count("\n") == 4


@pytest.mark.parametrize("terminal", [True, False])
def test_only_the_first_process_shows_anything(terminal: bool):
    assert shown(terminal, first=False) == ""


def test_a_resumed_run_counts_from_where_it_was():
    text = shown(terminal=False, seconds=0.0, done=2)
    assert [line.split()[1] for line in text.splitlines()] == ["3/4", "4/4"]


def test_an_exception_gives_the_terminal_back():
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True))
    watched = trainer()
    progress.on_test_start(watched, SimpleNamespace())
    bars = progress._bars
    assert bars is not None
    assert bars.live.is_started
    progress.on_exception(watched, SimpleNamespace(), RuntimeError())
    assert not bars.live.is_started


def test_a_slow_run_is_told_in_seconds_a_batch():
    assert rate(10, 5) == "2.0 batches/s"
    assert rate(1, 4) == "4.0 s/batch"
    assert rate(0, 4) == ""


def test_times_and_metrics_are_short():
    assert clock(3723.4) == "1:02:03"
    assert worded({"v_num": 3, "val/psnr": 31.23456}) == "val/psnr 31.23"
