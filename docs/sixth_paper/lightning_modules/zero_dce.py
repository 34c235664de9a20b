"""Zero-DCE: a network that learns from dark pictures alone how to make them bright."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from lightning_modules.base import Restored, Training
from lightning_modules.measures import Measures
from lightning_modules.schedules import constant
from ops.losses.zero_reference import (
    colour_loss,
    contrast_loss,
    exposure_loss,
    smoothness_loss,
)
from ops.nets.zero_dce import ZeroDCE, brightened


@dataclass(frozen=True)
class Terms:
    """The constants of Zero-DCE's loss; the defaults are the paper's (Section 4).

    Attributes:
        colour: W_col.
        smoothness: W_tvA.
        level: E, the grey that regions are wanted to have.
    """

    colour: NonNegativeFloat = 0.5
    smoothness: NonNegativeFloat = 20.0
    level: PositiveFloat = 0.6


@final
class ZeroReference(Training):
    """Curves that are learned without any target; the targets are for the tables alone.

    Args:
        network: gives the curves of an image.
        terms: constants of the loss.
        max_batches: batches in the whole run.
        learning_rate: of Adam, the same in the whole run.
        clip_norm: largest norm of the gradient; the authors' code has 0.1.
        measures: what its tables hold beside PSNR and SSIM.
    """

    def __init__(
        self,
        network: ZeroDCE,
        terms: Terms = Terms(),
        max_batches: PositiveInt = 50_000,
        learning_rate: PositiveFloat = 1e-4,
        clip_norm: NonNegativeFloat = 0.1,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm, measures, constant)
        self.network, self.terms = network, terms

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step down the loss of a batch's dark pictures."""
        image = batch["image"]
        with self.turn("generator"):
            self.step("generator", self.loss(image, self.network(image)))

    def loss(self, image: Tensor, curves: Tensor) -> Tensor:
        """L_spa + L_exp + W_col L_col + W_tvA L_tvA (Zero-DCE Eq. 8)."""
        output, terms = brightened(image, curves), self.terms
        contrast, exposure = contrast_loss(output, image), exposure_loss(output, terms.level)
        colour, smoothness = colour_loss(output), smoothness_loss(curves)
        self.log_terms({"train/exposure": exposure.detach()}, bar=True)
        return contrast + exposure + terms.colour * colour + terms.smoothness * smoothness

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The bright picture."""
        image = batch["image"]
        return Restored(brightened(image, self.network(image)).clamp(0, 1))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        return [torch.optim.Adam(self.network.parameters(), self.learning_rate)]
