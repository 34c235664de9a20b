"""Several judges of identity at once, so that no result rests on the one it was trained against."""

from collections.abc import Mapping
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ops.metrics.embedding_distance import embedding_distance, identity_similarity


@runtime_checkable
class Judge(Protocol):
    """What is asked of a network that judges identity; without `comparable` it counts as untrained.

    `ops.nets.embedder.FrozenEmbedder`, `ops.nets.facenet.FaceNet` and
    `ops.nets.onnx_embedder.OnnxEmbedder` are such.
    """

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding of images in [0, 1], unnormalised."""


@final
class Judges(nn.Module):
    """Judges by name, each of which gives a table two columns.

    Args:
        judges: networks by name, a word each; shared, not copied.

    Raises:
        ValueError: if there is none, or a name cannot be part of a column's.
    """

    def __init__(self, judges: Mapping[str, Judge]) -> None:
        super().__init__()
        if not judges or not all(name.isidentifier() for name in judges):
            raise ValueError(f"judges need names of letters, digits and _, got {list(judges)}")
        self._judges = dict(judges)  # no modules of this one: what they are is theirs to save

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns: identity_x and fed_x for each judge x."""
        return tuple(f"{figure}_{name}" for name in self._judges for figure in ("identity", "fed"))

    @property
    def definition(self) -> str:
        """What the columns mean, and which judges are untrained, for the end of a table."""
        random = [name for name, judge in self._judges.items() if not _comparable(judge)]
        caveat = f" Untrained, so not comparable: {', '.join(random)}." if random else ""
        return (
            "identity_x: mean cosine similarity of output's and target's embeddings by judge x. "
            f"fed_x: mean Euclidean distance of the unnormalised ones.{caveat}"
        )

    @property
    def comparable(self) -> bool:
        """Whether all judges are trained."""
        return all(_comparable(judge) for judge in self._judges.values())

    def forward(
        self, output: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> dict[str, Float[Tensor, " b"]]:
        """Each image's value for each of `columns`, in their order; both images in [0, 1]."""
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, judge in self._judges.items():
                if isinstance(judge, nn.Module):
                    judge.to(output.device)
                seen, wanted = judge(output), judge(target)
                found[f"identity_{name}"] = identity_similarity(seen, wanted)
                found[f"fed_{name}"] = embedding_distance(seen, wanted)
        return found


def _comparable(judge: Judge) -> bool:
    return bool(getattr(judge, "comparable", False))
