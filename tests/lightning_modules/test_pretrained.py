from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules.checkpoints import CheckpointError, write_checkpoint
from lightning_modules.pretrained import load_part


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a run called Method, with two parts."""
    weights = {"network.inner.weight": torch.ones(2, 3), "network.inner.bias": torch.zeros(2)}
    state = {"state_dict": {**weights, "other.weight": torch.zeros(9)}}
    write_checkpoint(state | {"visagist": {"method": "Method"}}, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_the_part_is_filled_and_nothing_else_is_looked_at(checkpoint: Path) -> None:
    layer = nn.Linear(3, 2)
    load_part(layer, checkpoint, "Method", "network.inner")
    assert torch.equal(layer.weight, torch.ones(2, 3))
    assert torch.equal(layer.bias, torch.zeros(2))


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*none\.ckpt: train that run"):
        load_part(nn.Linear(3, 2), tmp_path / "none.ckpt", "Method", "network.inner")


def test_another_method_is_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt is of Method, not of Another"):
        load_part(nn.Linear(3, 2), checkpoint, "Another", "network.inner")


def test_what_is_no_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    write_checkpoint({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt is of None, not of Method"):
        load_part(nn.Linear(3, 2), tmp_path / "x.ckpt", "Method", "network.inner")


@pytest.mark.parametrize("part", ["network.inner", "network"])
def test_another_network_is_refused(checkpoint: Path, part: str) -> None:
    with pytest.raises(CheckpointError, match=rf"last\.ckpt holds another {part}: "):
        load_part(nn.Linear(4, 2), checkpoint, "Method", part)
