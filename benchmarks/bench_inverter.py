"""Inversion at 224x224: images a second in one pass, and what a step of the iterative solver costs.

The solver's own work is the total variation with its gradient, the distance of the embeddings, the
gradient's Laplacian pyramid and Adam's step; the embedder is ResNet-50 at 112x112, as the suite
trains it. Rows of two threads are wall-clock times.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import cast

import torch

from benchmarks.timing import Row, Work, compare, interleaved, summary
from ops.kernels.laplacian import normalise_gradient
from ops.losses.embedding import squared_distance
from ops.losses.total_variation import total_variation
from ops.nets.embedder import Embedder
from ops.nets.inverter import Inverter

FILTERS, BATCHES = (50, 112, 250), (1, 8)
CLOCKS = {1: time.process_time, 2: time.perf_counter}
ROUNDS = 9


def inverting(small: bool = False) -> dict[str, Work]:
    """One image in one pass, by each of the published networks."""
    embedding = torch.randn(1, 128)
    size = 32 if small else 224
    return {
        f"one pass, L = {filters}": _without_gradients(Inverter(128, size, filters), embedding)
        for filters in FILTERS
    }


def _without_gradients(network: Inverter, embedding: torch.Tensor) -> Work:
    return cast("Work", torch.inference_mode()(lambda: network(embedding)))


def solving(small: bool = False) -> dict[str, Work]:
    """What a step of the solver does in the embedder and what it does itself."""
    backbone, size = ("resnet18", 32) if small else ("resnet50", 224)
    embedder = Embedder(backbone, 128, size // 2).frozen()
    found: dict[str, Work] = {}
    for count in BATCHES:
        image = torch.rand(count, 3, size, size, requires_grad=True)

        def seen(image: torch.Tensor = image) -> torch.Tensor:
            return torch.autograd.grad(embedder(image).sum(), image)[0]

        found[f"embedder, {count} at a time"] = seen
        found[f"own work, {count} at a time"] = own_work(image)
    return found


def own_work(image: torch.Tensor) -> Callable[[], None]:
    """A step on `image` with everything in it but the embedder."""
    optimizer = torch.optim.Adam([image], 0.01, fused=True)
    embedding, target = torch.randn(2, len(image), 128)
    embedding.requires_grad_()
    given = torch.randn_like(image)  # what would come from the embedder

    def step() -> None:
        loss = squared_distance(embedding, target) + 1e-3 * total_variation(image)
        slope, _ = torch.autograd.grad(loss.sum(), (image, embedding))
        image.grad = normalise_gradient(slope + given)
        optimizer.step()

    return step


def cases(small: bool = False) -> dict[str, Work]:
    """All of them."""
    torch.manual_seed(0)
    return inverting(small) | solving(small)


def on_threads(found: Mapping[str, Work]) -> list[Row]:
    """The times of each case on one thread and on two."""
    rows = []
    for threads, clock in CLOCKS.items():
        torch.set_num_threads(threads)
        for name, seconds in interleaved(found, ROUNDS, clock).items():
            row = summary(f"{name}, threads: {threads}", seconds)
            rows.append(dataclasses.replace(row, extras={"images/s": f"{1 / row.median_s:.1f}"}))
    torch.set_num_threads(1)
    return rows


def shares(rows: list[Row]) -> list[Row]:
    """The rows of the solver, its own work with its share of the step."""
    seconds = {row.name: row.median_s for row in rows}
    found = []
    for row in rows:
        other = row.name.replace("own work", "embedder")
        step = seconds[other] + row.median_s
        share: dict[str, object] = {
            "share of the step": f"{row.median_s / step:.1%}",
            "steps/s": f"{1 / step:.2f}",
        }
        found.append(dataclasses.replace(row, extras=share) if other != row.name else row)
    return found


def run() -> list[Row]:
    """One pass on one and two threads; the solver's work against the embedder's."""
    found, module = cases(), "benchmarks.bench_inverter"
    rows = on_threads({name: work for name, work in found.items() if name.startswith("one pass")})
    for count in BATCHES:
        pair = {name: work for name, work in found.items() if name.endswith(f", {count} at a time")}
        rows += shares(compare(module, pair, ROUNDS, f"embedder, {count} at a time"))
    return rows
