"""A two-player Training small enough to be run many times, and its data."""

import csv
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from datamodules.stream import StepSampler, sample_generator
from lightning_modules.base import Restored, Training
from lightning_modules.checkpoints import (
    AtomicCheckpointIO,
    Checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from lightning_modules.loggers import CsvMetrics


class Tiny(Training):
    """A convolution against a convolution, with noise drawn in the step."""

    players = ("generator", "discriminator")

    def __init__(self, max_batches: int = 30, clip_norm: float = 0.0, noise: float = 0.1) -> None:
        super().__init__(max_batches, 1e-2, clip_norm)
        self.noise = noise
        self.generator = nn.Conv2d(3, 3, 3, padding=1)
        self.critic = nn.Conv2d(3, 1, 3, padding=1)
        self.register_buffer("average", torch.zeros(()))

    def train_batch(self, batch: dict) -> None:
        image, target = batch["image"], batch["target"]
        made = self.generator(image + self.noise * torch.randn_like(image))
        with self.turn("generator"):
            loss = (made - target).abs().mean() - 0.01 * self.critic(made).mean()
            self.step("generator", loss)
        with self.turn("discriminator"):
            gap = self.critic(made.detach()) - self.critic(target)
            self.step("discriminator", nn.functional.softplus(gap).mean())
        self.average.lerp_(self.generator.weight.detach().mean(), 0.1)
        self.log_terms({"train/loss": loss.detach()})

    def restore(self, batch: dict) -> Restored:
        return Restored(self.generator(batch["image"]).clamp(0, 1))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        nets = (self.generator, self.critic)
        return [torch.optim.Adam(net.parameters(), self.learning_rate) for net in nets]


class Faces(Dataset):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, int] | int) -> dict:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        generator = sample_generator(7, epoch, index)
        image = torch.from_numpy(generator.random((3, 12, 12), dtype="float32"))
        return {"image": image, "target": image.flip(0), "name": f"{index:05d}.png"}


class TinyData(pl.LightningDataModule):
    """Ten faces, four a batch: two and a half batches make an epoch."""

    def __init__(self, batch_size: int = 4, num_workers: int = 0, count: int = 10) -> None:
        super().__init__()
        self.batch_size, self.num_workers, self.count = batch_size, num_workers, count
        self.first_batch = 0

    def train_dataloader(self) -> DataLoader:
        sampler = StepSampler(
            self.count,
            self.batch_size,
            seed=3,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            first_batch=self.first_batch,
        )
        return DataLoader(Faces(self.count), batch_sampler=sampler, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Faces(2), batch_size=1)


def trainer(folder: Path, every: int = 1, **settings: object) -> pl.Trainer:
    """A Trainer as the command line makes it, writing into `folder`."""
    callbacks = [Checkpoints(str(folder / "checkpoints"), every), *settings.pop("callbacks", [])]
    return pl.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 1,
            "default_root_dir": str(folder),
            "logger": CsvMetrics(str(folder)),
            "callbacks": callbacks,
            "plugins": [AtomicCheckpointIO()],
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            "check_val_every_n_epoch": None,
            "val_check_interval": 7,
            "log_every_n_steps": 1,
            **settings,
        }
    )


class StopAfter(pl.Callback):
    """Ends the process' training without a word after `batches`, as a kill does."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Tiny, *_: object) -> None:
        if pl_module.batches_done >= self.batches:
            raise SystemExit("killed")


def train(
    folder: Path, batches: int = 30, workers: int = 0, stop: int | None = None, **settings: object
) -> tuple[Tiny, pl.Trainer]:
    torch.manual_seed(11)
    module, data = Tiny(batches), TinyData(num_workers=workers)
    callbacks = [StopAfter(stop)] if stop is not None else []
    run = trainer(folder, callbacks=callbacks, **settings)
    last = folder / "checkpoints" / "last.ckpt"
    if stop is None:
        run.fit(module, data, ckpt_path=last if last.exists() else None)
    else:
        with pytest.raises(SystemExit):
            run.fit(module, data, ckpt_path=last if last.exists() else None)
    return module, run


def everything(folder: Path) -> dict:
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    wanted = ("state_dict", "optimizer_states", "visagist", "callbacks")
    return {name: state[name] for name in wanted}


def differences(a: object, b: object, path: str = "") -> list[str]:
    """Where two checkpoints differ by as little as a bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"{path}: {sorted(map(str, a.keys() ^ b.keys()))}"]
        return [place for key in a for place in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{path}: {len(a)} and {len(b)} entries"]
        pairs = enumerate(zip(a, b, strict=True))
        return [place for i, (x, y) in pairs for place in differences(x, y, f"{path}/{i}")]
    return [] if a == b else [f"{path}: {a} and {b}"]


def numbers(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def change(folder: Path, **changes: object) -> None:
    path = folder / "checkpoints" / "last.ckpt"
    state = read_checkpoint(path)
    state["visagist"] |= changes
    write_checkpoint(state, path)
