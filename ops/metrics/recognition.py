"""Top-k recognition: whether a face is found among the most alike of a gallery (NASFE, Table 5)."""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

_AT_ONCE = 512  # probes that are compared with the whole gallery


def recognition_rank(
    probe: Float[Tensor, "b d"],
    identity: Int64[Tensor, " b"],
    gallery: Float[Tensor, "n d"],
    gallery_identity: Int64[Tensor, " n"],
    left_out: Bool[Tensor, "b n"] | None = None,
) -> Int64[Tensor, " b"]:
    """The place, from 1 on, of each probe's own identity among all of the gallery's.

    Identities are ordered by the cosine similarity of their nearest embedding (the paper's "similar
    faces picked from the gallery"). Those that tie with the right one stand before it, so that a
    judge that sees no difference recognises nobody; so does a probe that is NaN.

    Args:
        probe: embeddings of the faces to recognise, normalised or not.
        identity: who they are; each must be in the gallery.
        gallery: embeddings by the same network, one or more of each identity.
        gallery_identity: whose they are.
        left_out: which of the gallery do not count for a probe; a probe of whose own none counts
            has the last place.

    Raises:
        ValueError: if a probe's identity is not in the gallery.
    """
    people, place = gallery_identity.unique(return_inverse=True)
    own = torch.searchsorted(people, identity).clamp(max=len(people) - 1)
    strangers = people[own] != identity
    if strangers.any():
        raise ValueError(f"not in the gallery: {identity[strangers].unique().tolist()}")
    alike = F.normalize(probe.float()) @ F.normalize(gallery.float()).T
    if left_out is not None:
        alike = alike.masked_fill(left_out, -torch.inf)
    lowest = alike.new_full((len(probe), len(people)), -torch.inf)
    scores = lowest.scatter_reduce(1, place.expand_as(alike), alike, "amax")
    of_own = scores.gather(1, own[:, None])
    return (~(scores < of_own)).sum(1)  # counts itself, ties and what is not a number


@final
class Recognition(Metric):
    """The share of probes whose identity is among the k most alike, over all processes.

    The gallery grows along with the probes: a set that is seen once gives both. It is compared
    when all is there, so every process may hold another part of it. A probe's own photograph is
    among the references of others and so in the gallery, which is why every photograph has a number
    and a probe names those that do not count for it
    (`test_a_judge_that_sees_nothing_recognises_by_chance`). A probe of whose person nothing else is
    in the gallery is not counted.

    Args:
        ranks: the values of k, ascending; the paper reports 1, 3 and 5.
        kwargs: of torchmetrics' Metric.

    Raises:
        ValueError: if the ranks are not ascending numbers above 0.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    probes: list[Tensor]
    identities: list[Tensor]
    apart: list[Tensor]
    gallery: list[Tensor]
    gallery_identities: list[Tensor]
    photographs: list[Tensor]

    def __init__(self, ranks: tuple[int, ...] = (1, 3, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ranks or ranks[0] < 1 or list(ranks) != sorted(set(ranks)):
            raise ValueError(f"ranks must be ascending numbers above 0, got {ranks}")
        self.ranks = ranks
        for name in (
            *("probes", "identities", "apart"),
            *("gallery", "gallery_identities", "photographs"),
        ):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        probe: Float[Tensor, "b d"],
        identity: Int64[Tensor, " b"],
        apart: Int64[Tensor, "b m"],
        gallery: Float[Tensor, "n d"],
        gallery_identity: Int64[Tensor, " n"],
        photograph: Int64[Tensor, " n"],
    ) -> None:
        """Adds probes, and faces of the gallery.

        Args:
            probe: embeddings of faces.
            identity: whose they are.
            apart: numbers of the photographs that do not count for a probe, its own above all.
            gallery: embeddings of photographs, which may come several times.
            gallery_identity: whose they are.
            photograph: their numbers.
        """
        self.probes.append(probe.float())
        self.identities.append(identity)
        self.apart.append(apart)
        self.gallery.append(gallery.float())
        self.gallery_identities.append(gallery_identity)
        self.photographs.append(photograph)

    def compute(self) -> Float[Tensor, " k"]:
        """The share for each of `ranks`, NaN where no probe was counted."""
        limits = torch.tensor(self.ranks, device=self.device)
        if not len(self.photographs):
            return limits.double() * torch.nan
        numbers, owner, gallery = self._gallery()
        places = [limits.new_zeros(0)]
        probes, identities, aparts = map(dim_zero_cat, (self.probes, self.identities, self.apart))
        for probe, who, apart in zip(
            *(each.split(_AT_ONCE) for each in (probes, identities, aparts)), strict=True
        ):
            left_out = _among(numbers, apart)
            known = ((who[:, None] == owner) & ~left_out).any(1)
            places.append(
                recognition_rank(probe[known], who[known], gallery, owner, left_out[known])
            )
        found = torch.cat(places)
        return (found[:, None] <= limits).double().mean(0)  # NaN of none

    def _gallery(self) -> tuple[Tensor, Tensor, Tensor]:
        """Number, identity and embedding of each photograph, once."""
        numbers, place = dim_zero_cat(self.photographs).unique(return_inverse=True)
        first = place.new_full((len(numbers),), len(place)).scatter_reduce(
            0, place, torch.arange(len(place), device=place.device), "amin"
        )
        return (
            numbers,
            dim_zero_cat(self.gallery_identities)[first],
            dim_zero_cat(self.gallery)[first],
        )


def _among(numbers: Tensor, apart: Tensor) -> Tensor:
    """(b, n): which of the numbers, (n,), are in each row, (b, m)."""
    return (apart[:, :, None] == numbers).any(1)
