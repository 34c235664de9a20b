"""How well faces were taken back out of their embeddings, by more judges than the one inverted."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor, nn

from lightning_modules.inversion_loss import Losses
from ops.losses.embedding import squared_distance
from ops.metrics.embedding_distance import identity_similarity
from ops.metrics.judges import Judges
from ops.metrics.recognition import recognition_rank

OWN: Final = "own"  # the judge that is inverted
EACH: Final = "results_each.csv"
_RANKS: Final = (1, 5)
_PART = 64  # images that a judge looks at at a time
_DEFINITIONS: Final = (
    "Targets are photographs of people who were not trained on, inverted from their embeddings "
    "alone. loss: L with the weights of the run's end. distance: squared Euclidean distance of the "
    "unnormalised embeddings of image and target by the network that is inverted, embedding: the "
    "same pair by the d of the loss, tv and guide: R_TV and R_G without weights, norm: length of "
    "the image's embedding. identity_x: mean cosine of image and target by judge x; own is the "
    "network that is inverted. top1_x, top5_x: share of images whose person is among the 1 or 5 "
    "nearest of all `people`, by other photographs of them. n: targets. output: the inversion; "
    "guide: its guiding image; photograph: the target itself, which no inversion can be expected "
    "to be recognised better than; another: another photograph of the same person. Each target's "
    f"numbers are in {EACH}. Judges: "
)
_ALONE: Final = (
    "no second judge: an inversion that only the inverted network recognises is no reconstruction."
)


@dataclass(frozen=True)
class Embedders:
    """Networks that know faces.

    Attributes:
        inverted: F, whose embeddings are taken back to faces.
        judges: who else is asked whose face it is, by name; independently trained, for an inversion
            that only its own network recognises is no reconstruction.
    """

    inverted: nn.Module
    judges: dict[str, nn.Module] = field(default_factory=dict)


class Answer(NamedTuple):
    """One image for each target, and its losses."""

    images: Tensor  # (n, 3, h, w)
    losses: Losses


@final
class InversionScores:
    """Rows `output`, `guide`, `photograph` and `another`.

    Args:
        embedders: the one that is inverted, and others.

    Raises:
        ValueError: if one of the others is called `own`, or one of them all cannot judge.
    """

    def __init__(self, embedders: Embedders) -> None:
        judges = embedders.judges
        if OWN in judges:
            raise ValueError(f"'{OWN}' is the network that is inverted; call the judge otherwise")
        everybody: dict[str, Any] = {OWN: embedders.inverted, **judges}
        self._judges = Judges(everybody)
        told = [f"{name}, {_described(judge)}" for name, judge in everybody.items()]
        self.definitions = f"{_DEFINITIONS}{'; '.join(told)}."
        untrained = "" if self._judges.comparable else "untrained networks among the judges."
        self.caveat = " ".join(filter(None, ["" if judges else _ALONE, untrained]))
        self._table: dict[str, dict[str, float]] = {}
        self._each: list[dict[str, Any]] = []

    @torch.no_grad()
    def take(self, batch: Mapping[str, Any], answers: Mapping[str, Answer]) -> None:
        """Scores the answers to a batch of targets; what was scored before is forgotten.

        Args:
            batch: of `datamodules.targets`, with its gallery.
            answers: by row; `output` is that of the inversion.
        """
        target, gallery = self.look(batch["image"]), self.look(batch["gallery"])
        whose = batch["gallery_identity"]
        rows = {
            name: _losses(answer.losses, target[OWN])
            | self._judged(self.look(answer.images), target, batch["identity"], (gallery, whose))
            for name, answer in answers.items()
        }
        rows["another"] = self._another(batch["identity"], target, gallery, whose)
        people = float(len(whose.unique()))
        self._table = {
            name: {"n": len(batch["name"])}
            | {key: float(value.double().mean()) for key, value in row.items()}
            | {"people": people}
            for name, row in rows.items()
        }
        numbers = {key: value.tolist() for key, value in rows["output"].items()}
        self._each = [
            {"name": name} | {key: values[i] for key, values in numbers.items()}
            for i, name in enumerate(batch["name"])
        ]

    def table(self) -> dict[str, dict[str, float]]:
        """The means of each row by name."""
        return self._table

    def write_each(self, folder: Path) -> None:
        """Writes the numbers of each target's inversion, whole or not at all."""
        if not self._each:
            return
        temporary = folder / f".{EACH}.part"
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*self._each[0]])
            writer.writeheader()
            writer.writerows(self._each)
        temporary.replace(folder / EACH)

    @torch.no_grad()
    def look(self, images: Tensor) -> dict[str, Tensor]:
        """The unnormalised embeddings of (n, 3, h, w) images in [0, 1], by the judges' names."""
        parts = [self._judges(part) for part in images.split(_PART)]
        return {name: torch.cat([part[name] for part in parts]).float() for name in parts[0]}

    def _judged(
        self,
        made: Mapping[str, Tensor],
        target: Mapping[str, Tensor],
        people: Tensor,
        gallery: tuple[Mapping[str, Tensor], Tensor],
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        seen, whose = gallery
        for name, embeddings in made.items():
            rank = recognition_rank(embeddings, people, seen[name], whose)
            found[f"identity_{name}"] = identity_similarity(embeddings, target[name])
            found |= {f"top{k}_{name}": (rank <= k).double() for k in _RANKS}
        return found

    def _another(
        self,
        people: Tensor,
        target: Mapping[str, Tensor],
        gallery: Mapping[str, Tensor],
        whose: Tensor,
    ) -> dict[str, Tensor]:
        """The gallery's first photograph of each target's person; nobody is recognised by it."""
        first = (whose[None] == people[:, None]).int().argmax(1)
        found = {"distance": squared_distance(gallery[OWN][first], target[OWN])}
        for name, embeddings in gallery.items():
            found[f"identity_{name}"] = identity_similarity(embeddings[first], target[name])
        return found


def _losses(losses: Losses, target: Tensor) -> dict[str, Tensor]:
    return {
        "loss": losses.total,
        "distance": squared_distance(losses.seen, target),
        "embedding": losses.embedding,
        "tv": losses.tv,
        "guide": losses.guide,
        "norm": losses.seen.float().norm(dim=1),
    }


def _described(judge: nn.Module) -> str:
    return str(getattr(judge, "origin", type(judge).__name__))
