"""What an inversion of face embeddings minimises (Zhmoginov and Sandler, 2016), for any solver.

Taking a face back out of its embedding is an attack on face templates. It is here to audit how much
of a face a template leaks; the photographs are to be of people who agreed to that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, final

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from ops.kernels.laplacian import LEVELS
from ops.losses.embedding import Distance, squared_distance
from ops.losses.gaussian_activation import GaussianActivation
from ops.losses.guidance import guiding_distance
from ops.losses.mirror import mirror_asymmetry
from ops.losses.spectrum import NATURAL, pyramid_spectrum
from ops.losses.total_variation import decaying_weight, total_variation

_PROBE = 64  # pixels a side of the image that tells how large a layer's maps are


@dataclass(frozen=True)
class Smoothness:
    """The total variation's part in the loss.

    Attributes:
        weight: w_TV at the start; 0 leaves it out. Images are in [0, 1]; the paper does not say
            in what units its weights are.
        last: share of it at the end of the run, above 0; 1 for a weight that stays.
        alpha: its exponent.

    Raises:
        ValueError: if `last` is 0, which a weight that falls by factors does not reach.
    """

    weight: NonNegativeFloat = 1e-3
    last: ClosedUnitInterval = 1.0
    alpha: PositiveFloat = 2.0

    def __post_init__(self) -> None:
        if not self.last:
            raise ValueError(f"the last share of a weight must be above 0, got {self.last}")


@dataclass(frozen=True)
class Layer:
    """A layer of the embedder that is compared with the guide's.

    Attributes:
        name: of the module, or the end of its path.
        weight: in R_G.
    """

    name: str
    weight: PositiveFloat = 1.0


@dataclass(frozen=True)
class Guidance:
    """The guiding image's part in the loss.

    Attributes:
        weight: w_G; 0 leaves it out.
        layers: of the embedder, one or several.

    Raises:
        ValueError: if a weight has no layer.
    """

    weight: NonNegativeFloat = 0.0
    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if self.weight and not self.layers:
            raise ValueError(f"a guide of weight {self.weight} needs layers, got none")

    @property
    def weights(self) -> dict[str, float]:
        """The weights in R_G by the layers' names; none where the guide is left out."""
        return {layer.name: layer.weight for layer in self.layers} if self.weight else {}


@dataclass(frozen=True)
class Spectrum:
    """The part of the Laplacian pyramid's spectrum in the loss (Eq. 12).

    Attributes:
        weight: 0 leaves it out.
        norm: N_L.
        slope: beta.
        levels: N.
    """

    weight: NonNegativeFloat = 0.0
    norm: NonNegativeFloat = 1.0
    slope: float = NATURAL
    levels: int = LEVELS


@dataclass(frozen=True)
class Usual:
    """The part of the Gaussian activation regulariser in the loss (Eq. 5).

    Attributes:
        weight: 0 leaves it out.
        layer: of the embedder.
        smoothing: nu.
        faces: of people to train on, to which the statistics are fitted.
    """

    weight: NonNegativeFloat = 0.0
    layer: str = ""
    smoothing: PositiveFloat = 0.01
    faces: int = 100


@dataclass(frozen=True)
class Terms:
    """The loss: d[F(p), e] and regularisers (Eq. 1).

    Attributes:
        distance: d; of unnormalised embeddings, as the paper's (Section 5.1), unless it normalises
            them itself.
        scale: of the target embedding in it (Fig. 8).
        tv: R_TV.
        guide: R_G.
        mirror: weight of R_Mirror (Appendix C); 0 leaves it out.
        spectrum: R_LP.
        gaussian: R_Gauss.
    """

    distance: Distance = squared_distance
    scale: PositiveFloat = 1.0
    tv: Smoothness = Smoothness()
    guide: Guidance = Guidance()
    mirror: NonNegativeFloat = 0.0
    spectrum: Spectrum = Spectrum()
    gaussian: Usual = Usual()

    @property
    def layers(self) -> tuple[str, ...]:
        """The embedder's layers whose maps are wanted."""
        usual = [self.gaussian.layer] if self.gaussian.weight else []
        return tuple(dict.fromkeys([*self.guide.weights, *usual]))


class Aim(NamedTuple):
    """What images are to come near to."""

    embedding: Tensor  # (b, d), unnormalised
    maps: dict[str, Tensor]  # of the guides, b of them or one for all

    def repeated(self, times: int) -> "Aim":
        """This, with each embedding so many times in a row; the maps are as many already."""
        return Aim(self.embedding.repeat_interleave(times, 0), self.maps)


class Losses(NamedTuple):
    """The loss of each image, (b,), what it is made of, and the embeddings."""

    total: Tensor
    embedding: Tensor  # d[F(p), e]
    tv: Tensor  # R_TV, without its weight
    guide: Tensor  # R_G, without its weight
    seen: Tensor  # F(p), (b, d)


@final
class Watched:
    """An embedder, and the maps of some of its layers from the same pass.

    Args:
        embedder: frozen from now on; it is shared and no part of whoever holds this.
        layers: names of its modules, or the ends of them; of several the outermost is meant.

    Raises:
        ValueError: if there is no such layer, or more than one.
    """

    def __init__(self, embedder: nn.Module, layers: Sequence[str]) -> None:
        self._embedder = embedder.requires_grad_(False).eval()
        self._layers = {name: _layer(embedder, name) for name in layers}

    def __call__(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The unnormalised embeddings of images in [0, 1], (b, d), and the maps by name."""
        found: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(partial(_keep, found, name))
            for name, layer in self._layers.items()
        ]
        try:
            # Whoever holds the embedder as a part may have put the whole into training.
            embedding = self._embedder.eval()(image)
        finally:
            for hook in hooks:
                hook.remove()
        return embedding, found


@final
class InversionLoss(nn.Module):
    """The loss of images whose embeddings are to be given ones.

    Args:
        embedder: F, which is inverted; it gets frozen and is no part of this module.
        terms: of the loss.

    Raises:
        ValueError: if the embedder has no layer of a name.
    """

    def __init__(self, embedder: nn.Module, terms: Terms) -> None:
        super().__init__()
        self.terms = terms
        self._watched = Watched(embedder, terms.layers)
        self.gaussian: GaussianActivation | None = None
        if terms.gaussian.weight:
            with torch.no_grad():
                _, maps = self._watched(torch.zeros(1, 3, _PROBE, _PROBE))
            c, h, w = maps[terms.gaussian.layer].shape[1:]
            self.gaussian = GaussianActivation((c, h, w), terms.gaussian.smoothing)

    @torch.no_grad()
    def fit(self, faces: Tensor) -> None:
        """Takes the statistics of R_Gauss, if it is wanted, from (n, 3, h, w) faces.

        Raises:
            ValueError: if there are fewer than two different faces.
        """
        if self.gaussian is not None:
            layer = self.terms.gaussian.layer
            self.gaussian.fit(self._watched(part)[1][layer] for part in faces.split(16))

    @torch.no_grad()
    def aim(self, photographs: Tensor, guides: Tensor) -> Aim:
        """What to come near to: the embeddings of photographs, and the maps of guides.

        Args:
            photographs: (b, 3, h, w) in [0, 1].
            guides: (b, k, 3, h, w); one pass is enough for guides that are all the same.
        """
        embedding, _ = self._watched(photographs)
        flat = guides.flatten(0, 1)
        if bool((flat == flat[:1]).all()):
            flat = flat[:1]
        maps = self._watched(flat)[1] if self.terms.guide.weight else {}
        return Aim(embedding, maps)

    def forward(self, images: Tensor, aim: Aim, progress: float) -> Losses:
        """The loss of (b, 3, h, w) images in [0, 1] at a share of the run, 0 to 1."""
        terms = self.terms
        seen, maps = self._watched(images)
        embedding = terms.distance(seen, terms.scale * aim.embedding)
        tv = total_variation(images, terms.tv.alpha)
        guide = torch.zeros_like(tv)
        if terms.guide.weight:
            guide = guiding_distance(maps, aim.maps, terms.guide.weights)
        total = embedding + terms.guide.weight * guide + self._further(images, maps)
        if terms.tv.weight:
            last = terms.tv.weight * terms.tv.last
            total = total + decaying_weight(terms.tv.weight, last, progress) * tv
        return Losses(total, embedding, tv, guide, seen)

    def _further(self, images: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """The regularisers of the appendices."""
        terms = self.terms
        found = images.new_zeros(len(images))
        if terms.mirror:
            found = found + terms.mirror * mirror_asymmetry(images)
        if terms.spectrum.weight:
            told = terms.spectrum
            spectrum = pyramid_spectrum(images, told.norm, told.slope, told.levels)
            found = found + told.weight * spectrum
        if self.gaussian is not None:
            found = found + terms.gaussian.weight * self.gaussian(maps[terms.gaussian.layer])
        return found


def _layer(embedder: nn.Module, name: str) -> nn.Module:
    """The module whose path ends in `name`, the outermost of several."""
    ending = f".{name}"
    found = [path for path, _ in embedder.named_modules() if f".{path}".endswith(ending)]
    depths = sorted(path.count(".") for path in found)
    if not name or not found or depths[:1] == depths[1:2]:
        listed: list[Any] = [part.names for part in embedder.modules() if hasattr(part, "names")]
        known = listed[0] if listed else [path for path, _ in embedder.named_children()]
        raise ValueError(
            f"the embedder has {len(found)} layers called '{name}'; there are {', '.join(known)}, "
            "and those inside them"
        )
    return embedder.get_submodule(next(p for p in found if p.count(".") == depths[0]))


def _keep(found: dict[str, Tensor], name: str, *passed: Any) -> None:
    found[name] = passed[-1]
