"""Training of RetouchFormer (Xie et al., AAAI 2024), semi-supervised."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from lightning_modules.base import Restored, Training
from lightning_modules.measures import Measures
from ops.kernels.quantize import Codebook, perplexity
from ops.losses.adversarial import discriminator_adversarial, generator_adversarial
from ops.losses.consistency import consistency
from ops.losses.mask import (
    image_difference,
    imperfection,
    mask_confidence,
    mask_regression,
)
from ops.nets.discriminator import PixelDiscriminator
from ops.nets.prior import Reconstruction
from ops.nets.retouchformer import RetouchFormer as Network

Batch = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Terms:
    """The constants of RetouchFormer's losses; the defaults are the paper's.

    Attributes:
        eta: weight of the pixels in L_con_rec.
        zeta: weight of the pixels in L_con_x2y.
        agreement: lambda, weight of the unpaired images in L_H.
        momentum: mu of the teacher.
        prior: factor on L_prior and L_con_rec; 0 leaves the prior untrained.
        mask: factor on both losses of the mask.
        output: factor on L_con_x2y.
        adversarial: factor on L_adv_syn.
    """

    eta: NonNegativeFloat = 10.0
    zeta: NonNegativeFloat = 10.0
    agreement: NonNegativeFloat = 0.5
    momentum: NonNegativeFloat = 0.99
    prior: NonNegativeFloat = 1.0
    mask: NonNegativeFloat = 1.0
    output: NonNegativeFloat = 1.0
    adversarial: NonNegativeFloat = 1.0


class Faces(NamedTuple):
    """Raw and retouched images; the first `pairs` of both belong together."""

    raw: Tensor
    retouched: Tensor
    pairs: int


class Seen(NamedTuple):
    """What the networks make of a batch."""

    reconstruction: Reconstruction  # of the retouched images
    logits: Tensor  # of the mask's student, on the raw images
    raw_mask: Tensor  # of the mask's teacher
    retouched_mask: Tensor
    restored: Tensor  # from the raw images, not clamped


@final
class RetouchFormer(Training):
    """Prior, mask and retouching trained jointly, against a discriminator that sees the mask.

    The paper writes four optimisations, over {P, R}, {H}, {E, T, G} and {D}; L_prior and L_con_rec
    stand in the first and the third. The first three share one optimiser here: their parameters
    are disjoint and each term is detached from the parts it must not move, so that the gradient of
    the terms' sum is each part's own.

    A batch is a pair and an unpaired face for each process, so that both halves of the losses are
    there in every step; the paper's batch of one image does not say which.

    Args:
        network: E, P, R, H, T and G.
        discriminator: D.
        features: V, whose maps measure perceptual distance.
        terms: constants of the losses.
        max_batches: batches in the whole run.
        learning_rate: of Adam at the start; falls along a cosine.
        clip_norm: largest norm of a player's gradient; 0 leaves gradients as they are.
        measures: what its tables hold beside PSNR and SSIM.
    """

    players = ("generator", "discriminator")
    masked = True
    frozen = ("features",)

    def __init__(
        self,
        network: Network,
        discriminator: PixelDiscriminator,
        features: nn.Module,
        terms: Terms = Terms(),
        max_batches: PositiveInt = 300_000,
        learning_rate: PositiveFloat = 2e-4,
        clip_norm: NonNegativeFloat = 0.0,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm, measures)
        self.network, self.discriminator, self.features = network, discriminator, features
        self.terms = terms
        if not features.comparable:
            self.caveat = "perceptual loss: on untrained features; not comparable with the paper."

    def prepare_data(self) -> None:
        """Looks at the size of the pictures before anything is read.

        Raises:
            ValueError: if the network cannot take it.
        """
        size = getattr(getattr(self.trainer, "datamodule", None), "size", None)
        if size is not None and size % (multiple := self.network.multiple(size)):
            raise ValueError(f"data.init_args.size must be a multiple of {multiple}, got {size}")

    def train_batch(self, batch: Batch) -> None:
        """The paper's joint minimisation, the discriminator's turn, and the teacher's."""
        faces = _faces(batch)
        with self.turn("generator"):
            seen = self.see(faces)
            self.step("generator", self.generator_loss(faces, seen))
        with self.turn("discriminator"):
            self.step("discriminator", self.discriminator_loss(faces, seen))
        self.network.update_teacher(self.terms.momentum)
        self.refresh_dictionary(seen.reconstruction)

    def see(self, faces: Faces) -> Seen:
        """Everything that the losses need, from one pass of each network."""
        network = self.network
        retouched = network.reconstruct(faces.retouched, network.encode(faces.retouched))
        features = network.encode(faces.raw)
        with torch.no_grad():
            clean = network.reconstruct(faces.raw, features).image
        mask = network.soft_mask(faces.raw, clean)
        return Seen(
            retouched,
            network.mask_logits(faces.raw, clean),
            mask,
            network.soft_mask(faces.retouched, retouched.image),
            network.retouch(faces.raw, features, mask),
        )

    def refresh_dictionary(self, retouched: Reconstruction) -> None:
        """Puts features of retouched faces in the place of codes that fell out of use."""
        codebook = self.network.prior.codebook
        assert isinstance(codebook, Codebook)
        used = perplexity(retouched.quantized.indices, len(codebook.codes))
        self.log_terms({"train/perplexity": used})
        if self.terms.prior > 0:
            codebook.restart_dead_codes(retouched.encoded, retouched.quantized.indices)

    def generator_loss(self, faces: Faces, seen: Seen) -> Tensor:
        """L_prior + L_con_rec + L_Hbar + L_H + L_con_x2y + L_adv_syn."""
        terms = self.terms
        losses = {
            "prior": terms.prior * seen.reconstruction.quantized.loss,
            "reconstruction": terms.prior * self.reconstruction_loss(faces, seen),
            "mask": terms.mask * self.mask_loss(faces, seen),
            "output": terms.output * self.output_loss(faces, seen),
            "gan": terms.adversarial * self.adversarial_loss(seen),
        }
        self.log_terms({f"train/{name}": loss.detach() for name, loss in losses.items()}, bar=True)
        return torch.stack(list(losses.values())).sum()

    def reconstruction_loss(self, faces: Faces, seen: Seen) -> Tensor:
        """L_con_rec: retouched images against their reconstructions from the dictionary."""
        rebuilt = seen.reconstruction.image
        return consistency(rebuilt, faces.retouched, self.features, self.terms.eta)

    def mask_loss(self, faces: Faces, seen: Seen) -> Tensor:
        """L_Hbar + L_H: the student against the pairs' differences, and against its teacher."""
        raw, retouched = faces.raw[: faces.pairs], faces.retouched[: faces.pairs]
        paired, unpaired = seen.logits[: faces.pairs], seen.logits[faces.pairs :]
        teacher = seen.raw_mask[faces.pairs :]
        regression = mask_regression(paired, image_difference(raw, retouched))
        label = imperfection(raw, retouched)
        return regression + mask_confidence(paired, label, unpaired, teacher, self.terms.agreement)

    def output_loss(self, faces: Faces, seen: Seen) -> Tensor:
        """L_con_x2y: outputs of the pairs against their retouched images."""
        output, target = seen.restored[: faces.pairs], faces.retouched[: faces.pairs]
        return consistency(output, target, self.features, self.terms.zeta)

    def adversarial_loss(self, seen: Seen) -> Tensor:
        """L_adv_syn: outputs, paired or not, should look retouched to the discriminator."""
        return generator_adversarial(self.discriminator(seen.restored, seen.raw_mask))

    def discriminator_loss(self, faces: Faces, seen: Seen) -> Tensor:
        """L_adv_disc: retouched images are real, outputs and raw images are not."""
        loss = discriminator_adversarial(
            self.discriminator(faces.retouched, seen.retouched_mask),
            self.discriminator(seen.restored.detach(), seen.raw_mask),
            self.discriminator(faces.raw, seen.raw_mask),
        )
        self.log_terms({"train/discriminator": loss.detach()}, bar=True)
        return loss

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The retouched image and the soft mask."""
        retouched = self.network(batch["image"])
        return Restored(retouched.restored.clamp(0, 1), retouched.mask)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for the generator side and for the discriminator."""
        sides: tuple[Iterable[nn.Parameter], ...] = (
            (p for p in self.network.parameters() if p.requires_grad),
            self.discriminator.parameters(),
        )
        return [torch.optim.Adam(side, self.learning_rate) for side in sides]


def _faces(batch: Batch) -> Faces:
    parts = [batch["paired"], *([batch["unpaired"]] if "unpaired" in batch else [])]
    raw, retouched = (torch.cat([part[key] for part in parts]) for key in ("image", "target"))
    return Faces(raw, retouched, len(batch["paired"]["image"]))
