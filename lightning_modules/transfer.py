"""Face transfer: one person's embedding in the poses of others (inversion paper, Section 2).

Taking a face back out of its embedding is an attack on face templates. It is here to audit how much
of a face a template leaks; the photographs are to be of people who agreed to that.
"""

from collections.abc import Mapping
from typing import Any, final

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.inversion import FeedForwardInversion, IterativeInversion, from_guide
from lightning_modules.inversion_base import Inversion
from lightning_modules.inversion_loss import Aim
from ops.nets.inverter import GuidedInverter


def refuse_unguided(method: Inversion) -> None:
    """Nothing, where guides change what the method makes.

    Raises:
        ValueError: if they do not.
    """
    if isinstance(method, FeedForwardInversion):
        guided = isinstance(method.network, GuidedInverter)
    else:
        weight = method.loss.terms.guide.weight
        guided = bool(weight) or getattr(method, "start", None) is from_guide
    if not guided:
        raise ValueError(
            "this run heeds no guide, so that all frames would be alike: take a run of "
            "inversion_ff_guided, inversion_iterative_guide or inversion_iterative_guide_init"
        )


def transferred(method: Inversion, face: Tensor, guides: Tensor) -> Tensor:
    """The face of a photograph's embedding in the pose of each guide, (k, 3, h, w) in [0, 1].

    A network does it in one pass; an iterative inversion takes all its steps, with guides side by
    side.

    Args:
        method: with its trained weights, on the CPU.
        face: the photograph, (1, 3, h, w) in [0, 1].
        guides: (k, 3, h, w) in [0, 1].
    """
    if isinstance(method, IterativeInversion):
        return _solved(method, face, guides)
    with torch.inference_mode():
        aim = Aim(method.embedder(face).expand(len(guides), -1), {})
        return method.invert({"guides": guides[:, None]}, aim)[:, 0].float()


def _solved(method: IterativeInversion, face: Tensor, guides: Tensor) -> Tensor:
    """The images of a whole run of the solver."""
    method.restart()
    batch = {"image": face.expand(len(guides), -1, -1, -1), "guides": guides[:, None]}
    trainer = pl.Trainer(
        max_epochs=1,
        limit_val_batches=0,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, datamodule=_Same(batch, method.max_batches))
    assert method.images is not None
    return method.images.detach().cpu()


@final
class _Same(pl.LightningDataModule):
    """The same targets in every batch, as often as there are steps."""

    def __init__(self, targets: Mapping[str, Any], steps: int) -> None:
        super().__init__()
        self.targets, self.first_batch, self._steps = targets, 0, steps

    def train_dataloader(self) -> DataLoader:
        batches: Any = [self.targets] * self._steps
        return DataLoader(batches, batch_size=None)

    val_dataloader = train_dataloader  # never asked for a batch, but missed
