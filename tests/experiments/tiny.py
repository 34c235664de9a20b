"""The smallest experiment there is: what the command line is tested with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from lightning_modules.base import Restored, Training

import pytorch_lightning as pl  # isort: skip

Pair = dict[str, Any]


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[Pair]:
        while True:
            yield pair()


def pair(name: str = "drawn") -> Pair:
    target = torch.linspace(0.2, 0.8, 16 * 16).reshape(1, 16, 16).expand(3, 16, 16)
    image = target.clone()
    image[:, :4] += 0.1
    return {"image": image, "target": target, "name": name}


class TinyData(pl.LightningDataModule):
    def __init__(
        self,
        root: str | None = None,
        gamma: ClosedUnitInterval = 0.5,
        batch_size: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.root, self.gamma, self.batch_size = root, gamma, batch_size
        self.first_batch = 0

    def setup(self, stage: str) -> None:
        if self.root is not None and not Path(self.root).is_dir():
            raise FileNotFoundError(f"no data set at {self.root}")

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Endless(), batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader:
        batches = BatchSampler(range(4), self.batch_size, drop_last=False)
        return DataLoader([pair(str(i)) for i in range(4)], batch_sampler=batches)

    test_dataloader = val_dataloader
    predict_dataloader = val_dataloader


class TinyTraining(Training):
    players = ("generator", "discriminator")

    def __init__(
        self,
        max_batches: PositiveInt = 4,
        width: PositiveInt = 2,
        norm: Literal["instance", "none"] = "none",
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(max_batches=max_batches)
        self.save_hyperparameters()
        self.width, self.betas = width, betas
        self.caveat = "Something is not as in the paper." if width == 11 else ""
        self.generator, self.discriminator = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 1, 1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        nets = (self.generator, self.discriminator)
        return [torch.optim.Adam(net.parameters(), 0.01, betas=self.betas) for net in nets]

    def train_batch(self, batch: Pair) -> None:
        if self.width == 13:
            raise ValueError("a fault of the programme, not of the settings")
        output = self.generator(batch["image"])
        wrong = float("nan") if self.width == 7 else 1.0
        with self.turn("generator"):
            self.step("generator", wrong * (output - batch["target"]).square().mean())
        with self.turn("discriminator"):
            self.step("discriminator", self.discriminator(output.detach()).square().mean())
        self.log_terms({"train/rec": output.detach().mean()}, bar=True)

    def restore(self, batch: dict) -> Restored:
        return Restored(self.generator(batch["image"]).clamp(0, 1))
