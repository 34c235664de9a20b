from pathlib import Path

import torch
from torch.utils.data import DataLoader

from lightning_modules.zero_dce import ZeroReference
from ops.nets.zero_dce import ZeroDCE
from tests.lightning_modules.tiny import numbers, trainer

DARK = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) / 5


def method(batches: int) -> ZeroReference:
    torch.manual_seed(0)
    return ZeroReference(ZeroDCE(4, 2), max_batches=batches, learning_rate=1e-2)


def test_training_needs_no_target_and_makes_dark_pictures_bright(tmp_path: Path) -> None:
    made = method(batches=40)
    dark = DataLoader([{"image": image} for image in DARK] * 10, batch_size=2)
    trainer(tmp_path, limit_val_batches=0).fit(made, dark, dark)
    losses = [float(row["train/exposure"]) for row in numbers(tmp_path)]
    assert losses[-1] < losses[0] - 0.05
    bright = made.restore({"image": DARK}).image.detach()
    assert float(bright.mean()) > float(DARK.mean()) + 0.05
    assert 0 <= float(bright.min()) <= float(bright.max()) <= 1


def test_each_term_has_its_weight() -> None:
    made = method(1)
    made.log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    flat = torch.full((1, 3, 32, 32), 0.1)
    red = flat * torch.tensor([1.0, 0.5, 0.5]).reshape(1, 3, 1, 1)
    still = torch.zeros(1, 6, 32, 32)
    torch.testing.assert_close(made.loss(flat, still), torch.tensor(0.5))  # exposure alone
    grey = float(red.mean())
    cast = 2 * 0.05**2
    torch.testing.assert_close(made.loss(red, still), torch.tensor(0.6 - grey + 0.5 * cast))
