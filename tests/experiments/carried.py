"""Runs, frames and clips that a face transfer is tested with."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.clip_writer import ClipWriter
from experiments.__main__ import main

SIDE = 32


def small_run(name: str, folder: Path) -> Path:
    """The folder of an experiment's run at smoke scale; its data are drawn beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNS", str(folder))
        for variable in ("RESUME", "LOCAL_RANK", "WANDB_SWEEP_ID", "WANDB_RUN_ID"):
            patch.delenv(variable, raising=False)
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        told = [f"--data.init_args.root={folder / 'drawn'}", "--evaluate=false"]
        assert main(["fit", name, "--scale=smoke", *told]) == 0
    return folder / f"{name}_smoke"


def frames(count: int = 5) -> Iterator[np.ndarray]:
    """Smooth pictures, each of another brightness."""
    rise = np.linspace(0, 80, 40)[:, None, None]
    for i in range(count):
        yield np.broadcast_to(rise + 20 * i, (40, 40, 3)).astype(np.uint8)


def write_clip(path: Path, count: int = 5) -> Path:
    with ClipWriter(path, (40, 40), Fraction(30)) as writer:
        for frame in frames(count):
            writer.write(frame)
    return path


def write_photograph(path: Path) -> Path:
    drawn = np.random.default_rng(3).integers(0, 256, (5, 5, 3), np.uint8)
    Image.fromarray(drawn.repeat(8, 0).repeat(8, 1)).save(path)
    return path
