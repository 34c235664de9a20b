"""A small embedder and made-up targets, to invert it on."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from datamodules.stream import StepSampler, sample_generator
from datamodules.targets import Endless, one
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.inversion import FeedForwardInversion, IterativeInversion, unchanged
from lightning_modules.inversion_base import Inversion
from lightning_modules.inversion_loss import Guidance, Layer, Smoothness, Terms
from lightning_modules.inversion_scores import Embedders
from ops.nets.embedder import Embedder, FrozenEmbedder
from ops.nets.inverter import GuidedInverter, Inverter
from tests.lightning_modules.tiny import trainer

SIDE, LENGTH = 16, 8
LAYER = "layer1"
TERMS = Terms(tv=Smoothness(1e-3), guide=Guidance(0.1, (Layer(LAYER),)))


def embedder(seed: int = 0, dimensions: int = LENGTH) -> FrozenEmbedder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Embedder("test_resnet", dimensions, SIDE)
        with torch.no_grad():
            made.projection.weight *= 100  # untrained, it would hardly tell images apart
        return made.frozen()


def embedders() -> Embedders:
    return Embedders(embedder(), {"second": embedder(1, 12)})


def pictures(number: int, *shape: int) -> torch.Tensor:
    drawn = sample_generator(5, 0, number).random((*shape, 3, SIDE, SIDE), dtype="float32")
    return torch.from_numpy(drawn)


def targets(count: int = 3, guides: int = 1) -> dict[str, Any]:
    """A batch as `datamodules.targets` gives it, with a gallery of two people more."""
    image, people = pictures(0, count), torch.arange(count + 2)
    gallery = 0.9 * torch.cat([image, pictures(1, 2)]) + 0.1 * pictures(2, count + 2)
    return {
        "image": image,
        "name": [f"person{i}/0" for i in range(count)],
        "identity": people[:count],
        "guides": pictures(3, count, guides),
        "gallery": gallery,
        "gallery_identity": people,
    }


class TargetData(pl.LightningDataModule):
    def __init__(self, count: int = 3, guides: int = 1) -> None:
        super().__init__()
        self.first_batch, self.targets = 0, targets(count, guides)

    def faces(self, count: int) -> torch.Tensor:
        return pictures(4, count)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Endless(self.targets), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return one(self.targets)

    test_dataloader = predict_dataloader = val_dataloader


class Photographs:
    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        number = 100 * key[0] + key[1]
        return {
            "image": pictures(10 + number),
            "guides": pictures(7, 1),
            "name": f"{key}",
        }


class ManyPeople(pl.LightningDataModule):
    """Photographs to train on beside the targets."""

    def __init__(self) -> None:
        super().__init__()
        self.first_batch, self.batch = 0, targets()

    def train_dataloader(self) -> DataLoader:
        order = StepSampler(6, 2, seed=3, rank=0, world=1, first_batch=self.first_batch)
        return DataLoader(Photographs(), batch_sampler=order)

    def val_dataloader(self) -> DataLoader:
        return one(self.batch)

    test_dataloader = val_dataloader


def iterative(batches: int = 8, terms: Terms = TERMS, **settings: Any) -> IterativeInversion:
    settings = {"gradient": unchanged, "learning_rate": 0.02} | settings
    return IterativeInversion(embedders(), terms, max_batches=batches, **settings)


def in_one_pass(
    network: Inverter | GuidedInverter | None = None, batches: int = 8
) -> FeedForwardInversion:
    torch.manual_seed(0)
    network = network or Inverter(LENGTH, SIDE, 6)
    return FeedForwardInversion(embedders(), network, TERMS, max_batches=batches)


def fit(
    folder: Path, made: Inversion, data: pl.LightningDataModule | None = None, **settings: Any
) -> Inversion:
    """Trains until the end, or goes on with what lies in the folder."""
    last = folder / "checkpoints" / "last.ckpt"
    run = trainer(folder, **{"val_check_interval": 4} | settings)
    for callback in run.callbacks:
        if isinstance(callback, Checkpoints):
            callback.monitor = "val/identity_own"
    run.fit(made, data or TargetData(), ckpt_path=last if last.exists() else None)
    return made
