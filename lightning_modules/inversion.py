"""Inversion of face embeddings (Zhmoginov and Sandler, 2016): step by step, or in one pass.

Taking a face back out of its embedding is an attack on face templates. It is here to audit how much
of a face a template leaks; the photographs are to be of people who agreed to that.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from lightning_modules.inversion_base import Inversion
from lightning_modules.inversion_loss import Aim, Terms
from lightning_modules.inversion_scores import Embedders
from ops.kernels.laplacian import normalise_gradient
from ops.nets.inverter import GuidedInverter, Inverter

TERMS: Final = Terms()
"""The loss without a guide."""

_NOISE = 0.1  # standard deviation of a start from noise

Optimizer = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]


def adam(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Adam as it is published."""
    return torch.optim.Adam(parameters, rate)


def gradient_descent(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Gradient descent without momentum."""
    return torch.optim.SGD(parameters, rate)


def from_guide(guides: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - none drawn
    """The guides themselves (Fig. 1 f)."""
    return guides.clone()


def from_noise(guides: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise around grey, of the guides' shape, in [0, 1] (Fig. 1 c)."""
    noise = torch.randn(guides.shape, generator=generator)
    return (0.5 + _NOISE * noise).clamp(0, 1)


def balanced(gradient: Tensor) -> Tensor:
    """The gradient with its bands equally strong: Laplacian-pyramid normalisation (Section 3)."""
    return normalise_gradient(gradient)  # itself wrapped, which settings could not name


def unchanged(gradient: Tensor) -> Tensor:
    """The gradient as it is."""
    return gradient


@final
class IterativeInversion(Inversion):
    """Images that are moved, step by step, until their embeddings are the targets' (Section 3).

    The images of all targets and guides are one parameter and move side by side, none of them
    seeing another; a batch of the run is a step. After each step they are put back into [0, 1].

    Args:
        embedders: the one that is inverted, and those that judge.
        terms: of the loss.
        start: gives the first images, of guides (n, k, 3, h, w) and a seeded generator.
        gradient: what becomes of an image's gradient, `balanced` or `unchanged`.
        optimizer: of the images.
        max_batches: steps; the paper speaks of hundreds or even thousands.
        learning_rate: at the start; falls to zero along a cosine.
    """

    images: nn.Parameter | None

    def __init__(
        self,
        embedders: Embedders,
        terms: Terms = TERMS,
        start: Callable[[Tensor, torch.Generator], Tensor] = from_guide,
        gradient: Callable[[Tensor], Tensor] = unchanged,
        optimizer: Optimizer = adam,
        max_batches: PositiveInt = 1000,
        learning_rate: PositiveFloat = 0.015,
    ) -> None:
        super().__init__(embedders, terms, max_batches, learning_rate)
        self.start, self.gradient, self.optimizer = start, gradient, optimizer
        self.register_parameter("images", None)
        self._aim: Aim | None = None

    def setup(self, stage: str) -> None:
        """Makes the images, of the shape of the data's guides, unless they are there.

        Raises:
            ValueError: if the data are not the same targets in every batch.
        """
        if self.images is not None:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "targets"):
            raise ValueError(
                f"the images of an iterative inversion belong to fixed targets, got data of "
                f"{type(data).__name__}: take datamodules.targets.Targets"
            )
        guides = data.targets["guides"]
        first = self.start(guides, torch.Generator().manual_seed(self.seed))
        self.images = nn.Parameter(first.flatten(0, 1).to(self.device))
        self.images.register_hook(self.gradient)

    def restart(self) -> None:
        """Forgets the images and the steps taken, so that the next fit is of other targets."""
        self.images, self._aim, self.batches_done = None, None, 0

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step of all images."""
        images = self._made()
        if self._aim is None:  # the batch is always the same
            aim = self.loss.aim(batch["image"], batch["guides"])
            self._aim = aim.repeated(batch["guides"].shape[1])
        with self.turn("solver"):
            losses = self.loss(images, self._aim, self.batches_done / self.max_batches)
            self.log_losses(losses)
            self.step("solver", losses.total.sum())
        with torch.no_grad():
            images.clamp_(0, 1)

    def invert(self, batch: Mapping[str, Any], aim: Aim) -> Tensor:
        """The images as they are by now."""
        return self._made().detach().unflatten(0, batch["guides"].shape[:2])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimiser that was asked for."""
        return [self.optimizer([self._made()], self.learning_rate)]

    def _made(self) -> nn.Parameter:
        assert self.images is not None, "setup comes first"
        return self.images


@final
class FeedForwardInversion(Inversion):
    """A network that takes faces out of embeddings in one pass, trained by the same loss.

    A training batch gives photographs, whose embeddings are inverted, and guides; nothing of a
    photograph but its embedding is seen.

    Deviation: the paper trains on random embeddings and does not say of what distribution. Here
    they are those of photographs: random numbers are no face's embedding.

    Args:
        embedders: the one that is inverted, and those that judge.
        network: from embeddings to images, or from embeddings and guides.
        terms: of the loss.
        max_batches: batches in the whole run.
        learning_rate: of Adam at the start; falls to zero along a cosine.
        clip_norm: largest norm of the gradient; 0 leaves it as it is.

    Raises:
        ValueError: if the network is made for embeddings of another length.
    """

    def __init__(
        self,
        embedders: Embedders,
        network: Inverter | GuidedInverter,
        terms: Terms = TERMS,
        max_batches: PositiveInt = 100_000,
        learning_rate: PositiveFloat = 1e-3,
        clip_norm: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__(embedders, terms, max_batches, learning_rate, clip_norm)
        dimensions = embedders.inverted.dimensions
        if network.dimensions != dimensions:
            raise ValueError(
                f"the embedder gives {dimensions} numbers and the network takes "
                f"{network.dimensions}: set network.dimensions to {dimensions}"
            )
        self.network = network

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step of the network."""
        guides = batch["guides"]
        aim = self.loss.aim(batch["image"], guides)
        with self.turn("solver"):
            made = self.invert(batch, aim).flatten(0, 1).float()
            repeated = aim.repeated(guides.shape[1])
            losses = self.loss(made, repeated, self.batches_done / self.max_batches)
            self.log_losses(losses)
            self.step("solver", losses.total.mean())

    def invert(self, batch: Mapping[str, Any], aim: Aim) -> Tensor:
        """The network's images."""
        guides = batch["guides"]
        embedding = aim.repeated(guides.shape[1]).embedding
        if isinstance(self.network, GuidedInverter):
            made = self.network(embedding, guides.flatten(0, 1))
        else:
            made = self.network(embedding)
        return made.unflatten(0, guides.shape[:2])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        return [torch.optim.Adam(self.network.parameters(), self.learning_rate)]
