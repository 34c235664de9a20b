"""Verification: whether two photographs show one person, decided by how alike embeddings are."""

from typing import Any, Final, NamedTuple, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchmetrics import Metric

BINS: Final = 1 << 16  # of cosines over [-1, 1]: two that differ by 3e-5 or more are told apart
FOLDS: Final = 10  # of LFW's protocol
_BLOCK = 1024  # photographs whose pairs are looked at together


class Roc(NamedTuple):
    """The receiver operating characteristic: which pairs are taken for one person.

    A pair is accepted where its score reaches the threshold; thresholds fall, from infinity on.
    """

    far: Float[Tensor, " k"]  # share of the pairs of different people that is accepted
    tar: Float[Tensor, " k"]  # share of the pairs of one person that is accepted
    thresholds: Float[Tensor, " k"]
    same: int  # pairs of one person
    different: int  # pairs of different people


def roc(scores: Float[Tensor, " n"], same: Bool[Tensor, " n"]) -> Roc:
    """The curve through every distinct score, in float64.

    Args:
        scores: of pairs; the larger, the more alike.
        same: which of them are of one person.

    Raises:
        ValueError: if the pairs are all of one kind, or a score is not a number.
    """
    thresholds, counts = _counts(scores, same, torch.zeros_like(same, dtype=torch.int64))
    return _curve(thresholds, counts[:, 0])


def tar_at_far(
    scores: Float[Tensor, " n"], same: Bool[Tensor, " n"], far: float
) -> Float[Tensor, ""]:
    """The largest true accept rate among thresholds whose false accept rate is `far` at most.

    Nothing is interpolated between two thresholds.

    Raises:
        ValueError: if the pairs are all of one kind, or too few to resolve `far`.
    """
    return accepted_at(roc(scores, same), far)


def accepted_at(curve: Roc, far: float) -> Float[Tensor, ""]:
    """`tar_at_far` of a curve.

    Raises:
        ValueError: if there are too few pairs of different people to resolve `far`.
    """
    if not resolves(curve, far):
        raise ValueError(
            f"far={far} cannot be resolved: {curve.different} pairs of different people resolve "
            f"rates from {1 / curve.different:.3g} to 1"
        )
    return curve.tar[curve.far <= far].max()


def resolves(curve: Roc, far: float) -> bool:
    """Whether accepting a single pair of different people keeps a rate of `far`."""
    return 1 / curve.different <= far <= 1


def area_under(curve: Roc) -> Float[Tensor, ""]:
    """The chance that a pair of one person scores above one of two people, ties counted half."""
    return torch.trapezoid(curve.tar, curve.far)


def equal_error_rate(curve: Roc) -> Float[Tensor, ""]:
    """The error where as many pairs of one person are rejected as of two people accepted.

    Between the two thresholds around it the curve is taken for straight.
    """
    excess = curve.far - (1 - curve.tar)  # rises from -1 to 1
    after = int((excess >= 0).nonzero()[0])
    low, high = excess[after - 1], excess[after]
    share = -low / (high - low)
    return torch.lerp(curve.far[after - 1], curve.far[after], share)


def verification_accuracy(
    scores: Float[Tensor, " n"], same: Bool[Tensor, " n"], folds: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """The share decided rightly at thresholds chosen on the other folds, as a mean over folds.

    Pairs of one person and of two count alike as kinds, whatever their numbers; where there are as
    many of both, as in LFW's protocol, this is the plain share.

    Args:
        scores: of pairs; the larger, the more alike.
        same: which of them are of one person.
        folds: of each pair, from 0 without gaps.

    Raises:
        ValueError: if there is one fold only, or a fold lacks a kind of pairs.
    """
    return _accuracy(_counts(scores, same, folds)[1])


def _counts(scores: Tensor, same: Tensor, folds: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct scores, falling, and (2, folds, k) pairs, those of one person first."""
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} of {len(scores)} scores are not a number")
    values, place = torch.unique(-scores, return_inverse=True)
    number = int(folds.max()) + 1 if len(folds) else 1
    cell = ((~same).long() * number + folds) * len(values) + place
    counted = torch.bincount(cell, minlength=2 * number * len(values))
    return -values.double(), counted.view(2, number, len(values))


def _curve(thresholds: Tensor, counts: Tensor) -> Roc:
    """The curve of (2, k) pairs at thresholds that fall."""
    same, different = (int(kind) for kind in counts.sum(-1))
    if not same or not different:
        raise ValueError(
            f"a curve needs pairs of one person and of different people, got {same} and {different}"
        )
    tar, far = F.pad(counts.cumsum(-1).double() / counts.sum(-1, keepdim=True), (1, 0))
    return Roc(far, tar, F.pad(thresholds, (1, 0), value=torch.inf), same, different)


def _accuracy(counts: Tensor) -> Tensor:
    """The accuracy of (2, folds, k) pairs at thresholds that fall."""
    accepted = counts.cumsum(-1).double()
    if counts.shape[1] < 2 or not (accepted[..., -1] > 0).all():
        raise ValueError(
            "each of two folds or more needs pairs of one person and of different people, got "
            f"{counts[0].sum(-1).tolist()} and {counts[1].sum(-1).tolist()}: give every person two "
            "photographs or more, or hold out more people"
        )
    others = accepted.sum(1, keepdim=True) - accepted
    best = _right(others).argmax(-1, keepdim=True)
    return _right(accepted).gather(-1, best).mean()


def _right(accepted: Tensor) -> Tensor:
    tar, far = accepted / accepted[..., -1:]
    return (tar + 1 - far) / 2


def pair_counts(
    embeddings: Float[Tensor, "n d"], people: Int64[Tensor, " n"], folds: int
) -> Int64[Tensor, "2 groups bins"]:
    """All pairs by the cosine of their embeddings, from 1 down to -1 in `BINS` bins.

    First the pairs of one person, then those of two; each by the fold that both people are in, and
    at last the pairs of people in different folds. Person k is in fold k mod `folds`.

    Args:
        embeddings: of photographs, of any length.
        people: who is on each.
        folds: at least 1.

    Raises:
        ValueError: if an embedding is not finite.
    """
    if not embeddings.isfinite().all():
        raise ValueError("an embedding is not finite: the network gives no usable vectors")
    unit = F.normalize(embeddings.float())
    counts = torch.zeros(2 * (folds + 1) * BINS, dtype=torch.int64, device=unit.device)
    for first in range(0, len(unit), _BLOCK):
        block = slice(first, first + _BLOCK)
        bins = ((1 - unit[block] @ unit[first:].T) / 2 * BINS).long().clamp(0, BINS - 1)
        kind = _kind(people[block, None], people[None, first:], folds)
        later = torch.ones_like(bins, dtype=torch.bool).triu(1)  # each pair once, none with itself
        counts += torch.bincount((kind * BINS + bins)[later], minlength=len(counts))
    return counts.view(2, folds + 1, BINS)


def _kind(one: Tensor, other: Tensor, folds: int) -> Tensor:
    """The row of a pair in `pair_counts`, its first two dimensions taken as one."""
    fold = torch.where(one % folds == other % folds, one % folds, folds)
    return (one != other).long() * (folds + 1) + fold


class Verdict(NamedTuple):
    """How well people are told apart."""

    accuracy: Float[Tensor, ""]
    curve: Roc
    people: int
    photographs: int


@final
class Verification(Metric):
    """All pairs of the photographs seen, on all processes, told apart by the cosine.

    The people are shared out over folds by their numbers: `FOLDS`, or fewer, so that each has two.
    The accuracy is over the pairs within a fold, so that no one who is tested had a part in the
    threshold; the curve is over all pairs. Nothing depends on the photographs' order.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    embeddings: list[Tensor]
    people: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("embeddings", [], dist_reduce_fx="cat")
        self.add_state("people", [], dist_reduce_fx="cat")

    def update(self, embeddings: Float[Tensor, "b d"], people: Int64[Tensor, " b"]) -> None:
        """Takes a batch of embeddings and the numbers of the people they are of, from 0."""
        self.embeddings.append(embeddings.detach().float())
        self.people.append(people)

    def compute(self) -> Verdict:
        """What the pairs say.

        Raises:
            ValueError: if there are fewer than four people, or a fold has no pair of one person.
        """
        embeddings, people = _joined(self.embeddings), _joined(self.people)
        number = len(people.unique())
        if number < 4:
            raise ValueError(
                f"verification needs four people or more, got {number} on {len(people)} "
                "photographs: hold out a larger share, or raise limit_val_batches or eval_limit"
            )
        counts = pair_counts(embeddings, people.long(), min(FOLDS, number // 2)).cpu()
        edges = 1 - 2 * torch.arange(1, BINS + 1, dtype=torch.float64) / BINS
        curve = _curve(edges, counts.sum(1))
        return Verdict(_accuracy(counts[:, :-1]), curve, number, len(people))


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    return torch.cat(parts) if isinstance(parts, list) else parts
