"""Makeup-Go's baselines: one network regresses the whole image (Section 6.3 and Table 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from lightning_modules.base import Restored, Training
from lightning_modules.components import Cut
from lightning_modules.exhibits import ComponentCurves
from lightning_modules.measures import Measures
from lightning_modules.schedules import polynomial
from lightning_modules.scores import Scores
from ops.losses.adversarial import discriminator_adversarial, generator_adversarial
from ops.nets.discriminator import PixelDiscriminator


@dataclass(frozen=True)
class Perception:
    """Weights of the perception loss (Ledig et al., 2017, which the paper cites as [16]).

    Attributes:
        content: of the squared distance of the features' last map; Ledig et al. divide the maps by
            12.75, which is 0.006 of it.
        adversarial: of the game against the discriminator.
    """

    content: NonNegativeFloat = 6e-3
    adversarial: NonNegativeFloat = 1e-3


@final
class Regression(Training):
    """VDSR and the like: the squared error of the whole image, Eq. 2.

    The components of the edit are fitted as for the CRN, for ARI and the loss's size.

    Deviation: the error is divided by the edit's mean square. Of images in [0, 1] it is some
    thousand times smaller than the CRN's losses, and at the same learning rate a comparison would
    be one of rates (`test_the_loss_is_the_squared_error_as_a_share_of_the_edits`).

    Args:
        network: gives the restored image, not clamped.
        cut: of which the patches and the number of batches count here.
        max_batches: batches in the whole run.
        learning_rate: at the start; falls by a polynomial.
        clip_norm: largest norm of the gradient; 0 leaves it as it is.
        measures: what its tables hold beside PSNR and SSIM.
    """

    def __init__(
        self,
        network: nn.Module,
        cut: Cut = Cut(),
        max_batches: PositiveInt = 40_000,
        learning_rate: PositiveFloat = 0.01,
        clip_norm: NonNegativeFloat = 10.0,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm, schedule=polynomial)
        self.network, self.cut = network, cut
        self.basis, _ = cut.unfitted()
        self.scores = Scores(measures, basis=self.basis)
        self.exhibits.append(ComponentCurves(self.basis, self.scores.output.improvement))

    def on_fit_start(self) -> None:
        """Fits the components of the edit, unless a checkpoint has brought them.

        Raises:
            ValueError: if the training pairs do not differ.
        """
        if not self.batches_done:
            self.basis.load_state_dict(self.cut.fit_to_edits(self.trainer, self.device))

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step on the squared error, as a share of the edit's."""
        with self.turn("generator"):
            error = F.mse_loss(self.network(batch["image"]), batch["target"])
            loss = error / self.basis.eigenvalues.mean()
            self.log_terms({"train/output": loss.detach()}, bar=True)
            self.step("generator", loss)

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The portrait before the edit."""
        return Restored(self.network(batch["image"]).clamp(0, 1))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Stochastic gradient descent with momentum, as for the CRN."""
        rate = self.learning_rate
        return [torch.optim.SGD(self.network.parameters(), rate, momentum=0.9, weight_decay=1e-4)]


@final
class PerceptualRegression(Training):
    """A network trained by the perception loss: distance of features, and a discriminator.

    Deviation: the paper gives no details of its perception baseline; features and weights are
    those of the work that it cites, and the discriminator is this suite's own.

    Args:
        network: gives the restored image, not clamped.
        discriminator: judges images; it gets a mask of zeros.
        features: of which the last map is compared.
        cut: as in `Regression`.
        perception: weights of the two terms.
        max_batches: batches in the whole run.
        learning_rate: of Adam at the start; falls by a polynomial.
        measures: what its tables hold beside PSNR and SSIM.
    """

    players = ("generator", "discriminator")
    frozen = ("features",)

    def __init__(
        self,
        network: nn.Module,
        discriminator: PixelDiscriminator,
        features: nn.Module,
        cut: Cut = Cut(),
        perception: Perception = Perception(),
        max_batches: PositiveInt = 40_000,
        learning_rate: PositiveFloat = 1e-4,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, schedule=polynomial)
        self.network, self.discriminator, self.features = network, discriminator, features
        self.cut, self.perception = cut, perception
        self.basis, _ = cut.unfitted()
        self.scores = Scores(measures, basis=self.basis)
        self.exhibits.append(ComponentCurves(self.basis, self.scores.output.improvement))
        if not features.comparable:
            self.caveat = "perceptual loss: on untrained features; not comparable with the paper."

    def on_fit_start(self) -> None:
        """Fits the components of the edit, unless a checkpoint has brought them.

        Raises:
            ValueError: if the training pairs do not differ.
        """
        if not self.batches_done:
            self.basis.load_state_dict(self.cut.fit_to_edits(self.trainer, self.device))

    def train_batch(self, batch: dict[str, Any]) -> None:
        """The network's turn, then the discriminator's."""
        image, target = batch["image"], batch["target"]
        with self.turn("generator"):
            output = self.network(image)
            self.step("generator", self.perception_loss(output, target))
        with self.turn("discriminator"):
            self.step("discriminator", self.discriminator_loss(output.detach(), target))

    def perception_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Content and adversarial loss, weighted."""
        content = F.mse_loss(self.features(output)[-1], self.features(target)[-1])
        game = generator_adversarial(self._judge(output))
        self.log_terms({"train/content": content.detach(), "train/gan": game.detach()}, bar=True)
        return self.perception.content * content + self.perception.adversarial * game

    def discriminator_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Originals are real, outputs are not."""
        loss = discriminator_adversarial(self._judge(target), self._judge(output))
        self.log_terms({"train/discriminator": loss.detach()}, bar=True)
        return loss

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The portrait before the edit."""
        return Restored(self.network(batch["image"]).clamp(0, 1))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for both players."""
        sides = self.network.parameters(), self.discriminator.parameters()
        return [torch.optim.Adam(side, self.learning_rate) for side in sides]

    def _judge(self, image: Tensor) -> Tensor:
        return self.discriminator(image, torch.zeros_like(image[:, :1]))
