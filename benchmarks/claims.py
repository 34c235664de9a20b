"""`python -m benchmarks claims`: runs of RetouchFormer killed in many places, against a whole one.

Each run is a process of its own at smoke scale: 16 batches, 7 to an epoch, a checkpoint after
each. A row says "same" when the resumed run's weights, optimisers, counters and logged numbers are
those of the run that was never killed, bit for bit.
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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from benchmarks.timing import ROOT

BATCHES = 16
PLACES = {
    1: "first",
    4: "middle",
    7: "last of an epoch",
    8: "first of the next",
    15: "last but one",
}


class KillAt(pl.Callback):
    """Ends the process by SIGKILL at the end of a batch, before anything of it is saved."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Kills at the chosen batch."""
        if pl_module.batches_done == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)


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
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(line, cwd=ROOT, env=environment, start_new_session=True, **quiet)


def outcome(run: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The last checkpoint and the logged numbers."""
    from lightning_modules.checkpoints import read_checkpoint

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


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a training and all of its processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def killed_at(batch: int, workers: int, processes: int, runs: Path) -> bool:
    """Whether a run killed at `batch` ends like the whole one."""
    name = f"killed_{batch}_{workers}_{processes}"
    line = command(name, workers, processes)
    kill = ["--trainer.callbacks+=benchmarks.claims.KillAt", f"--trainer.callbacks.batch={batch}"]
    first = start([*line, *kill], runs)
    first.wait()
    kill_group(first)  # the other rank of a pair waits for the dead one
    done = start(line, runs).wait()
    whole = outcome(runs / f"whole_{processes}")
    return done == 0 and equal(outcome(runs / name), whole)


def killed_at_random(times: int, runs: Path) -> tuple[int, bool]:
    """How many of `times` kills hit a living run, and whether each run ends like the whole one.

    A run that ended before its kill makes way for a new one.
    """
    draw, hits, same = random.Random(0), 0, True
    line = command("random", 0, 1)
    for _ in range(times):
        process = start(line, runs)
        time.sleep(draw.uniform(2, 6))
        ended = process.poll() == 0
        hits += not ended
        kill_group(process)
        if ended:
            same &= equal(outcome(runs / "random"), outcome(runs / "whole_1"))
            shutil.rmtree(runs / "random")
    done = start(line, runs).wait()
    return hits, same and done == 0 and equal(outcome(runs / "random"), outcome(runs / "whole_1"))


def resumes(runs: Path) -> Iterable[str]:
    """A row of the table for each place, number of workers and number of processes."""
    for processes in (1, 2):
        start(command(f"whole_{processes}", 0, processes), runs).wait()
    for (batch, place), workers, processes in itertools.product(PLACES.items(), (0, 2), (1, 2)):
        same = killed_at(batch, workers, processes, runs)
        yield f"| {place} ({batch}) | {workers} | {processes} | {'same' if same else 'DIFFERS'} |"


def main() -> None:
    """Runs all cases and writes results/claims.md."""
    from benchmarks.__main__ import hardware

    machine = ", ".join(f"{key} {value}" for key, value in hardware().items())
    lines = [
        "# Runs that were killed",
        "",
        str(__doc__).split("\n\n", 1)[1].strip(),
        "",
        machine,
        "",
        "| killed at the end of batch | workers | processes | bits |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for row in resumes(Path(folder)):
            print(row, flush=True)
            lines.append(row)
        hits, same = killed_at_random(50, Path(folder))
    word = "same" if same else "DIFFERS"
    lines += ["", f"Runs killed at {hits} random moments, from start-up to the end: {word}."]
    (Path(__file__).parent / "results" / "claims.md").write_text("\n".join(lines) + "\n")
    print(lines[-1])
