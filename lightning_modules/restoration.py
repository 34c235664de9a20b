"""Training of common restoration networks: by a distance of pixels, or against a discriminator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from lightning_modules.base import Restored, Training
from lightning_modules.measures import Measures
from lightning_modules.schedules import cosine
from ops.losses.adversarial import discriminator_adversarial, generator_adversarial
from ops.losses.relativistic import relativistic_discriminator, relativistic_generator

Distance = Callable[[Tensor, Tensor], Tensor]


class Game(Protocol):
    """What the network and a discriminator play for."""

    def network_loss(self, judge: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """What the network minimises, of its outputs."""

    def judge_loss(self, judge: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """What the discriminator minimises, of outputs that are detached from the network."""


@dataclass(frozen=True)
class Plain:
    """Targets are real and outputs are not, each judged by itself (SRGAN)."""

    def network_loss(self, judge: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """Outputs are to be taken for real; the targets are not looked at."""
        return generator_adversarial(judge(output))

    def judge_loss(self, judge: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """Targets are real, outputs are not."""
        return discriminator_adversarial(judge(target), judge(output))


@dataclass(frozen=True)
class RelativisticAverage:
    """Targets are more real than outputs on average, and the other way round (ESRGAN)."""

    def network_loss(self, judge: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """Outputs are to be taken for more real than the targets."""
        with torch.no_grad():
            real = judge(target)
        return relativistic_generator(real, judge(output))

    def judge_loss(self, judge: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """Targets are to be taken for more real than the outputs."""
        return relativistic_discriminator(judge(target), judge(output))


@dataclass(frozen=True)
class Terms:
    """The constants of an adversarial restoration; the defaults are SRGAN's.

    Attributes:
        game: what network and discriminator play for, `Plain` or `RelativisticAverage`.
        pixel: factor on the distance of pixels, once the game has begun.
        content: factor on the distance of features.
        adversarial: factor on the game.
        pixel_distance: of two images.
        content_distance: of two maps of features.
        pretraining: share of the run before the game begins, in which the distance of pixels
            alone moves the network.
    """

    game: Game
    pixel: NonNegativeFloat = 0.0
    content: NonNegativeFloat = 0.006
    adversarial: NonNegativeFloat = 1e-3
    pixel_distance: Distance = F.mse_loss
    content_distance: Distance = F.mse_loss
    pretraining: ClosedUnitInterval = 0.0


@final
class Restoration(Training):
    """A network that is moved by nothing but the distance of its output from the target.

    Args:
        network: gives the restored image, not clamped.
        distance: of two images, (b, 3, h, w).
        betas: of Adam.
        max_batches: batches in the whole run.
        learning_rate: at the start; falls along the schedule.
        clip_norm: largest norm of the gradient; 0 leaves it as it is.
        measures: what its tables hold beside PSNR and SSIM.
        schedule: of the learning rate, see `lightning_modules.schedules`.
    """

    def __init__(
        self,
        network: nn.Module,
        distance: Distance = F.mse_loss,
        betas: tuple[float, float] = (0.9, 0.999),
        max_batches: PositiveInt = 500_000,
        learning_rate: PositiveFloat = 1e-4,
        clip_norm: NonNegativeFloat = 0.0,
        measures: Measures = Measures(),
        schedule: Callable[[float], float] = cosine,
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm, measures, schedule)
        self.network, self.distance, self.betas = network, distance, betas

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step down the distance from the target."""
        with self.turn("generator"):
            output = _precise(self.network(batch["image"]))
            self.step("generator", self.pixel_loss(output, batch["target"]))

    def pixel_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The distance of the images."""
        loss = self.distance(output, target)
        self.log_terms({"train/pixels": loss.detach()}, bar=True)
        return loss

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The image without its degradation."""
        return Restored(_precise(self.network(batch["image"])).clamp(0, 1))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        first, second = self.betas
        return [torch.optim.Adam(self.network.parameters(), self.learning_rate, (first, second))]


@final
class AdversarialRestoration(Training):
    """SRGAN, ESRGAN and the like: pixels first, then features and a game against a discriminator.

    Deviation: both papers train a network by pixels in a run of its own and start the game from
    its weights. Here one run does both, and Adam keeps its moments from the first part to the
    second.

    Args:
        network: gives the restored image, not clamped.
        discriminator: gives a logit for each image or part of it.
        features: of which the last map is compared.
        terms: constants of the losses, and the game.
        max_batches: batches in the whole run.
        learning_rate: of Adam, for both players; falls along the schedule.
        measures: what its tables hold beside PSNR and SSIM.
        schedule: of the learning rate, see `lightning_modules.schedules`.
    """

    players = ("generator", "discriminator")
    frozen = ("features",)

    def __init__(
        self,
        network: nn.Module,
        discriminator: nn.Module,
        features: nn.Module,
        terms: Terms,
        max_batches: PositiveInt = 500_000,
        learning_rate: PositiveFloat = 1e-4,
        measures: Measures = Measures(),
        schedule: Callable[[float], float] = cosine,
    ) -> None:
        super().__init__(max_batches, learning_rate, measures=measures, schedule=schedule)
        self.network, self.discriminator, self.features = network, discriminator, features
        self.terms, self.pretraining = terms, round(terms.pretraining * self.max_batches)
        if not features.comparable:
            self.caveat = "perceptual loss: on untrained features; not comparable with the paper."

    def train_batch(self, batch: dict[str, Any]) -> None:
        """The network's turn, and once the game has begun the discriminator's."""
        playing = self.batches_done >= self.pretraining
        if self.batches_done == self.pretraining:
            self.guard.history.clear()  # another loss: its size says nothing of the one before
        image, target = batch["image"], batch["target"]
        with self.turn("generator"):
            output = _precise(self.network(image))
            loss = self.network_loss if playing else self.pixel_loss
            self.step("generator", loss(output, target))
        if playing:
            with self.turn("discriminator"):
                self.step("discriminator", self.discriminator_loss(output.detach(), target))

    def pixel_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The distance of the images."""
        loss = self.terms.pixel_distance(output, target)
        self.log_terms({"train/pixels": loss.detach()}, bar=True)
        return loss

    def network_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Pixels, content and game, weighted (SRGAN Eq. 3, ESRGAN Eq. 3)."""
        terms = self.terms
        pixels, content = self.pixel_loss(output, target), self.content_loss(output, target)
        game = terms.game.network_loss(self.discriminator, output, target)
        self.log_terms({"train/content": content.detach(), "train/gan": game.detach()}, bar=True)
        return terms.pixel * pixels + terms.content * content + terms.adversarial * game

    def content_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The distance of the features' last maps, without its factor."""
        with torch.no_grad():
            wanted = self.features(target)[-1]
        return self.terms.content_distance(self.features(output)[-1], wanted)

    def discriminator_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """What the discriminator minimises in its game, of outputs without their gradient."""
        loss = self.terms.game.judge_loss(self.discriminator, output, target)
        self.log_terms({"train/discriminator": loss.detach()}, bar=True)
        return loss

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The image without its degradation."""
        return Restored(_precise(self.network(batch["image"])).clamp(0, 1))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for both players, with the moments of torch, which are both papers'."""
        sides = self.network.parameters(), self.discriminator.parameters()
        return [torch.optim.Adam(side, self.learning_rate) for side in sides]


def _precise(image: Tensor) -> Tensor:
    """The image in float32 at least: losses of half precision would be rounded too far."""
    return image.to(torch.promote_types(image.dtype, torch.float32))
