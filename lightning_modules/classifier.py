"""Training of the network that tells NASFE which degradations a face shows (CN)."""

from collections.abc import Mapping
from typing import Any, Final, cast, final

import torch
import torch.nn.functional as F
from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torchmetrics import SumMetric

from lightning_modules.run import Run
from ops.metrics.mean import Mean
from ops.nets.degradation_classifier import DegradationClassifier

BITS: Final = ("blur", "noise", "low_light")  # of a batch's "label"
FURTHER: Final = ("all", "cross_entropy")
_DEFINITIONS: Final = (
    "Share of faces about which it is answered rightly, by a logit above or below 0, whether they "
    "show blur, noise and low light. accuracy: the mean of the three. all: share of faces about "
    "which all three answers are right. cross_entropy: in nats, the mean of the three. most: the "
    "answer that is right more often for the faces tested, to each question, whatever the face."
)


@final
class DegradationClassification(Run):
    """A network that is asked three questions of each face, by binary cross-entropy (Section 4).

    Deviation: the paper's supplement, which would tell how CN is trained, was not to be had. The
    optimiser, its rate and the size of a batch are those of NASFE; that the rate falls along a
    cosine is ours.

    Args:
        network: to train; gives a logit for each answer.
        max_batches: batches in the whole run.
        learning_rate: of Adam at the start; falls to zero along a cosine.
    """

    players = ("classifier",)
    scores: "AnswerScores"

    def __init__(
        self,
        network: DegradationClassifier,
        max_batches: PositiveInt = 100_000,
        learning_rate: PositiveFloat = 5e-4,
    ) -> None:
        super().__init__(max_batches, learning_rate)
        self.network = network
        self.scores = AnswerScores()

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step on the cross-entropy."""
        with self.turn("classifier"):
            loss = classification_loss(self.network(batch["image"]), labels_of(batch))
            self.log_terms({"train/classification": loss.detach()}, bar=True)
            self.step("classifier", loss)

    def on_validation_epoch_start(self) -> None:
        """Empties the scores."""
        self.scores.reset()

    def on_test_epoch_start(self) -> None:
        """Empties the scores."""
        self.scores.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Counts a batch's right answers."""
        self.scores.update(self.network(batch["image"]), labels_of(batch))

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Counts a batch's right answers."""
        self.scores.update(self.network(batch["image"]), labels_of(batch))

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Nothing that could be written as pictures.

        Raises:
            MisconfigurationException: always.
        """
        raise MisconfigurationException(
            "a classifier gives answers, not pictures: score it by `make evaluate`"
        )

    def on_validation_epoch_end(self) -> None:
        """Logs the shares of right answers."""
        row = self.scores.table()["output"]
        named = {f"val/{name}": value for name, value in row.items() if name != "n"}
        self.log_dict(named | {"step": float(self.batches_done)}, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Keeps the table for the report."""
        table = self.scores.table()
        named = {f"test/{name}": value for name, value in table["output"].items() if name != "n"}
        self.log_dict(named, sync_dist=True)
        self.results = [{"method": method, **row} for method, row in table.items()]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        return [torch.optim.Adam(self.network.parameters(), self.learning_rate)]


@final
class AnswerScores(nn.Module):
    """Rows `most` (always the commoner answer) and `output`."""

    definitions: str = _DEFINITIONS
    caveat: str = ""

    def __init__(self) -> None:
        super().__init__()
        names = (*(f"right_{bit}" for bit in BITS), *(f"shown_{bit}" for bit in BITS))
        self.means = nn.ModuleDict({name: Mean() for name in (*names, *FURTHER)})
        self.count = SumMetric()

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Adds faces: (b, 3) logits, and 1 where a degradation is there, else 0."""
        right = (logits > 0) == (label > 0.5)
        for i, bit in enumerate(BITS):
            self._mean(f"right_{bit}").update(right[:, i].double())
            self._mean(f"shown_{bit}").update(label[:, i].double())
        self._mean("all").update(right.all(1).double())
        each = F.binary_cross_entropy_with_logits(logits.float(), label, reduction="none")
        self._mean("cross_entropy").update(each.mean(1).double())
        self.count.update(len(label))

    def reset(self) -> None:
        """Forgets all faces."""
        for name in self.means:
            self._mean(name).reset()
        self.count.reset()

    def table(self) -> dict[str, dict[str, float]]:
        """The scores of each row by name; every process has to call this."""
        n = int(self.count.compute())
        found = {name: float(self._mean(name).compute()) for name in self.means}
        shares = [found[f"shown_{bit}"] for bit in BITS]
        right = [found[f"right_{bit}"] for bit in BITS]
        further = {name: found[name] for name in FURTHER}
        most = _row(n, [max(share, 1 - share) for share in shares])
        return {"most": most, "output": _row(n, right) | further}

    def _mean(self, name: str) -> Mean:
        return cast(Mean, self.means[name])


def _row(n: int, shares: list[float]) -> dict[str, float]:
    accuracy = {"accuracy": sum(shares) / len(shares)}
    return {"n": n, **accuracy, **dict(zip(BITS, shares, strict=True))}


def classification_loss(logits: Tensor, label: Tensor) -> Tensor:
    """The binary cross-entropy of (b, 3) logits, in float32, as a mean over answers and faces."""
    return F.binary_cross_entropy_with_logits(logits.float(), label)


def labels_of(batch: Mapping[str, Any]) -> Tensor:
    """Which degradations a batch's faces show, (b, 3), 0 or 1.

    Raises:
        ValueError: if the data do not say.
    """
    if "label" not in batch:
        raise ValueError(
            "the batches do not say which degradations they show: give the data a degradation"
        )
    label: Tensor = batch["label"]
    return label
