"""A small embedder and made-up people with several photographs of each, to train it on."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.identities import PeopleSampler
from datamodules.stream import SliceSampler, sample_generator
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.embedder import FaceEmbedding
from ops.losses.metric_learning import ArcFace, SemiHardTriplet
from ops.nets.embedder import Embedder
from tests.lightning_modules.tiny import trainer

SIDE = 16


class Photographs(Dataset):
    """A face for each person, with noise of its own on every photograph."""

    def __init__(self, first: int, people: int, each: int) -> None:
        self.first = first
        self.people = torch.arange(people).repeat_interleave(each).numpy()

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        person = int(self.people[key[1]])
        face = sample_generator(3, 0, self.first + person).random((3, 4, 4), dtype="float32")
        face = torch.from_numpy(face).repeat_interleave(4, 1).repeat_interleave(4, 2)
        noise = sample_generator(7, key[0], 100 * self.first + key[1])
        noise = torch.from_numpy(noise.random((3, SIDE, SIDE), dtype="float32"))
        return {"image": 0.7 * face + 0.3 * noise, "identity": person, "name": f"{key}"}


class PeopleData(pl.LightningDataModule):
    """Six people with four photographs each to train on, six others with three to evaluate."""

    def __init__(self, people: int = 6, batch: int = 4, known: bool = True) -> None:
        super().__init__()
        self.root, self.first_batch, self.batch = "faces", 0, batch
        self.photographs = {"train": Photographs(0, people, 4), "val": Photographs(50, 6, 3)}
        if not known:
            self.photographs["train"].people = None

    def train_dataloader(self) -> DataLoader:
        data = self.photographs["train"]
        order = PeopleSampler(
            data.people,
            self.batch,
            2,
            seed=3,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            first_batch=self.first_batch,
        )
        return DataLoader(data, batch_sampler=order)

    def val_dataloader(self) -> DataLoader:
        data = self.photographs["val"]
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(data, batch_sampler=SliceSampler(len(data), 4, rank=rank, world=world))

    test_dataloader = val_dataloader


def module(criterion: ArcFace | SemiHardTriplet | None = None, batches: int = 8) -> FaceEmbedding:
    torch.manual_seed(0)
    network = Embedder("test_resnet", dimensions=8, size=SIDE)
    criterion = criterion or ArcFace(0.2, 16.0)
    return FaceEmbedding(network, criterion, max_batches=batches, learning_rate=0.02)


def fit(
    folder: Path, made: FaceEmbedding, data: PeopleData | None = None, **settings: Any
) -> FaceEmbedding:
    last = folder / "checkpoints" / "last.ckpt"
    run = trainer(folder, **settings)
    for callback in run.callbacks:
        if isinstance(callback, Checkpoints):
            callback.monitor = "val/auc"
    run.fit(made, data or PeopleData(), ckpt_path=last if last.exists() else None)
    return made
