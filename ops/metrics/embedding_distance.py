"""How far an image's face is from its target's, by the embeddings of one judge."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


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
