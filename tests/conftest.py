import os
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

import ops  # noqa: F401 - repairs torchvision before anything imports it

torch.set_num_threads(1)  # sums are bit-equal only among equal numbers of threads
FACES = Path(__file__).resolve().parents[1] / ".." / "shared" / "faces"


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def faces() -> Path:
    """The folder of real photographs, which is never part of the repository."""
    if not FACES.is_dir():
        pytest.skip(f"no folder of real photographs at {FACES}")
    return FACES.resolve()
