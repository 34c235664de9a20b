"""Several judges of identity at once, so that no result rests on the one it was trained against."""

from collections.abc import Mapping
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ops.metrics.embedding_distance import embedding_distance, identity_similarity


@runtime_checkable
class Judge(Protocol):
    """What is asked of a network that judges identity.

    It may say what it is and whose weights it has by `origin: str`, and that it is trained by
    `comparable: bool`; without the one it goes by its class, without the other as untrained.

    `ops.nets.embedder.FrozenEmbedder`, `ops.nets.facenet.FaceNet` and
    `ops.nets.onnx_embedder.OnnxEmbedder` are such.
    """

    @property
    def dimensions(self) -> int:
        """The length d of an embedding."""

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding of images in [0, 1], unnormalised."""


@final
class Judges(nn.Module):
    """Judges by name, each of which gives a table columns.

    Args:
        judges: networks by name, a word each; shared, not copied.

    Raises:
        ValueError: if there is none, a name cannot be part of a column's, or a judge does not say
            how long its embeddings are.
    """

    def __init__(self, judges: Mapping[str, Judge]) -> None:
        super().__init__()
        if not judges or not all(name.isidentifier() for name in judges):
            raise ValueError(f"judges need names of letters, digits and _, got {list(judges)}")
        for name, judge in judges.items():
            if not hasattr(judge, "dimensions"):
                raise ValueError(
                    f"judge {name}, a {type(judge).__name__}, does not say how long its embeddings "
                    "are: give it an attribute `dimensions`"
                )
        self._judges = dict(judges)  # no modules of this one: what they are is theirs to save

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what `compare` gives: identity_x and fed_x for each judge x."""
        return tuple(f"{figure}_{name}" for name in self._judges for figure in ("identity", "fed"))

    @property
    def dimensions(self) -> dict[str, int]:
        """The length of each judge's embeddings, by its name."""
        return {name: judge.dimensions for name, judge in self._judges.items()}

    @property
    def definition(self) -> str:
        """What the columns mean, and who the judges are, for the end of a table."""
        random = [name for name, judge in self._judges.items() if not _comparable(judge)]
        caveat = f" Untrained, so not comparable: {', '.join(random)}." if random else ""
        judges = "; ".join(f"{name}, {_described(judge)}" for name, judge in self._judges.items())
        return (
            "identity_x: mean cosine similarity of output's and target's embeddings by judge x. "
            "fed_x: mean Euclidean distance of the unnormalised ones. frechet_x: squared Frechet "
            "distance, FID's, between the set of all n outputs' unnormalised embeddings and the "
            "set of all n targets'; too large unless n is well above their length d. "
            f"Judges: {judges}.{caveat}"
        )

    @property
    def comparable(self) -> bool:
        """Whether all judges are trained."""
        return all(_comparable(judge) for judge in self._judges.values())

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Each judge's embeddings of images in [0, 1], unnormalised, by its name."""
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, judge in self._judges.items():
                if isinstance(judge, nn.Module):
                    judge.to(images.device)
                found[name] = judge(images)
        return found

    def compare(
        self,
        output: Mapping[str, Float[Tensor, "b _"]],
        target: Mapping[str, Float[Tensor, "b _"]],
    ) -> dict[str, Float[Tensor, " b"]]:
        """Each image's value for each of `columns`, in their order.

        Args:
            output: embeddings by each judge, as this module gives them.
            target: those of the targets, in the same order.
        """
        found: dict[str, Tensor] = {}
        for name in self._judges:
            found[f"identity_{name}"] = identity_similarity(output[name], target[name])
            found[f"fed_{name}"] = embedding_distance(output[name], target[name])
        return found


def _comparable(judge: Judge) -> bool:
    return bool(getattr(judge, "comparable", False))


def _described(judge: Judge) -> str:
    return f"{getattr(judge, 'origin', type(judge).__name__)} (d = {judge.dimensions})"
