"""A small network at 64 px is not kept waiting by the pictures that two workers degrade."""

import time

import pytest
import torch
from torch import nn

from datamodules.degradations.ispl import Full
from datamodules.ffhq import FFHQ
from datamodules.loading import Loading
from datamodules.synthetic import DrawnSet, write_drawn

STEPS, WARM_UP, TRIES, BATCH = 24, 8, 4, 8


def network() -> nn.Module:
    """Six convolutions of 24 channels: a step takes some 50 ms on one thread."""
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, padding=1)]
    for _ in range(4):
        layers += [nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(24, 3, 3, padding=1))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FFHQ:
    root = tmp_path_factory.mktemp("faces")
    write_drawn(root, "ffhq", DrawnSet(train=32, val=1, test=1, size=64))
    loading = Loading(workers=2)
    data = FFHQ(str(root), size=64, batch_size=BATCH, degradation=Full(), loading=loading)
    data.prepare_data()
    data.setup("fit")
    return data


def share_of_waiting(data: FFHQ) -> float:
    """The share of the wall time of some steps that passed before their batches came."""
    net, batches = network(), iter(data.train_dataloader())
    optimizer = torch.optim.Adam(net.parameters())
    waited, started = 0.0, 0.0
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            waited, started = 0.0, time.perf_counter()
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        optimizer.zero_grad()
        (net(batch["image"]) - batch["target"]).abs().mean().backward()
        optimizer.step()
    return waited / (time.perf_counter() - started)


def test_a_training_step_waits_less_than_a_tenth_of_its_time_for_data(data: FFHQ):
    # Another programme may hold the cores for one measurement, not for all of them.
    assert any(share_of_waiting(data) < 0.1 for _ in range(TRIES))
