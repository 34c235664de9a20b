"""How far an image's face is from its target's, by the embeddings of one judge."""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric


def embedding_distance(
    output: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
) -> Float[Tensor, " b"]:
    r"""Each pair's Euclidean distance, whose mean is FED, the feature embedding distance (ISPL).

    .. math:: \| f(\hat x) - f(x) \|_2

    The published script takes the embeddings as its network gives them, not normalised.
    Deviation: that network is dlib's, which nobody can load here; a value of another network is
    comparable with values of that network alone.

    Args:
        output: embeddings, computed in float32 at least.
        target: embeddings by the same network.

    Raises:
        ValueError: if the shapes differ.
    """
    output, target = _alike(output, target)
    return (output - target).norm(dim=1)


def identity_similarity(
    output: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
) -> Float[Tensor, " b"]:
    """The cosine of the angle between each pair of embeddings, 1 for equal directions.

    Args:
        output: embeddings, normalised or not.
        target: embeddings by the same network.

    Raises:
        ValueError: if the shapes differ.
    """
    output, target = _alike(output, target)
    return F.cosine_similarity(output, target, dim=1)


def _alike(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if output.shape != target.shape:
        raise ValueError(
            f"embeddings must have one shape, got {tuple(output.shape)} and {tuple(target.shape)}"
        )
    wide = torch.promote_types(output.dtype, torch.float32)  # bf16 has 3 digits
    return output.to(wide), target.to(wide)


class _PairMean(Metric):
    """The mean of a figure over all pairs seen, on all processes; sums in float64."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    pairs: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.tensor(0), dist_reduce_fx="sum")

    def compute(self) -> Float[Tensor, ""]:
        """The mean, NaN where no pair was seen."""
        return self.total / self.pairs


@final
class EmbeddingDistance(_PairMean):
    """FED: the mean of `embedding_distance` over all pairs seen, on all processes."""

    higher_is_better = False

    def update(self, output: Float[Tensor, "b d"], target: Float[Tensor, "b d"]) -> None:
        """Take a batch of embeddings into the mean.

        Raises:
            ValueError: if the shapes differ.
        """
        self.total += embedding_distance(output, target).double().sum()
        self.pairs += len(output)


@final
class IdentitySimilarity(_PairMean):
    """The mean of `identity_similarity` over all pairs seen, on all processes."""

    higher_is_better = True

    def update(self, output: Float[Tensor, "b d"], target: Float[Tensor, "b d"]) -> None:
        """Take a batch of embeddings into the mean.

        Raises:
            ValueError: if the shapes differ.
        """
        self.total += identity_similarity(output, target).double().sum()
        self.pairs += len(output)
