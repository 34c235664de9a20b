"""How far an embedding is from its target (inversion paper, Section 2); one signature for all.

A distance is called with embeddings and targets, (b, d) each, and gives a number a pair. Only the
embeddings receive a gradient.
"""

from collections.abc import Callable
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# They give Tensors; a settings reader that compares results' types does not know jaxtyping's.
Distance = Callable[[Tensor, Tensor], Any]
Normalisation = Callable[[Tensor], Any]


def squared_distance(
    embedding: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
) -> Float[Tensor, " b"]:
    r"""The squared distance of each pair, in float32 at least.

    .. math:: d[F(p), e] = \|F(p) - e\|_2^2

    Args:
        embedding: of the images that are to move.
        target: to reach.

    Raises:
        ValueError: if the shapes differ.
    """
    embedding, target = _alike(embedding, target)
    return (embedding - target).square().sum(1)


def dot_product(
    embedding: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
) -> Float[Tensor, " b"]:
    r"""The negative dot product of each pair, in float32 at least.

    .. math:: d[F(p), e] = -F(p) \cdot e

    Unbounded below: nothing but a regulariser keeps the embedding from growing along the target.
    It is the direction that the squared distance takes towards a target far out, for
    :math:`\|F - se\|^2 / 2s = -F \cdot e + \|F\|^2 / 2s + s \|e\|^2 / 2` (the paper's Fig. 8;
    `test_a_far_target_pulls_as_the_dot_product_does`).

    Args:
        embedding: of the images that are to move.
        target: to reach.

    Raises:
        ValueError: if the shapes differ.
    """
    embedding, target = _alike(embedding, target)
    return -(embedding * target).sum(1)


def unit_length(embedding: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """The embeddings at length 1, in float32 at least: what FaceNet calls normalised."""
    return F.normalize(_wide(embedding))


def shares(embedding: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """The softmax of the embeddings, in float32 at least: the paper's word for normalised.

    Deviation: not what `Normalised` does unless told to. FaceNet, whose normalised embedding the
    paper speaks of, gives vectors of length 1; a softmax gives other directions
    (`test_a_softmax_is_not_the_normalised_embedding_of_facenet`).
    """
    return _wide(embedding).softmax(1)


@final
class Normalised:
    """A distance between normalised embeddings; with this the paper's images are much worse.

    At length 1 the squared distance is 2 + 2 times the negative dot product, so that both have
    the same minima.

    Args:
        distance: of the normalised pairs.
        normalisation: `unit_length`, or `shares` for what is printed.
    """

    def __init__(
        self, distance: Distance = squared_distance, normalisation: Normalisation = unit_length
    ) -> None:
        self.distance, self.normalisation = distance, normalisation

    def __call__(
        self, embedding: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
    ) -> Float[Tensor, " b"]:
        """The distance of each pair after normalisation.

        Raises:
            ValueError: if the shapes differ.
        """
        found: Tensor = self.distance(self.normalisation(embedding), self.normalisation(target))
        return found


def _alike(embedding: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if embedding.shape != target.shape:
        raise ValueError(
            f"each embedding needs a target of its length, got {tuple(embedding.shape)} and "
            f"{tuple(target.shape)}"
        )
    return _wide(embedding), _wide(target.detach())


def _wide(embedding: Tensor) -> Tensor:
    return embedding.to(torch.promote_types(embedding.dtype, torch.float32))
