from pathlib import Path

import pytest
import torch

from lightning_modules.checkpoints import CheckpointError
from lightning_modules.embedder import trained_embedder
from lightning_modules.trained import TrainedEmbedder
from ops.metrics.judges import Judge, Judges
from ops.nets.embedder import Embedder
from tests.lightning_modules.people import SIDE, fit, module


def network() -> Embedder:
    return Embedder("test_resnet", dimensions=8, size=SIDE)


def test_it_sees_what_the_runs_embedder_sees(tmp_path: Path) -> None:
    fit(tmp_path, module(batches=1), val_check_interval=1000)
    path = tmp_path / "checkpoints" / "last.ckpt"
    made, wanted = TrainedEmbedder(network(), path), trained_embedder(network(), path)
    image = torch.rand(2, 3, SIDE, SIDE)
    made.train()
    assert torch.equal(made(image), wanted(image))
    assert torch.equal(made.normalised(image), wanted.normalised(image))
    assert (made.comparable, made.dimensions) == (True, 8)
    assert made.names == network().names
    assert isinstance(made, Judge)
    assert Judges({"own": made}).comparable
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nothing"):
        TrainedEmbedder(network(), tmp_path / "nothing")
