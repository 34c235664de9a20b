"""What goes into a run's Trainer: callbacks, loggers and the strategy for several processes."""

import difflib
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it

import pytorch_lightning as pl  # isort: skip
from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval
from PIL import Image
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from experiments import environment
from experiments.progress import Progress
from experiments.settings import SettingsError, first_process
from experiments.stopwatch import Stopwatch
from experiments.tracking import need_wandb, need_wandb_key
from lightning_modules.checkpoints import Checkpoints, read_checkpoint
from lightning_modules.loggers import CsvMetrics

_LENGTH = "the length of a run is max_batches"
_CLIPPING = "gradients are clipped by model.init_args.clip_norm"
_BATCH = "the size of a batch is data.init_args.batch_size"

# Settings of the Trainer that would end or break a run over one endless stream, and ours instead.
INSTEAD = {
    "trainer.max_epochs": _LENGTH,
    "trainer.min_epochs": _LENGTH,
    "trainer.max_steps": _LENGTH,
    "trainer.min_steps": _LENGTH,
    "trainer.limit_train_batches": _LENGTH,
    "trainer.fast_dev_run": f"{_LENGTH}, and --scale=smoke is two batches",
    "trainer.overfit_batches": _LENGTH,
    "trainer.accumulate_grad_batches": _BATCH,
    "trainer.gradient_clip_val": _CLIPPING,
    "trainer.gradient_clip_algorithm": f"{_CLIPPING}, always by their norm",
}

# What the suite decides itself, so that no setting of the Trainer can contradict it.
DECIDED_HERE = {
    "logger",
    "default_root_dir",
    "enable_checkpointing",
    "enable_progress_bar",
    "plugins",
    *(key.removeprefix("trainer.") for key in INSTEAD),
}

LIMITS = ("limit_val_batches", "limit_test_batches", "limit_predict_batches")
COUNT_OR_SHARE = int | ClosedUnitInterval | None  # of batches: 1 is one batch, 1.0 all of them

# A step is judged by the norm of its gradients, and taken on the weights themselves.
PRECISIONS = (None, "32-true", "64-true", "bf16-mixed")

# A rank that waits longer than this for another has lost it: fail instead of hanging.
RANKS_WAIT = timedelta(minutes=10)

_NOT_IN_AN_ID = r"[^\w.-]"  # W&B refuses most of it


def instead(line: str, known: Iterable[str]) -> str:
    """The line about an unknown setting; for one that the suite has its own for, it names that."""
    unknown = re.match(r"no setting '(trainer\.\w+)'", line)
    if unknown is None:
        return line
    key = unknown.group(1)
    closest = difflib.get_close_matches(key, [*known, *INSTEAD], n=1)
    return f"no setting '{key}': {INSTEAD[closest[0]]}" if set(closest) & set(INSTEAD) else line


def add_trainer(parser: LightningArgumentParser) -> None:
    """Adds the Trainer's arguments but those decided here.

    The limits have a type of their own. `typing` takes the Trainer's `Union[int, float]` and a
    `Union[float, int]` for equal and hands out whichever was written first anywhere in the
    process; where that is the second, a limit of one batch would become one of all batches.
    """
    parser.add_class_arguments(
        pl.Trainer,
        "trainer",
        fail_untyped=False,
        instantiate=False,
        sub_configs=True,
        skip={*DECIDED_HERE, *LIMITS},
    )
    for limit in LIMITS:
        parser.add_argument(f"--trainer.{limit}", type=COUNT_OR_SHARE, default=None)


def check_precision(precision: Any) -> None:
    """Nothing, for a precision that the steps of a training can work in.

    Raises:
        SettingsError: if it scales losses or keeps rounded weights.
    """
    if precision in PRECISIONS:
        return
    known = ", ".join(filter(None, PRECISIONS))
    raise SettingsError(
        f"{precision} cannot work here: steps are judged by gradients that no scaler stretched and "
        f"taken on unrounded weights; trainer.precision must be one of {known}"
    )


def run_callbacks(run_dir: Path, settings: Namespace) -> list[pl.Callback]:
    """What watches a run: its progress on the terminal, its checkpoints and what it costs."""
    checkpoints = Checkpoints(
        str(run_dir / "checkpoints"), settings.checkpoint_every, settings.monitor
    )
    return [Progress(), checkpoints, Predictions(run_dir / "predictions"), Stopwatch()]


def run_loggers(run_dir: Path, settings: Namespace, checkpoint: str | None = None) -> list[Logger]:
    """Where a training's numbers go: metrics.csv, TensorBoard, and W&B if it is asked for.

    Args:
        run_dir: the run's folder.
        settings: of the run.
        checkpoint: where the run goes on from; TensorBoard hides the points that come again.

    Raises:
        SettingsError: if W&B is asked for and cannot be used.
        CheckpointError: if the checkpoint cannot be read.
    """
    again = _first_new_batch(checkpoint) if checkpoint and first_process() else None
    board = TensorBoardLogger(str(run_dir), name="tensorboard", version="", purge_step=again)
    loggers: list[Logger] = [CsvMetrics(str(run_dir)), board]
    return loggers if settings.wandb == "off" else [*loggers, _wandb(run_dir, settings.wandb)]


def _first_new_batch(checkpoint: str) -> int | None:
    """The number, counted from 1, of the batch after a checkpoint; None if it tells none."""
    state = read_checkpoint(Path(checkpoint)).get("visagist", {})
    return state["batches_done"] + 1 if "batches_done" in state else None


def _wandb(run_dir: Path, mode: str) -> Logger:
    need_wandb("set --wandb=off")
    if mode == "online":
        need_wandb_key("set --wandb=offline")
    from pytorch_lightning.loggers import WandbLogger

    run_dir.mkdir(parents=True, exist_ok=True)  # else W&B writes to the temporary folder
    return WandbLogger(
        project="visagist",
        name=run_dir.name,
        id=os.environ.get("WANDB_RUN_ID") or re.sub(_NOT_IN_AN_ID, "-", run_dir.name),
        resume="allow",  # a run that goes on does so on the server too
        save_dir=str(run_dir),
        offline=mode == "offline",
    )


class Predictions(pl.Callback):
    """Writes the answers of `predict` as PNG, under the names of their images.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Writes a batch's `outputs.image`, (b, 3, h, w) in [0, 1]."""
        pixels = outputs.image.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu()
        for name, picture in zip(batch["name"], pixels.numpy(), strict=True):
            path = self.folder / f"{name}.png"  # sets name pictures by their folders and no ending
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)


class Record(pl.Callback):
    """Writes config.yaml and environment.json when a training starts; no other command does."""

    def __init__(self) -> None:
        self.data_ready = False  # Lightning sets the data up before it sets a callback up

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Writes both files on the first process; by now the data are known to be there."""
        self.data_ready = True
        if stage != "fit" or not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(pl_module.settings, encoding="utf-8")
        environment.write(folder / "environment.json")


def run_strategy(trainer: Namespace) -> Any:
    """The strategy asked for; for several processes DDP that bears players taking turns."""
    if trainer.strategy not in ("auto", "ddp"):
        return trainer.strategy
    if trainer.strategy == "auto" and _processes(trainer) == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=True, timeout=RANKS_WAIT)


def _processes(trainer: Namespace) -> int:
    """How many processes a Trainer of these settings would have."""
    probe = pl.Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return probe.num_devices * probe.num_nodes
