"""`python -m benchmarks kills`: runs of RetouchFormer killed in many places, against a whole one.

Each run is a training of its own at smoke scale: 16 batches, 7 to an epoch, a checkpoint after
each. A row says "same" when the resumed run's weights, optimisers, counters and logged numbers are
those of the run that was never killed, bit for bit; "DIFFERS" when they are not; and "FAILED" when
there is nothing to compare: a run that should have died by SIGKILL ended otherwise or held batches
that it had not done, or one that should have ended well did not.
"""

import contextlib
import csv
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it

import pytorch_lightning as pl  # isort: skip

from benchmarks.timing import ROOT

BATCHES = 16
PLACES = {
    1: "first",
    4: "middle",
    7: "last of an epoch",
    8: "first of the next",
    15: "last but one",
}
LANES = 2  # cases that run side by side, on a thread each
RANDOM_KILLS = 50
PATIENCE = 180  # seconds after which a run of 16 batches counts as hung
RANDOM_PATIENCE = 480  # seconds for all random kills of a lane


class Failed(Exception):
    """Something that a case needs did not happen; the message says what."""


class KillAt(pl.Callback):
    """Ends all processes of a training by SIGKILL at the end of a batch, before it is saved.

    All at once: were each to end itself, one might find the other gone and end by an error.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Kills at the chosen batch."""
        if pl_module.batches_done == self.batch:
            os.killpg(os.getpgrp(), signal.SIGKILL)


@dataclass
class Kills:
    """What random kills hit."""

    hits: int = 0  # living runs
    training: int = 0  # of those, runs that had done and saved batches since they were started
    ends: int = 0  # runs that came to their end and were compared


def command(run: str, workers: int, processes: int) -> list[str]:
    """A small training that goes on where it was."""
    return [
        *(sys.executable, "-m", "experiments", "fit", "retouchformer_gamma0.1", "--scale=smoke"),
        *(f"--run={run}", "--resume", "--evaluate=false", f"--max_batches={BATCHES}"),
        *("--checkpoint_every=1", "--trainer.val_check_interval=5"),
        f"--data.init_args.loading.workers={workers}",
        f"--trainer.devices={processes}",
    ]


def start(line: list[str], runs: Path) -> subprocess.Popen[bytes]:
    """The training as a process group, so that a kill takes its workers too."""
    environment = {**os.environ, "RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        line,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_group(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL to a training and all of its processes; its exit code."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def exit_code(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a training that ends by itself; nothing of it is left afterwards."""
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise Failed(f"a run did not end within {PATIENCE} s") from None
    kill_group(process)
    return code


def finish(line: list[str], runs: Path) -> None:
    """Runs a training to its end."""
    if code := exit_code(start(line, runs)):
        raise Failed(f"a run that nobody killed ended with exit code {code}")


def held(run: Path) -> int:
    """The number of batches in the last checkpoint."""
    from lightning_modules.checkpoints import read_checkpoint

    last = run / "checkpoints" / "last.ckpt"
    return int(read_checkpoint(last)["visagist"]["batches_done"]) if last.exists() else 0


def outcome(run: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The last checkpoint and the logged numbers of a run that is done."""
    from lightning_modules.checkpoints import read_checkpoint

    if (batches := held(run)) != BATCHES:
        raise Failed(f"{run.name} ended with {batches} of {BATCHES} batches")
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    state["visagist"].pop("settings")  # names the folder of the run
    parts = ("state_dict", "optimizer_states", "visagist", "callbacks")
    with (run / "metrics.csv").open(newline="") as file:
        return {name: state[name] for name in parts}, list(csv.DictReader(file))


def equal(a: Any, b: Any) -> bool:
    """Whether two parts of a checkpoint agree in every bit."""
    import torch

    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def verdict(case: Callable[[], bool]) -> str:
    """What a case comes to, in a word or with the reason."""
    try:
        return "same" if case() else "DIFFERS"
    except Failed as reason:
        return f"FAILED: {reason}"


def killed_at(batch: int, workers: int, processes: int, runs: Path) -> bool:
    """Whether a run killed at `batch` ends like the whole one."""
    name = f"killed_{batch}_{workers}_{processes}"
    line = command(name, workers, processes)
    kill = ["--trainer.callbacks+=benchmarks.kills.KillAt", f"--trainer.callbacks.batch={batch}"]
    code = exit_code(start([*line, *kill], runs))
    if code != -signal.SIGKILL:
        raise Failed(f"the run to be killed ended with exit code {code}")
    if (batches := held(runs / name)) > batch:
        raise Failed(f"after the kill at batch {batch} its checkpoint holds {batches}")
    finish(line, runs)
    return equal(outcome(runs / name), outcome(runs / f"whole_{processes}"))


def killed_at_random(lane: int, times: int, seconds: float, runs: Path) -> Kills:
    """Kills a run `times` times while it lives; each that ends must equal the whole one.

    A run that ended before its kill makes way for a new one. Kills come in the last two thirds
    of the `seconds` that a whole run takes: before that, Python is importing.
    """
    draw, kills = random.Random(lane), Kills()
    name, deadline = f"random_{lane}", time.monotonic() + RANDOM_PATIENCE
    line = command(name, 0, 1)
    while kills.hits < times:
        if time.monotonic() > deadline:
            raise Failed(f"only {kills.hits} of {times} kills hit within {RANDOM_PATIENCE} s")
        before, process = held(runs / name), start(line, runs)
        time.sleep(draw.uniform(seconds / 3, seconds))
        if (code := kill_group(process)) == -signal.SIGKILL:
            kills.hits += 1
            kills.training += held(runs / name) > before
        elif code:
            raise Failed(f"a run ended with exit code {code} before its kill")
        else:
            compare_and_remove(name, runs)
            kills.ends += 1
    finish(line, runs)
    compare_and_remove(name, runs)
    kills.ends += 1
    return kills


def compare_and_remove(name: str, runs: Path) -> None:
    """Makes way for a new run, after one that ended like the whole one."""
    if not equal(outcome(runs / name), outcome(runs / "whole_1")):
        raise Failed("a run DIFFERS from the whole one")
    shutil.rmtree(runs / name)


def whole(processes: int, runs: Path) -> tuple[str, float]:
    """The row of a run that is never killed, and the seconds it takes."""
    began = time.monotonic()

    def complete() -> bool:
        finish(command(f"whole_{processes}", 0, processes), runs)
        outcome(runs / f"whole_{processes}")
        return True

    word = verdict(complete).replace("same", "the one that others are compared with")
    return f"| never | 0 | {processes} | {word} |", time.monotonic() - began


def resumes(runs: Path) -> Iterable[str]:
    """A row of the table for each place, number of workers and number of processes."""

    def row(case: tuple[tuple[int, str], int, int]) -> str:
        (batch, place), workers, processes = case
        word = verdict(lambda: killed_at(batch, workers, processes, runs))
        return f"| {place} ({batch}) | {workers} | {processes} | {word} |"

    with ThreadPoolExecutor(LANES) as pool:
        yield from pool.map(row, itertools.product(PLACES.items(), (0, 2), (1, 2)))


def random_kills(seconds: float, runs: Path) -> str:
    """A sentence on the runs that were killed at random moments."""
    share = -(-RANDOM_KILLS // LANES)
    try:
        with ThreadPoolExecutor(LANES) as pool:
            lanes = range(LANES)
            kills = [*pool.map(lambda i: killed_at_random(i, share, seconds, runs), lanes)]
    except Failed as reason:
        return f"Killed at random moments: FAILED: {reason}."
    hits, training, ends = (sum(counts) for counts in zip(*map(astuple, kills), strict=True))
    return (
        f"Killed at random moments: {hits} kills hit living runs, {training} of them after "
        f"batches since the last start; all {ends} runs that came to their end: same."
    )


def table(runs: Path) -> Iterable[str]:
    """The lines of the report, as they come."""
    yield "| killed at the end of batch | workers | processes | bits |"
    yield "|---|---|---|---|"
    (first, seconds), (second, _) = (whole(processes, runs) for processes in (1, 2))
    yield from (first, second)
    yield from resumes(runs)
    yield ""
    yield random_kills(seconds, runs)


def main() -> None:
    """Runs all cases and writes results/kills.md; exit code 1 where one does not hold."""
    from benchmarks.__main__ import hardware

    machine = ", ".join(f"{key} {value}" for key, value in hardware().items())
    lines = ["# Runs that were killed", "", str(__doc__).split("\n\n", 1)[1].strip(), "", machine]
    lines.append("")
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for line in table(Path(folder)):
            print(line, flush=True)
            found.append(line)
    (Path(__file__).parent / "results" / "kills.md").write_text("\n".join([*lines, *found]) + "\n")
    if any(word in line for line in found for word in ("FAILED", "DIFFERS")):
        raise SystemExit(1)
