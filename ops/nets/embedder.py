"""Face embedder: an image classifier's trunk from timm with a head that gives a short vector.

It takes FaceNet's place (Schroff et al., CVPR 2015), whose weights were never published, in the
inversion paper, in NASFE and as the judge of identity.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.features import timm_network

_SMALLEST = 16  # pixels; trunks halve the size four or five times


class Embedder(nn.Module):
    """Who is on a photograph, as a vector: its direction tells people apart.

    The trunk's last map is averaged over its pixels, projected and normalised by a BatchNorm over
    the batch, as face recognition usually ends (ArcFace, Section 3.1).

    Args:
        backbone: timm's name of the trunk; it starts untrained.
        dimensions: length d of the vector; FaceNet has 128.
        size: side in pixels that every image is brought to, so that an embedder means the same for
            images of any size.
        view: share of the image's sides that is looked at, in its middle; below 1 for frames that
            hold much besides the face, as FFHQ's do.

    Raises:
        ValueError: if timm has no such trunk, or a number is out of its range.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        dimensions: int = 128,
        size: int = 112,
        view: float = 1.0,
    ) -> None:
        super().__init__()
        if dimensions < 2 or size < _SMALLEST or not 0 < view <= 1:
            raise ValueError(
                f"dimensions must be 2 or more, size {_SMALLEST} or more and view in (0, 1], "
                f"got {dimensions}, {size} and {view}"
            )
        self.dimensions, self.size, self.view = dimensions, size, view
        self.comparable = False  # until trained weights are loaded
        self.origin = f"{backbone} of our own"  # whoever loads weights adds which
        self.trunk = _trunk(backbone)
        self.names: Final = tuple(str(info["module"]) for info in self.trunk.feature_info)
        self.projection = nn.Linear(self.trunk.num_features, dimensions, bias=False)
        self.norm = nn.BatchNorm1d(dimensions)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding of images in [0, 1], unnormalised."""
        maps = self.trunk.forward_features(self._seen(image))
        return self.norm(self.projection(maps.mean((2, 3))))

    def normalised(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding at length 1, in float32; products of two are the cosine similarity."""
        return F.normalize(self(image).float())

    def activations(
        self, image: Float[Tensor, "b 3 h w"], names: Sequence[str]
    ) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """The maps of the trunk's layers called `names`, for images in [0, 1].

        Args:
            image: to look at.
            names: some of the attribute `names`, which lists the layers from the finest map to the
                coarsest.

        Raises:
            ValueError: if there is no layer of a name.
        """
        unknown = sorted(set(names) - set(self.names))
        if unknown or not names:
            raise ValueError(f"activations are those of {', '.join(self.names)}; got {list(names)}")
        found: dict[str, Tensor] = {}
        modules = dict(self.trunk.named_modules())
        hooks = [modules[k].register_forward_hook(partial(_keep, found, k)) for k in names]
        try:
            self.trunk.forward_features(self._seen(image))
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def frozen(self) -> "FrozenEmbedder":
        """This network as a judge; its parameters take no gradients from now on."""
        return FrozenEmbedder(self)

    def _seen(self, image: Tensor) -> Tensor:
        """What the trunk gets of an image: its middle at the size, in [-1, 1]."""
        if self.view < 1:
            image = _middle(image, self.view)
        if image.shape[-2:] != (self.size, self.size):
            shape = (self.size, self.size)
            image = F.interpolate(image, shape, mode="bilinear", antialias=True)
        return image * 2 - 1


@final
class FrozenEmbedder(nn.Module):
    """An embedder that judges: nothing of it changes, and gradients reach the image alone.

    It stays in evaluation even where the network that it is part of is put into training.

    Args:
        embedder: shared, not copied; its parameters take no gradients from now on.
    """

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder.requires_grad_(False)
        self.eval()

    @property
    def comparable(self) -> bool:
        """Whether the embedder is trained."""
        return self.embedder.comparable

    @property
    def origin(self) -> str:
        """Which network it is, and whose weights it has."""
        return self.embedder.origin

    @property
    def dimensions(self) -> int:
        """The length of an embedding."""
        return self.embedder.dimensions

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding of images in [0, 1], unnormalised."""
        return self._in_evaluation()(image)

    def normalised(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding at length 1, in float32."""
        return self._in_evaluation().normalised(image)

    def activations(
        self, image: Float[Tensor, "b 3 h w"], names: Sequence[str]
    ) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """The maps of the layers called `names`; see `Embedder.activations`.

        Raises:
            ValueError: if there is no layer of a name.
        """
        return self._in_evaluation().activations(image, names)

    def _in_evaluation(self) -> Embedder:
        return self.embedder.eval()  # whoever holds this one may have called train() on the whole


def _trunk(name: str) -> Any:
    trunk = timm_network(name, num_classes=0)
    if not getattr(trunk, "feature_info", None):
        raise ValueError(f"timm's '{name}' does not name its layers; choose a convolutional one")
    return trunk


def _middle(image: Tensor, share: float) -> Tensor:
    height, width = (max(1, round(side * share)) for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def _keep(found: dict[str, Tensor], name: str, _: nn.Module, __: object, output: Tensor) -> None:
    found[name] = output
