"""cost.json: how long a training took, how much memory it needed and how much it learned."""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it

import pytorch_lightning as pl  # isort: skip
import torch

from experiments.costs import COST

_MIB = 2**20


class Stopwatch(pl.Callback):
    """Writes cost.json into a run's folder after each validation and when the training ends.

    Seconds are those of training, validation and saving, without what comes before the first batch
    and the test at the end. A training that goes on goes on counting: of what an interrupted one
    spent, the share that the checkpoint holds is counted, so that no batch counts twice.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._before: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Starts to count, from where an interrupted training stood."""
        self._before = _kept(Path(trainer.default_root_dir) / COST, pl_module.batches_done)
        self._started = time.perf_counter()
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes what it has cost so far."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes what it has cost and stops counting."""
        self._write(trainer, pl_module)
        self._started = None

    def _write(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._started is None or not trainer.is_global_zero:
            return
        seconds = self._before.get("seconds", 0.0) + time.perf_counter() - self._started
        peak = max(self._before.get("peak_mib", 0.0), _peak(pl_module.device))
        cost = {
            "batches": pl_module.batches_done,
            "seconds": round(seconds, 3),
            "processes": trainer.world_size,
            "device": _device(pl_module.device),
            "peak_mib": round(peak, 1),
            "parameters": _learned(trainer, pl_module),
        }
        path = Path(trainer.default_root_dir) / COST
        temporary = path.with_name(f".{COST}.part")
        temporary.write_text(json.dumps(cost, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)


def _kept(path: Path, batches_done: int) -> dict[str, Any]:
    """The cost of the batches that an interrupted training kept; none at the start."""
    if batches_done == 0 or not path.is_file():
        return {}
    told = json.loads(path.read_text(encoding="utf-8"))
    share = min(1.0, batches_done / max(1, told["batches"]))
    return {"seconds": share * told["seconds"], "peak_mib": told["peak_mib"]}


def _peak(device: torch.device) -> float:
    """The most memory in MiB: allocated on a GPU, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / _MIB if sys.platform == "darwin" else most / 1024


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {os.cpu_count()} cores" if device.type == "cpu" else device.type


def _learned(trainer: pl.Trainer, pl_module: Any) -> dict[str, int]:
    """How many numbers each player learns."""
    players = zip(pl_module.players, trainer.optimizers, strict=True)
    return {
        player: sum(p.numel() for group in optimizer.param_groups for p in group["params"])
        for player, optimizer in players
    }
