"""Losses that pull a person's photographs together and push people apart."""

import math
from typing import Any, Final, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

FACENET_MARGIN: Final = 0.2  # of squared distances on the unit sphere (FaceNet, Section 3.3)
ARCFACE_MARGIN: Final = 0.5  # radians (ArcFace, Section 3.1)
ARCFACE_SCALE: Final = 64.0  # radius of the sphere (ArcFace, Section 3.1)


@final
class SemiHardTriplet(nn.Module):
    r"""The mean hinge over a batch's semi-hard triplets (FaceNet Eq. 2 and 4).

    .. math:: [\|a - p\|^2 - \|a - n\|^2 + \alpha]_+

    Embeddings are taken at length 1. A triplet is semi-hard if the negative is farther from the
    anchor than the positive, by less than the margin. 0 where a batch has none.

    Deviation: FaceNet takes one such negative for each anchor and positive, without saying which;
    here all of them count (`test_the_triplet_loss_is_the_mean_over_all_semi_hard_triplets`).

    Args:
        margin: alpha, in squared distance; two unit vectors are at most 4 apart.

    Raises:
        ValueError: if `margin` is not in (0, 4).
        ImportError: if pytorch-metric-learning is not installed.
    """

    def __init__(self, margin: float = FACENET_MARGIN) -> None:
        super().__init__()
        if not 0 < margin < 4:
            raise ValueError(f"margin must be in (0, 4), got {margin}")
        learning = _metric_learning()
        distance = learning.distances.LpDistance(normalize_embeddings=True, p=2, power=2)
        self.miner = learning.miners.TripletMarginMiner(margin, "semihard", distance=distance)
        self.hinge = learning.losses.TripletMarginLoss(margin, distance=distance)

    def prepare(self, people: int, dimensions: int) -> None:
        """Nothing: triplets need no knowledge of the people."""

    def forward(
        self, embeddings: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """The loss of embeddings, unnormalised, and the numbers of the people they are of."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            loss: Tensor = self.hinge(embeddings, labels, self.miner(embeddings, labels))
        return loss


@final
class ArcFace(nn.Module):
    r"""Cross-entropy over all people, each a direction, with a margin of angle (ArcFace Eq. 3).

    .. math:: -\log \frac{e^{s\cos(\theta_y + m)}}
        {e^{s\cos(\theta_y + m)} + \sum_{j \ne y} e^{s\cos\theta_j}}

    Beyond pi - m, where the cosine would rise again, the target's logit goes on falling as
    cos(theta) - m sin(m), as in the authors' code.

    The people's directions are weights of a training and unknown until `prepare` was told how many
    people there are; a network that was trained needs none of them.

    Args:
        margin: m, in radians.
        scale: s, the length given to embeddings.

    Raises:
        ValueError: if a number is out of its range.
        ImportError: if pytorch-metric-learning is not installed.
    """

    def __init__(self, margin: float = ARCFACE_MARGIN, scale: float = ARCFACE_SCALE) -> None:
        super().__init__()
        if not 0 <= margin < math.pi or not scale > 0:
            raise ValueError(
                f"margin must be in [0, pi) and scale positive, got {margin} and {scale}"
            )
        self.margin, self.scale = margin, scale
        _metric_learning()  # a missing package shows before any training
        self.entropy: nn.Module | None = None

    def prepare(self, people: int, dimensions: int) -> None:
        """Draws a direction for each of `people`, the same in every process and run.

        Raises:
            ValueError: if there are not two people.
        """
        if people < 2:
            raise ValueError(f"ArcFace tells people apart and needs 2 or more, got {people}")
        entropy = _metric_learning().losses.ArcFaceLoss(
            people, dimensions, math.degrees(self.margin), self.scale
        )
        directions = torch.randn(people, dimensions, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            entropy.W.copy_(F.normalize(directions).T)
        self.entropy = entropy

    def forward(
        self, embeddings: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """The loss of embeddings, unnormalised, and the numbers of the people they are of.

        Raises:
            RuntimeError: if it was not prepared.
        """
        if self.entropy is None:
            raise RuntimeError("ArcFace does not know how many people there are: call prepare")
        with torch.autocast(embeddings.device.type, enabled=False):
            loss: Tensor = self.entropy(embeddings.float(), labels)
        return loss


def _metric_learning() -> Any:
    try:
        # It takes seconds, so it is imported where it is used.
        import pytorch_metric_learning.losses  # type: ignore[import-untyped]
        import pytorch_metric_learning.miners  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "pytorch-metric-learning is not installed: pip install -e '.[embedder]'"
        ) from error
    return pytorch_metric_learning
