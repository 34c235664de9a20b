"""What inverts face embeddings, step by step or in one pass, has this in common.

Taking a face back out of its embedding is an attack on face templates. It is here to audit how much
of a face a template leaks; the photographs are to be of people who agreed to that.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_modules.base import Restored
from lightning_modules.inversion_loss import Aim, InversionLoss, Losses, Terms
from lightning_modules.inversion_scores import Answer, Embedders, InversionScores
from lightning_modules.pictures import Sheet
from lightning_modules.run import Run

_COUNTS = ("n", "people")  # the same in every validation


class Inversion(Run, ABC):
    """A run that takes faces back out of their embeddings, and is scored on targets.

    Every process scores all targets of the data, which come in one batch (`datamodules.targets`).
    Where a target has several guides, the image with the smallest d counts (Section 3).

    Args:
        embedders: the one that is inverted, and those that judge.
        terms: of the loss.
        max_batches: batches in the whole run.
        learning_rate: at the start; falls to zero along a cosine.
        clip_norm: largest norm of the gradient; 0 leaves it as it is.

    Raises:
        ValueError: if the embedder has no layer of a name, or a judge cannot judge.
    """

    players = ("solver",)
    frozen = ("embedder",)
    scores: InversionScores

    def __init__(
        self,
        embedders: Embedders,
        terms: Terms,
        max_batches: int,
        learning_rate: float,
        clip_norm: float = 0.0,
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm)
        self.embedder = embedders.inverted
        self.loss = InversionLoss(self.embedder, terms)
        self.scores, self.sheet = InversionScores(embedders), Sheet()

    @abstractmethod
    def invert(self, batch: Mapping[str, Any], aim: Aim) -> Tensor:
        """An image in [0, 1] for each target of a batch and each of its guides, (n, k, 3, h, w)."""

    def on_fit_start(self) -> None:
        """Fits what the loss has to know of faces, unless a checkpoint has brought it.

        Raises:
            ValueError: if there are fewer than two faces to train on.
        """
        if self.loss.gaussian is not None and not self.loss.gaussian.images:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            self.loss.fit(data.faces(self.loss.terms.gaussian.faces).to(self.device))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores all targets."""
        self._evaluate(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores all targets."""
        self._evaluate(batch)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Restored:
        """The inversions of all targets."""
        return Restored(self._answers(batch)["output"].images)

    def on_validation_epoch_end(self) -> None:
        """Logs the scores and writes the first targets as a picture."""
        row = self.scores.table()["output"]
        named = {f"val/{name}": value for name, value in row.items() if name not in _COUNTS}
        self.log_dict(named | {"step": float(self.batches_done)}, sync_dist=True)
        self.sheet.show(self, f"iterate_{self.batches_done:07d}.png")

    def on_test_epoch_end(self) -> None:
        """Keeps the table for the report; writes each target's numbers, and the first as faces."""
        table = self.scores.table()
        named = {f"test/{k}": v for k, v in table["output"].items() if k not in _COUNTS}
        self.log_dict(named, sync_dist=True)
        self.results = [{"method": method, **row} for method, row in table.items()]
        self.sheet.show(self, "test.png")
        if self.trainer.is_global_zero:
            self.scores.write_each(Path(self.trainer.default_root_dir))

    def log_losses(self, losses: Losses) -> None:
        """Logs the means of a batch's losses, and of the lengths of its embeddings."""
        named = losses._replace(seen=losses.seen.norm(dim=1))._asdict()
        named["loss"], named["norm"] = named.pop("total"), named.pop("seen")
        self.log_terms({f"train/{k}": v.detach().float().mean() for k, v in named.items()}, True)

    def _evaluate(self, batch: dict[str, Any]) -> None:
        with torch.autocast(self.device.type, enabled=False):  # half precision is for training
            answers = self._answers(batch)
            self.scores.take(batch, answers)
        columns = {"target": batch["image"], "guide": answers["guide"].images}
        self.sheet.add(columns | {"reconstruction": answers["output"].images})

    def _answers(self, batch: Mapping[str, Any]) -> dict[str, Answer]:
        """The inversion of each target, its guide, and itself, with their losses."""
        target, guides = batch["image"], batch["guides"]
        count = guides.shape[1]
        aim = self.loss.aim(target, guides)
        made = self.invert(batch, aim)
        losses = self.loss(made.flatten(0, 1), aim.repeated(count), 1.0)
        best = losses.embedding.view(-1, count).argmin(1)
        rows = torch.arange(len(target), device=best.device)
        chosen = rows * count + best
        own = Aim(aim.embedding, {k: v[chosen] if len(v) > 1 else v for k, v in aim.maps.items()})
        guide = guides[rows, best]
        return {
            "output": Answer(made[rows, best], Losses(*(each[chosen] for each in losses))),
            "guide": Answer(guide, self.loss(guide, own, 1.0)),
            "photograph": Answer(target, self.loss(target, own, 1.0)),
        }
