import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jaxtyping
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import ops  # noqa: F401 - repairs torchvision before anything imports it

torch.set_num_threads(1)  # sums are bit-equal only among equal numbers of threads
FACES = Path(__file__).resolve().parents[1] / ".." / "shared" / "faces"


@pytest.fixture(autouse=True)
def _same_numbers_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)  # what another test's run was seeded with


@pytest.fixture
def faces() -> Path:
    """The folder of real photographs, which is never part of the repository."""
    if not FACES.is_dir():
        pytest.skip(f"no folder of real photographs at {FACES}")
    return FACES.resolve()


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """No shape checks at run time: they would be traced along with the operator."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _work(rank: int, function: Callable[[int], Any], folder: Path) -> None:
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.save(function(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture
def two_processes(tmp_path: Path) -> Callable[[Callable[[int], Any]], list[Any]]:
    """Runs `function(rank)` in two processes joined by gloo; forked, which takes 0.3 s."""

    def run(function: Callable[[int], Any]) -> list[Any]:
        mp.start_processes(_work, (function, tmp_path), nprocs=2, start_method="fork")
        return [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]

    return run
