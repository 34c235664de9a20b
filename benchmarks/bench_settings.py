"""What the malloc and OpenMP settings are worth: one step of a convolutional network.

The network is plain torch on purpose: the settings must pay without any operator of ours. Compare
the two environments' tables; the wall-clock row is the one that a busy neighbour disturbs.
"""

import os
import time

import torch
from torch import nn

from benchmarks.timing import Row, Work, interleaved, summary


def network(width: int = 32) -> nn.Sequential:
    """Halving, a bottleneck and doubling, with the norms and activations of a restorer."""

    def convolution(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(8, outside), nn.SiLU()
        )

    return nn.Sequential(
        convolution(3, width),
        convolution(width, 2 * width, 2),
        convolution(2 * width, 4 * width, 2),
        convolution(4 * width, 4 * width),
        nn.Upsample(scale_factor=2),
        convolution(4 * width, 2 * width),
        nn.Upsample(scale_factor=2),
        convolution(2 * width, width),
        nn.Conv2d(width, 3, 3, padding=1),
    )


def cases(small: bool = False) -> dict[str, Work]:
    """A forward pass, and a step of training."""
    torch.manual_seed(0)
    side = 32 if small else 256
    model, image = network(), torch.rand(2, 3, side, side)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)

    def forward() -> None:
        with torch.no_grad():
            model(image)

    def step() -> None:
        optimizer.zero_grad()
        (model(image) - image).abs().mean().backward()
        optimizer.step()

    return {"forward, 2 x 3 x 256 x 256": forward, "training step, 2 x 3 x 256 x 256": step}


def run() -> list[Row]:
    """One thread by CPU time, then all threads by wall clock."""
    found = cases()
    rows = [summary(name, seconds) for name, seconds in interleaved(found, 9).items()]
    torch.set_num_threads(os.cpu_count() or 1)
    walls = interleaved(found, 9, time.perf_counter)
    rows += [summary(f"{name}, all threads, wall", seconds) for name, seconds in walls.items()]
    torch.set_num_threads(1)
    return rows
