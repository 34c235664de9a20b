"""Training of ISPL, restoration by implicit subspace priors (Yang et al., 2020)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from lightning_modules.base import Restored, Training
from lightning_modules.measures import Measures
from lightning_modules.schedules import held_then_linear
from lightning_modules.subspaces import Enlargements, Strengths, Subspaces
from ops.losses.feature_matching import VGG_WEIGHTS, feature_matching, perceptual_distance
from ops.losses.least_squares import least_squares_discriminator, least_squares_generator
from ops.nets.ispl import ISPL
from ops.nets.patch_discriminator import Judgement, MultiScaleDiscriminator


@dataclass(frozen=True)
class Terms:
    """The constants of ISPL's losses; the defaults are the paper's, or its released code's.

    Attributes:
        adversarial: factor on L_GAN, of which the paper has none.
        matching: lambda_FM, weight of the discriminator's features.
        perceptual: lambda_perc, weight of the frozen network's features.
        layers: weights of that network's maps inside L_perc.
        distance: of two maps, in both; see `ops.losses.feature_matching.feature_distance`.
    """

    adversarial: NonNegativeFloat = 1.0
    matching: NonNegativeFloat = 10.0
    perceptual: NonNegativeFloat = 10.0
    layers: tuple[float, ...] = VGG_WEIGHTS
    distance: Callable[[Tensor, Tensor], Tensor] = F.l1_loss


@dataclass(frozen=True)
class Recipe:
    """How Adam moves the two players; the defaults are the paper's (Section 4.1).

    The released code has two time scales instead: a generator's rate of 1e-4, `ratio` 4 and
    `betas` (0, 0.9).

    Attributes:
        betas: of Adam, for both players.
        ratio: the discriminator's learning rate as a multiple of the generator's.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    ratio: PositiveFloat = 1.0


@final
class SubspaceRestoration(Training):
    """A network that restores degraded faces, against discriminators that see what it was given.

    Nothing compares pixels: the network is moved by the discriminators, by their features and by
    a frozen network's (Eq. 13).

    A prior that needs parsing maps finds them under "parsing" in a batch, in evaluation too. The
    pictures of subspaces, strengths and enlargements that a test makes beside its table know images
    alone; with such a prior they are left out.

    Args:
        network: E_LQ, F and G_HQ.
        discriminator: D, which judges an image beside the degraded one.
        features: Phi of L_perc, VGG-19 in the paper.
        terms: constants of the losses.
        recipe: of the two optimisers.
        max_batches: batches in the whole run.
        learning_rate: of the generator; constant for three fifths of the run, then falls linearly.
        measures: what its tables hold beside PSNR and SSIM.
    """

    players = ("generator", "discriminator")
    frozen = ("features",)

    def __init__(
        self,
        network: ISPL,
        discriminator: MultiScaleDiscriminator,
        features: nn.Module,
        terms: Terms = Terms(),
        recipe: Recipe = Recipe(),
        max_batches: PositiveInt = 500_000,
        learning_rate: PositiveFloat = 2e-4,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, measures=measures, schedule=held_then_linear)
        self.network, self.discriminator, self.features = network, discriminator, features
        self.terms, self.recipe = terms, recipe
        self.ratios = {"discriminator": float(recipe.ratio)}
        if not features.comparable:
            self.caveat = "perceptual loss: on untrained features; not comparable with the paper."
        if network.prior.needs_parsing:
            return
        levels = network.multiple.bit_length()  # each but the first doubles it
        self.exhibits += [
            Subspaces(self.restore_holding, levels),
            Strengths(self.restore_guided),
            Enlargements(lambda image: self.restore({"image": image}).image),
        ]

    def train_batch(self, batch: dict[str, Any]) -> None:
        """The network's turn, then the discriminators' on what it gave."""
        image, target = batch["image"], batch["target"]
        with self.turn("generator"):
            output = _precise(self.network(image, batch.get("parsing")))
            self.step("generator", self.generator_loss(image, output, target))
        with self.turn("discriminator"):
            self.step("discriminator", self.discriminator_loss(image, output.detach(), target))

    def generator_loss(self, image: Tensor, output: Tensor, target: Tensor) -> Tensor:
        """L_full = L_GAN + lambda_FM L_FM + lambda_perc L_perc (Eq. 13)."""
        terms = self.terms
        with torch.no_grad():
            real = self.discriminator(target, image)
        fake = self.discriminator(output, image)
        game = least_squares_generator(_logits(fake))
        matching = feature_matching(_maps(fake), _maps(real), terms.distance)
        perceptual = self.perceptual_loss(output, target)
        named = {"gan": game, "features": matching, "perceptual": perceptual}
        self.log_terms({f"train/{name}": loss.detach() for name, loss in named.items()}, bar=True)
        return terms.adversarial * game + terms.matching * matching + terms.perceptual * perceptual

    def perceptual_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """L_perc (Eq. 12), without its factor."""
        terms = self.terms
        return perceptual_distance(output, target, self.features, terms.layers, terms.distance)

    def discriminator_loss(self, image: Tensor, output: Tensor, target: Tensor) -> Tensor:
        """L_GAN (Eq. 11): targets are real, outputs are not, each beside its degraded image."""
        real = _logits(self.discriminator(target, image))
        loss = least_squares_discriminator(real, _logits(self.discriminator(output, image)))
        self.log_terms({"train/discriminator": loss.detach()}, bar=True)
        return loss

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The face without its degradation."""
        return Restored(_precise(self.network(batch["image"], batch.get("parsing"))).clamp(0, 1))

    def restore_holding(self, image: Tensor, held: Collection[int]) -> Tensor:
        """What comes out while the guidance of some levels, 0 the innermost, is held (Fig. 5)."""
        return _precise(self.network(image, held=held)).clamp(0, 1)

    def restore_guided(self, image: Tensor, strength: float) -> Tensor:
        """What comes out of guidance that is multiplied by `strength`; this is ours."""
        return _precise(self.network(image, strength=strength)).clamp(0, 1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for both players."""
        first, second = self.recipe.betas
        sides = self.network.parameters(), self.discriminator.parameters()
        return [torch.optim.Adam(side, self.learning_rate, (first, second)) for side in sides]


def _precise(image: Tensor) -> Tensor:
    """The image in float32 at least: losses of half precision would be rounded too far."""
    return image.to(torch.promote_types(image.dtype, torch.float32))


def _logits(judgements: list[Judgement]) -> list[Tensor]:
    return [judgement.logits for judgement in judgements]


def _maps(judgements: list[Judgement]) -> list[list[Tensor]]:
    return [judgement.maps for judgement in judgements]
