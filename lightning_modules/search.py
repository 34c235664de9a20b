"""The search for NASFE's fusion cell: weights and alphas in turn (Section 3.1 and 4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import pytorch_lightning as pl
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from lightning_modules.architecture import ArchitectureRecord
from lightning_modules.base import Restored, Training
from lightning_modules.enhancement import PRINTED, Enhancement, References, Terms
from lightning_modules.nasfe import Pretrained
from lightning_modules.schedules import constant
from ops.losses.unrolled import unrolled_gradient, with_gradient
from ops.nets.darts import SearchNetwork
from ops.nets.degradation_classifier import DegradationClassifier
from ops.nets.nasfe import NASFE

UNTRAINED: Final = Pretrained()
"""All parts start untrained."""


@dataclass(frozen=True)
class Alternation:
    """How the alphas take their turns.

    NASFE's text says "following [37], we update alpha and the weights alternately" and nothing
    more; [37] is Auto-DeepLab. Rate, moments and decay are those of DARTS.

    Deviation: DARTS and Auto-DeepLab add the decay to the gradient. Theirs is the gradient of a
    classifier's cross-entropy; that of a squared error is so much smaller that the decay would hold
    the alphas near 0 and the search would never decide
    (`test_the_decay_does_not_outweigh_the_gradient`). So it is decoupled, as in AdamW, where it
    means the same for a loss of any size.

    Attributes:
        learning_rate: of the alphas' AdamW, constant.
        betas: its moments.
        weight_decay: its decay.
        frozen_until: share of the run before their first turn; half of it in Auto-DeepLab, so that
            operators without weights have no head start.
        lookahead: xi of DARTS. Above 0 the alphas are moved for weights one plain step of this
            size ahead (second order, four times the work of a turn), at 0 for the weights as they
            are (first order).
        most_skips: share of the derived cell's edges that may be skip connections without a
            warning.
    """

    learning_rate: PositiveFloat = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: NonNegativeFloat = 1e-3
    frozen_until: ClosedUnitInterval = 0.5
    lookahead: NonNegativeFloat = 0.0
    most_skips: ClosedUnitInterval = 0.5


@final
class FusionSearch(Training):
    """The weights of a network with a continuous fusion, and the alphas of that fusion, in turn.

    Both minimise the same loss (Eq. 9), the weights on one half of the training photographs and
    the alphas on the other.

    Args:
        network: E_B, E_N, E_L and De around a `SearchNetwork`.
        classifier: CN, whose answers the network gets where it takes classes.
        references: clean photographs of the same person, and the face network that sees them.
        terms: constants of the losses.
        pretrained: what parts start from.
        alternation: how the alphas take their turns.
        max_batches: batches in the whole run, each of both halves.
        learning_rate: of the weights' Adam, constant.

    Raises:
        TypeError: if the network's fusion is not one to be searched.
    """

    players = ("weights", "alphas")
    frozen = ("features",)

    def __init__(
        self,
        network: NASFE,
        classifier: DegradationClassifier,
        references: References,
        terms: Terms = PRINTED,
        pretrained: Pretrained = UNTRAINED,
        alternation: Alternation = Alternation(),
        max_batches: PositiveInt = 100_000,
        learning_rate: PositiveFloat = 5e-4,
    ) -> None:
        super().__init__(max_batches, learning_rate, schedule=constant)
        _searched(network)  # another fusion shows before anything is trained
        self.enhancement = Enhancement(network, classifier, references, terms)
        self.network, self.classifier = network, classifier
        self.features = references.features
        self.pretrained, self.alternation = pretrained, alternation
        self.ratios = {"alphas": float(alternation.learning_rate) / self.learning_rate}
        self.frozen_batches = round(alternation.frozen_until * self.max_batches)
        self.caveat = self.enhancement.caveat(pretrained.classifier is not None)

    @property
    def fusion(self) -> SearchNetwork:
        """What is searched, a part of the network."""
        return _searched(self.network)

    def configure_callbacks(self) -> list[pl.Callback]:
        """What shows the search while it goes on."""
        return [ArchitectureRecord(self.fusion, self.alternation.most_skips)]

    def on_fit_start(self) -> None:
        """Reads the parts that were trained before, unless a checkpoint has brought them.

        Raises:
            CheckpointError: if one of their files cannot be used.
        """
        if not self.batches_done:
            self.pretrained.fill(self.network, self.classifier)

    def train_batch(self, batch: dict[str, Any]) -> None:
        """The alphas' turn on their half, once they take part, then the weights' on theirs."""
        if self.batches_done >= self.frozen_batches:
            self._move_alphas(batch)
        half = batch["weights"]
        with self.turn("weights"):
            losses = self.enhancement.losses(half, self.enhancement.drawn(half))
            named = {f"train/{name}": each.detach() for name, each in losses.items()}
            self.log_terms(named, bar=True)
            self.step("weights", self.enhancement.total(losses))

    def unrolled_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss on the alphas' half at weights one step ahead on theirs (DARTS Eq. 6).

        Its gradient by the architecture is that of DARTS's Eq. 7 and 8, and is no other's.
        """
        architecture = self.fusion.architecture()
        found = unrolled_gradient(
            self._loss_of(batch["weights"]),
            self._loss_of(batch["alphas"]),
            self._weights(),
            architecture,
            float(self.alternation.lookahead),
            lambda slope: self.trainer.strategy.reduce(slope, reduce_op="mean"),
        )
        return with_gradient(found.loss, architecture, found.gradient)

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The face without its degradations, with the help of "references" where there are any."""
        return Restored(self.enhancement.restored(batch))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for the weights, and AdamW with other moments for the alphas."""
        turns = self.alternation
        first, second = turns.betas
        return [
            torch.optim.Adam(self._weights(), self.learning_rate),
            torch.optim.AdamW(
                self.fusion.architecture(),
                float(turns.learning_rate),
                (first, second),
                weight_decay=float(turns.weight_decay),
            ),
        ]

    def _move_alphas(self, batch: Mapping[str, Any]) -> None:
        ahead = self.alternation.lookahead > 0
        # It asks for gradients by the weights, which a turn of the alphas denies.
        loss = self.unrolled_loss(batch) if ahead else None
        with self.turn("alphas"):
            loss = self._loss_of(batch["alphas"])() if loss is None else loss
            self.log_terms({"train/alphas": loss.detach()}, bar=True)
            self.step("alphas", loss)

    def _loss_of(self, half: Mapping[str, Any]) -> Callable[[], Tensor]:
        """Eq. 9 on one half, always with the same draws."""
        dropped = self.enhancement.drawn(half)
        return lambda: self.enhancement.total(self.enhancement.losses(half, dropped))

    def _weights(self) -> list[nn.Parameter]:
        """All that is trained but the architecture."""
        architecture = {id(parameter) for parameter in self.fusion.architecture()}
        further = self.classifier.parameters() if self.enhancement.classifies else ()
        every = [*self.network.parameters(), *further]
        return [parameter for parameter in every if id(parameter) not in architecture]


def _searched(network: NASFE) -> SearchNetwork:
    if not isinstance(network.fusion, SearchNetwork):
        raise TypeError(
            "a search needs ops.nets.darts.SearchNetwork as network.fusion, got "
            f"{type(network.fusion).__name__}; to train that, take lightning_modules.nasfe"
        )
    return network.fusion
