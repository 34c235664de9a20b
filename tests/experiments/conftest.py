from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.settings import ROOT
from tests.experiments.made_up import make_experiments

PAPER = """
max_batches: 6
model: {class_path: tests.experiments.tiny.TinyTraining}
data: {class_path: tests.experiments.tiny.TinyData, init_args: {gamma: 0.5}}
scales: {smoke: {data: {init_args: {gamma: 0.25}}}}
"""
EXPERIMENT = """# A tiny run, for the tests.
# make train EXP=tiny
bases: [paper.yaml]
expected: {test/psnr: 30.0, source: Table 0}
data: {init_args: {batch_size: 2}}
"""

Command = Callable[..., int]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a tiny experiment; its runs go to `runs` beside it."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    for name in ("RESUME", "LOCAL_RANK", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "paper.yaml").write_text(PAPER)
    path = tmp_path / "tiny.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs of three made-up experiments, which stand beside it; still without any."""
    make_experiments(tmp_path / "experiments", monkeypatch)
    return tmp_path / "runs"


@pytest.fixture
def command(tiny: Path) -> Command:
    """`command("fit", "--key=value")` runs the tiny experiment at smoke scale."""

    def run(name: str, *arguments: str) -> int:
        return main([name, str(tiny), "--scale=smoke", *arguments])

    return run
