"""What goes into a run's Trainer: callbacks, loggers and the strategy for several processes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it

import pytorch_lightning as pl  # isort: skip
from jsonargparse import Namespace
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from experiments import environment
from experiments.progress import Progress
from experiments.settings import SettingsError, first_process
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.loggers import CsvMetrics

# A rank that waits longer than this for another has lost it: fail instead of hanging.
RANKS_WAIT = timedelta(minutes=10)


def run_callbacks(run_dir: Path, settings: Namespace) -> list[pl.Callback]:
    """What watches a run: its progress on the terminal, and its checkpoints."""
    checkpoints = Checkpoints(
        str(run_dir / "checkpoints"), settings.checkpoint_every, settings.monitor
    )
    return [Progress(), checkpoints, Predictions(run_dir / "predictions")]


def run_loggers(run_dir: Path, settings: Namespace) -> list[Logger]:
    """Where a training's numbers go: metrics.csv, TensorBoard, and W&B if it is asked for.

    Raises:
        SettingsError: if W&B is asked for and cannot be used.
    """
    board = TensorBoardLogger(str(run_dir), name="tensorboard", version="")
    loggers: list[Logger] = [CsvMetrics(str(run_dir)), board]
    return loggers if settings.wandb == "off" else [*loggers, _wandb(run_dir, settings.wandb)]


def _wandb(run_dir: Path, mode: str) -> Logger:
    try:
        import wandb
        from pytorch_lightning.loggers import WandbLogger
    except ImportError as error:
        raise SettingsError(
            "wandb is not installed: pip install -e '.[wandb]', or set --wandb=off"
        ) from error
    if mode == "online" and first_process() and not wandb.login(prompt=False, verify=False):
        raise SettingsError("W&B has no API key: run `wandb login`, or set --wandb=offline")
    run_dir.mkdir(parents=True, exist_ok=True)  # else W&B writes to the temporary folder
    return WandbLogger(
        project="visagist", name=run_dir.name, save_dir=str(run_dir), offline=mode == "offline"
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
        self.folder.mkdir(parents=True, exist_ok=True)
        pixels = outputs.image.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu()
        for name, picture in zip(batch["name"], pixels.numpy(), strict=True):
            Image.fromarray(picture).save(self.folder / f"{Path(name).stem}.png")


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
    if trainer.strategy != "auto":
        return trainer.strategy
    probe = pl.Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if probe.num_devices * probe.num_nodes == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=True, timeout=RANKS_WAIT)
