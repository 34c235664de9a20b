"""Top-k recognition: whether a face is found among the most alike of a gallery (NASFE, Table 5)."""

from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

Match = Literal["nearest", "mean"]


def recognition_rank(
    probe: Float[Tensor, "b d"],
    identity: Int64[Tensor, " b"],
    gallery: Float[Tensor, "n d"],
    gallery_identity: Int64[Tensor, " n"],
    match: Match = "nearest",
) -> Int64[Tensor, " b"]:
    """The place, from 1 on, of each probe's own identity among all of the gallery's.

    Identities are ordered by cosine similarity. Those that tie with the right one stand before it,
    so that a judge that sees no difference recognises nobody; so does a probe that is NaN.

    Args:
        probe: embeddings of the faces to recognise, normalised or not.
        identity: who they are; each must be in the gallery.
        gallery: embeddings by the same network, one or more of each identity.
        gallery_identity: whose they are.
        match: how an identity is compared: by its "nearest" embedding (the paper's "similar faces
            picked from the gallery") or by the "mean" of its normalised ones.

    Raises:
        ValueError: if a probe's identity is not in the gallery.
    """
    people, place = gallery_identity.unique(return_inverse=True)
    own = torch.searchsorted(people, identity).clamp(max=len(people) - 1)
    strangers = people[own] != identity
    if strangers.any():
        raise ValueError(f"not in the gallery: {identity[strangers].unique().tolist()}")
    scores = _scores(F.normalize(probe.float()), F.normalize(gallery.float()), place, match)
    of_own = scores.gather(1, own[:, None])
    return (~(scores < of_own)).sum(1)  # counts itself, ties and what is not a number


def _scores(probe: Tensor, gallery: Tensor, place: Tensor, match: Match) -> Tensor:
    """(b, people): how alike each probe is to each identity."""
    people = int(place.max()) + 1
    if match == "mean":
        means = gallery.new_zeros(people, gallery.shape[1]).index_add_(0, place, gallery)
        return probe @ F.normalize(means).T
    alike = probe @ gallery.T
    lowest = alike.new_full((len(probe), people), -torch.inf)
    return lowest.scatter_reduce(1, place.expand_as(alike), alike, "amax")


@final
class Recognition(Metric):
    """The share of probes whose identity is among the k most alike, over all processes.

    The gallery grows along with the probes: a set that is seen once gives both. It is compared
    when all is there, so every process may hold another part of it.

    Args:
        ranks: the values of k, ascending; the paper reports 1, 3 and 5.
        match: see `recognition_rank`.
        kwargs: of torchmetrics' Metric.

    Raises:
        ValueError: if the ranks are not ascending numbers above 0.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    probes: list[Tensor]
    identities: list[Tensor]
    gallery: list[Tensor]
    gallery_identities: list[Tensor]

    def __init__(
        self, ranks: tuple[int, ...] = (1, 3, 5), match: Match = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not ranks or ranks[0] < 1 or list(ranks) != sorted(set(ranks)):
            raise ValueError(f"ranks must be ascending numbers above 0, got {ranks}")
        self.ranks, self.match = ranks, match
        for name in ("probes", "identities", "gallery", "gallery_identities"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        probe: Float[Tensor, "b d"],
        identity: Int64[Tensor, " b"],
        gallery: Float[Tensor, "n d"],
        gallery_identity: Int64[Tensor, " n"],
    ) -> None:
        """Adds probes, and faces of the gallery with the people whose they are."""
        self.probes.append(probe.float())
        self.identities.append(identity)
        self.gallery.append(gallery.float())
        self.gallery_identities.append(gallery_identity)

    def compute(self) -> Float[Tensor, " k"]:
        """The share for each of `ranks`, NaN where no probe was seen.

        Raises:
            ValueError: if a probe's identity is not in the gallery.
        """
        probe, identity, gallery, owner = (
            dim_zero_cat(each) if len(each) else torch.empty(0, device=self.device)
            for each in (self.probes, self.identities, self.gallery, self.gallery_identities)
        )
        limits = torch.tensor(self.ranks, device=self.device)
        if not len(probe):
            return limits.double() * torch.nan
        place = recognition_rank(probe, identity, gallery, owner, self.match)
        return (place[:, None] <= limits).double().mean(0)
