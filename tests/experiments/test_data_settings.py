"""Every file of configs/data: what it gives for training and for testing at smoke scale."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.__main__ import read_request
from experiments.data_sheet import build
from experiments.settings import CONFIGS, SettingsError
from experiments.show_data import wanted_of

import pytorch_lightning as pl  # isort: skip

FILES = sorted((CONFIGS / "data").glob("*.yaml"))
assert len(FILES) > 15, "the settings of the data sets are not there"
PICTURES = ("image", "target")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sets are drawn, each once for all files that name it."""
    return tmp_path_factory.mktemp("drawn")


def data_of(path: Path, *scale: str) -> pl.LightningDataModule:
    return build(wanted_of(read_request("show-data", [str(path), *scale])).settings, [])


def check(batch: dict[str, Any], size: int) -> None:
    """That a batch of `size` samples is what the suite's networks may count on."""
    others = {"name", "label", "degradation", "parsing"}
    others |= {"identity", "photograph", "references", "shown"}
    assert set(batch) <= {*PICTURES, *others}
    assert len(batch["name"]) == size
    assert all(isinstance(name, str) and name for name in batch["name"])
    pictures = [batch[key] for key in PICTURES if key in batch]
    shape = (size, 3, *batch["image"].shape[-2:])
    assert min(shape[2:]) >= 16
    assert all(picture.shape == shape for picture in pictures)
    if "references" in batch:
        assert batch["references"].shape == (size, batch["references"].shape[1], *shape[1:])
        pictures.append(batch["references"])
    for picture in pictures:
        assert picture.dtype == torch.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture.std() > 0
    if "parsing" in batch:
        assert batch["parsing"].dtype == torch.float32
        assert batch["parsing"].shape[::2] == shape[::2]
        assert set(batch["parsing"].unique().tolist()) == {0.0, 1.0}
        assert (batch["parsing"].sum(1) == 1).all()
    if "label" in batch:
        assert batch["label"].shape == (size, 3)
        assert batch["label"].dtype == torch.float32
        assert set(batch["label"].unique().tolist()) <= {0.0, 1.0}
        assert all(isinstance(told, str) and told for told in batch["degradation"])
    if "identity" in batch:
        assert batch["identity"].shape == (size,)
        assert batch["identity"].dtype == torch.int64


def halves(batch: dict[str, Any]) -> list[dict[str, Any]]:
    return [batch] if "image" in batch else [*batch.values()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_first_batches_hold_what_a_network_counts_on(
    path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(drawn)
    module = data_of(path, "--scale=smoke")
    module.prepare_data()
    if type(module).train_dataloader is not pl.LightningDataModule.train_dataloader:
        module.setup("fit")
        for half in halves(next(iter(module.train_dataloader()))):
            assert "target" in half
            check(half, len(half["image"]))
    module.setup("test")
    for half in halves(next(iter(module.test_dataloader()))):
        check(half, len(half["image"]))
    assert [entry.name for entry in drawn.iterdir()] == ["data"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_opens_with_what_it_is_and_is_accepted_published_and_as_a_demo(path: Path):
    assert path.read_text().startswith("# ")
    assert isinstance(data_of(path), pl.LightningDataModule)
    assert isinstance(data_of(path, "--scale=demo"), pl.LightningDataModule)


def test_a_misspelled_degradation_is_refused():
    settings = {
        "data": {
            "class_path": "datamodules.ffhq.FFHQ",
            "init_args": {"root": "x", "degradation": {"class_path": "datamodules.None"}},
        }
    }
    with pytest.raises(SettingsError, match="degradation"):
        build(settings, [])
