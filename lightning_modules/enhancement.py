"""NASFE's network with what it is told and what moves it, for training and for the search."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import torch
import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor, nn

from lightning_modules.classifier import classification_loss, labels_of
from ops.losses.identity import identity_loss, perceptual_loss
from ops.nets.degradation_classifier import DegradationClassifier
from ops.nets.nasfe import NASFE, identity_information


@dataclass(frozen=True)
class Terms:
    """The constants of NASFE's loss; the defaults are the paper's (Section 3.3).

    Attributes:
        perceptual: lambda_per.
        identity: lambda_iden.
        classification: of the classifier's cross-entropy, which trains it along with the rest;
            at 0 it stays as it is, since the paper trains it before.
    """

    perceptual: NonNegativeFloat = 0.04
    identity: NonNegativeFloat = 0.003
    classification: NonNegativeFloat = 0.0


PRINTED: Final = Terms()
"""As in the paper."""


@dataclass(frozen=True)
class References:
    """How clean photographs of the same person take part, and what sees them.

    Attributes:
        features: a frozen face network, of which the last map is taken; pool3 of VGG-Face in the
            paper. Both losses on features use it too.
        dropout: share of the training faces that do without references, so that the network
            works without them; ours.
        at_test: whether evaluation hands them to the network; Section 3.2 does, Section 3.3 does
            not, and Table 5 has both.
    """

    features: nn.Module
    dropout: ClosedUnitInterval = 0.1
    at_test: bool = True


@final
class Enhancement:
    """The terms of NASFE's loss and the faces that it restores, with the weights as they are.

    It holds no weights of its own: whoever trains has the networks as parts.

    Attributes:
        classifies: whether the classifier is trained along with the rest.

    Args:
        network: E_B, E_N, E_L, Fn and De.
        classifier: CN, whose answers the network gets where it takes classes.
        references: clean photographs of the same person, and the face network that sees them.
        terms: constants of the losses.
    """

    def __init__(
        self,
        network: NASFE,
        classifier: DegradationClassifier,
        references: References,
        terms: Terms,
    ) -> None:
        self.network, self.features = network, references.features
        self.dropout, self.at_test = float(references.dropout), references.at_test
        self.terms = terms
        self.classifies = bool(network.labels and terms.classification > 0)
        self.classifier = classifier.requires_grad_(self.classifies)

    def drawn(self, batch: Mapping[str, Any]) -> Tensor:
        """Which faces of a batch do without references this time."""
        image = batch["image"]
        return torch.rand(len(image), device=image.device) < self.dropout

    def losses(self, batch: Mapping[str, Any], dropped: Tensor) -> dict[str, Tensor]:
        """L_2, L_per and L_iden, and the classifier's own, as far as they count (Eq. 9).

        L_iden is of all faces, of those too whose references the network did not get.

        Args:
            batch: "image" and "target", (b, 3, h, w), and what the terms and the network want.
            dropped: which faces do without references, (b,).

        Raises:
            ValueError: if the batch lacks what the terms or the network want.
        """
        image, target, terms = batch["image"], batch["target"], self.terms
        logits = self._answers(image)
        clean = self._clean(batch) if self.network.identity or terms.identity else None
        output = self._restored(image, logits, clean, dropped)
        named = {"pixels": F.mse_loss(output, target)}
        if terms.perceptual or terms.identity:
            seen = self._maps(output)
        if terms.perceptual:
            named["perceptual"] = perceptual_loss(seen, self._frozen_maps(target))
        if clean is not None and terms.identity:
            named["identity"] = identity_loss(seen, clean)
        if logits is not None and self.classifies:
            named["classification"] = classification_loss(logits, labels_of(batch))
        return named

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """L_final = L_2 + lambda_per L_per + lambda_iden L_iden (Eq. 9), and CN's own if any."""
        weights = {"pixels": 1.0, **asdict(self.terms)}
        return torch.stack([weights[name] * each for name, each in losses.items()]).sum()

    def restored(self, batch: Mapping[str, Any]) -> Tensor:
        """The faces in [0, 1], with the help of "references" where there are any."""
        image = batch["image"]
        helped = self.network.identity and self.at_test and "references" in batch
        clean = self._clean(batch) if helped else None
        return self._restored(image, self._answers(image), clean).clamp(0, 1)

    def caveat(self, classifier_known: bool) -> str:
        """What forbids holding results against the paper's; empty where nothing does.

        Args:
            classifier_known: whether the classifier was trained before.
        """
        told = []
        seen = self.network.identity or self.terms.perceptual or self.terms.identity
        if seen and not self.features.comparable:
            told.append("identity: on an untrained face network; not comparable with the paper.")
        if self.network.labels and not (classifier_known or self.classifies):
            told.append("classes: by an untrained classifier; not comparable with the paper.")
        return " ".join(told)

    def _answers(self, image: Tensor) -> Tensor | None:
        return self.classifier(image) if self.network.labels else None

    def _restored(
        self,
        image: Tensor,
        logits: Tensor | None,
        clean: Tensor | None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        label = None if logits is None else logits.detach().sigmoid()
        if not self.network.identity or clean is None:
            return _precise(self.network(image, label))
        information = identity_information(self._frozen_maps(image), clean)
        return _precise(self.network(image, label, information, dropped))

    def _clean(self, batch: Mapping[str, Any]) -> Tensor:
        """The maps of the references, (b, n, c, h, w)."""
        if "references" not in batch:
            raise ValueError(
                "the batches hold no other photographs of the same person: give the data's "
                "selection a number of references"
            )
        references = batch["references"]
        return self._frozen_maps(references.flatten(0, 1)).unflatten(0, references.shape[:2])

    @torch.no_grad()
    def _frozen_maps(self, image: Tensor) -> Tensor:
        return self._maps(image)

    def _maps(self, image: Tensor) -> Tensor:
        return _precise(self.features(image)[-1])


def _precise(image: Tensor) -> Tensor:
    """The image in float32 at least: losses of half precision would be rounded too far."""
    return image.to(torch.promote_types(image.dtype, torch.float32))
