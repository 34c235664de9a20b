import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments import stopwatch
from experiments.costs import COST
from experiments.stopwatch import Stopwatch
from tests.experiments.conftest import Command


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stopwatch, "time", made)
    return made


def trainer(folder: Path, first: bool = True) -> SimpleNamespace:
    groups = [{"params": [torch.zeros(3), torch.zeros(2, 2)]}]
    return SimpleNamespace(
        default_root_dir=str(folder),
        is_global_zero=first,
        world_size=1,
        optimizers=[SimpleNamespace(param_groups=groups)],
    )


def module(batches_done: int) -> SimpleNamespace:
    return SimpleNamespace(
        batches_done=batches_done, players=("generator",), device=torch.device("cpu")
    )


def trained(watch: Stopwatch, clock: Clock, folder: Path, batches: tuple[int, int]) -> None:
    """A training from one batch to another, of which each takes a second."""
    first, last = batches
    watch.on_train_start(trainer(folder), module(first))
    clock.now += last - first
    watch.on_validation_end(trainer(folder), module(last))


def seconds(folder: Path) -> float:
    return json.loads((folder / COST).read_text())["seconds"]


def test_a_training_tells_what_it_cost_and_what_it_learned(tmp_path: Path, clock: Clock):
    trained(Stopwatch(), clock, tmp_path, (0, 10))
    told = json.loads((tmp_path / COST).read_text())
    assert (told["batches"], told["seconds"], told["processes"]) == (10, 10.0, 1)
    assert told["parameters"] == {"generator": 7}
    assert told["device"].startswith("cpu, ")
    assert 10 < told["peak_mib"] < 1e6


def test_a_training_that_goes_on_counts_no_batch_twice(tmp_path: Path, clock: Clock):
    trained(Stopwatch(), clock, tmp_path, (0, 10))
    trained(Stopwatch(), clock, tmp_path, (8, 20))  # the last two were not saved
    assert seconds(tmp_path) == pytest.approx(20.0)


def test_a_training_that_starts_anew_counts_from_nothing(tmp_path: Path, clock: Clock):
    trained(Stopwatch(), clock, tmp_path, (0, 10))
    trained(Stopwatch(), clock, tmp_path, (0, 4))
    assert seconds(tmp_path) == pytest.approx(4.0)


def test_only_the_first_process_writes_and_only_of_a_training(tmp_path: Path, clock: Clock):
    watch = Stopwatch()
    watch.on_validation_end(trainer(tmp_path), module(3))  # of the command validate
    watch.on_train_start(trainer(tmp_path), module(0))
    watch.on_train_end(trainer(tmp_path, first=False), module(3))
    watch.on_validation_end(trainer(tmp_path), module(3))  # after the training
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_its_cost_in_its_folder(tiny: Path, command: Command):
    assert command("fit") == 0
    told = json.loads((tiny.parent / "runs" / "tiny_smoke" / COST).read_text())
    assert told["batches"] == 2
    assert told["seconds"] > 0
    assert told["parameters"] == {"generator": 12, "discriminator": 4}
