"""Maps of a face embedder, in the form that the networks of ops.nets.features give theirs."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Activated(Protocol):
    """A face embedder that shows what its layers see; its frozen form is wanted here."""

    comparable: bool

    def activations(self, image: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """The maps of the layers called `names`."""
        ...


class EmbedderMaps(nn.Module):
    """Feature maps of an embedder that is trained to tell people apart; nothing of it changes.

    Embedders bring every image to a size of their own, so the size of the maps is always the same.

    Args:
        embedder: `ops.nets.facenet.FaceNet`, or what `lightning_modules.embedder.trained_embedder`
            makes of a run's checkpoint.
        layers: names of its layers.

    Raises:
        TypeError: if the embedder shows no activations.
    """

    def __init__(self, embedder: nn.Module, layers: tuple[str, ...]) -> None:
        super().__init__()
        if not isinstance(embedder, Activated):
            raise TypeError(f"{type(embedder).__name__} does not show the maps of its layers")
        self.comparable, self.layers = embedder.comparable, layers
        self.embedder = embedder.requires_grad_(False).eval()
        self._activations = embedder.activations

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of the chosen layers, in their order; the image in [0, 1].

        Raises:
            ValueError: if there is no layer of a name.
        """
        found = self._activations(image, self.layers)
        return [found[name] for name in self.layers]
