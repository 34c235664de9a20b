"""A step of NASFE's search with and without checkpointing: time and peak memory.

B = 12 blocks, 4 cells, 16 channels, features of 44x36, a batch of 4, float32. A step is two equal
halves, one for the alphas and one for the weights; a row is one half: forward, backward and Adam.
Its time is that of one call after a small one; there is no spread.
"""

import gc
import time

import torch

from benchmarks.timing import Row, Work, peak_in_fresh_process
from ops.nets.darts import SearchNetwork

PLAIN, KEPT, PARTIAL = "every operator's maps kept", "checkpointing", "checkpointing, partial 4"
SETTINGS = {PLAIN: (False, 1), KEPT: (True, 1), PARTIAL: (True, 4)}  # checkpointing, partial
BUDGET_MIB = 4096


def half_a_step(network: SearchNetwork, x: torch.Tensor) -> None:
    """One player's turn, on made-up features and a made-up loss."""
    optimiser = torch.optim.Adam(network.weights(), lr=1e-3)
    network(x).square().mean().backward()
    optimiser.step()


def cases(small: bool = False) -> dict[str, Work]:
    """The half step under each setting; a network is made when its turn comes."""
    shape = (1, 16, 8, 6) if small else (4, 16, 44, 36)
    cells, blocks = (1, 2) if small else (4, 12)

    def work(checkpointing: bool, partial: int) -> Work:
        def call() -> None:
            torch.manual_seed(0)
            network = SearchNetwork(16, cells, blocks, checkpointing, partial)
            half_a_step(network, torch.randn(shape))

        return call

    return {name: work(*settings) for name, settings in SETTINGS.items()}


def seconds(name: str) -> float:
    """CPU time of one half step, after a small one that loads the code."""
    cases(small=True)[name]()
    work = cases()[name]
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def run() -> list[Row]:
    """A row for each setting, against the one that keeps every map."""
    module = "benchmarks.bench_search"
    # Before the times: what this process has once used, it keeps.
    peaks = {name: peak_in_fresh_process(module, name) for name in SETTINGS}
    times = {name: seconds(name) for name in SETTINGS}
    rows = []
    for name, taken in times.items():
        told: dict[str, object] = {
            "seconds a step": round(2 * taken, 1),
            "fits 4 GB": peaks[name] < BUDGET_MIB,
        }
        rows.append(Row(name, taken, None, peaks[name], times[PLAIN] / taken, PLAIN, told))
    return rows
