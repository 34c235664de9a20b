"""Training of NASFE's restoration network, whatever fusion it has (Yasarla et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from torch import Tensor

from lightning_modules.base import Restored, Training
from lightning_modules.classifier import DegradationClassification
from lightning_modules.enhancement import PRINTED, Enhancement, References, Terms
from lightning_modules.measures import Measures
from lightning_modules.pretrained import load_part
from lightning_modules.restoration import Restoration
from lightning_modules.schedules import constant
from lightning_modules.scores import Scores
from ops.nets.classical import equalised
from ops.nets.degradation_classifier import DegradationClassifier
from ops.nets.fusion import FusionNetwork
from ops.nets.genotype import Genotype
from ops.nets.nasfe import NASFE, TASKS


@dataclass(frozen=True)
class Pretrained:
    """Checkpoints of the runs that parts of the network were trained in first (Section 4).

    They are read before the first step; from then on a run's own checkpoints hold all.

    Attributes:
        blur: for E_B; None starts it untrained, as with the others.
        noise: for E_N.
        low_light: for E_L.
        classifier: for CN.
    """

    blur: Path | None = None
    noise: Path | None = None
    low_light: Path | None = None
    classifier: Path | None = None

    def fill(self, network: NASFE, classifier: DegradationClassifier) -> None:
        """Reads the checkpoints that are named into their parts.

        Raises:
            CheckpointError: if one cannot be used.
        """
        for task, checkpoint in zip(TASKS, (self.blur, self.noise, self.low_light), strict=True):
            if checkpoint is not None:
                encoder = network.encoders[task]
                load_part(encoder, checkpoint, Restoration.__name__, "network.encoder")
        if self.classifier is not None:
            method = DegradationClassification.__name__
            load_part(classifier, self.classifier, method, "network")


@final
class FaceEnhancement(Training):
    """Encoders, fusion and decoder, moved by pixels and by a face network's features (Eq. 9).

    Adam at a constant rate, which is all that the paper says of both.

    Args:
        network: E_B, E_N, E_L, Fn and De.
        classifier: CN, whose answers the network gets where it takes classes.
        references: clean photographs of the same person, and the face network that sees them.
        terms: constants of the losses.
        pretrained: what parts start from.
        max_batches: batches in the whole run.
        learning_rate: of Adam, constant.
        measures: what its tables hold beside PSNR and SSIM.
    """

    frozen = ("features",)
    plan = "network.fusion.genotype"

    def __init__(
        self,
        network: NASFE,
        classifier: DegradationClassifier,
        references: References,
        terms: Terms = PRINTED,
        pretrained: Pretrained = Pretrained(),
        max_batches: PositiveInt = 1_000_000,
        learning_rate: PositiveFloat = 5e-4,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, measures=measures, schedule=constant)
        self.scores = Scores(measures, rivals={"equalised": equalised})  # as in Table 5
        self.network, self.features = network, references.features
        self.enhancement = Enhancement(network, classifier, references, terms)
        self.classifier, self.pretrained = classifier, pretrained
        self.caveat = self.enhancement.caveat(pretrained.classifier is not None)

    def on_fit_start(self) -> None:
        """Reads the parts that were trained before, unless a checkpoint has brought them.

        Raises:
            CheckpointError: if one of their files cannot be used.
        """
        if not self.batches_done:
            self.pretrained.fill(self.network, self.classifier)

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step on all terms."""
        with self.turn("generator"):
            self.step("generator", self.loss(batch))

    def loss(self, batch: Mapping[str, Any]) -> Tensor:
        """L_final = L_2 + lambda_per L_per + lambda_iden L_iden (Eq. 9), and CN's own if any.

        Raises:
            ValueError: if the batch lacks what the terms or the network want.
        """
        losses = self.enhancement.losses(batch, self.enhancement.drawn(batch))
        self.log_terms({f"train/{name}": each.detach() for name, each in losses.items()}, bar=True)
        return self.enhancement.total(losses)

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The face without its degradations, with the help of "references" where there are any."""
        return Restored(self.enhancement.restored(batch))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, for the classifier too where it is trained along."""
        further = self.classifier.parameters() if self.enhancement.classifies else ()
        return [torch.optim.Adam([*self.network.parameters(), *further], self.learning_rate)]


def searched_fusion(genotype: str, channels: int = 32, cells: int = 4) -> FusionNetwork:
    """The fusion network of a searched cell.

    Args:
        genotype: a JSON file, the folder of a search's run, which holds genotype.json, or the JSON
            text itself.
        channels: of the features.
        cells: how many of it, one after the other.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no genotype.
    """
    if genotype.lstrip().startswith("{"):
        return FusionNetwork(Genotype.from_json(genotype), channels, cells)
    path = Path(genotype)
    path = path / "genotype.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no genotype at {path}: run nasfe_search first, or name a file")
    return FusionNetwork(Genotype.from_json(path.read_text(encoding="utf-8")), channels, cells)
