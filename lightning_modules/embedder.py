"""Training of a face embedder, and how well it tells people apart that it has never seen."""

from pathlib import Path
from typing import Any, Final, final

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from lightning_fabric.utilities.exceptions import MisconfigurationException
from matplotlib.figure import Figure
from torch import Tensor

from lightning_modules.figures import save_figure
from lightning_modules.pretrained import load_part
from lightning_modules.run import Run
from ops.losses.metric_learning import ArcFace, SemiHardTriplet
from ops.metrics.verification import (
    Roc,
    Verdict,
    Verification,
    accepted_at,
    area_under,
    equal_error_rate,
    resolves,
)
from ops.nets.embedder import Embedder, FrozenEmbedder
from ops.nets.weights import origin

RATES: Final = (1e-3, 1e-2)  # false accepts at which the true ones are reported
PIXELS: Final = 16  # side of the grey pictures that are compared pixel by pixel
_DEFINITIONS: Final = (
    "All pairs of photographs of people who were not trained on, by the cosine of their embeddings "
    "of RGB in [0, 1], not mirrored. n: pairs, same: those of one person. accuracy: mean of the "
    "shares of same and of different pairs decided rightly, at thresholds chosen on the other "
    "folds of people (LFW's protocol with all pairs in place of drawn ones). tar_far_x: share of "
    "the same pairs accepted while at most x of the different ones are, left out where there are "
    "too few of those. auc, eer: area under the curve in pictures/roc.png, and where its two "
    f"errors are equal. pixels: the cosine of {PIXELS} x {PIXELS} grey pictures, less their mean."
)


@final
class FaceEmbedding(Run):
    """A network that brings photographs of one person together, trained on batches with "identity".

    Deviation: FaceNet was trained by AdaGrad or plain SGD on a set that was never published;
    here stochastic gradient descent with Nesterov's momentum 0.9, as for ArcFace, along a cosine.

    Args:
        network: to train.
        criterion: on its unnormalised embeddings and who they are of.
        max_batches: batches in the whole run.
        learning_rate: at the start; falls to zero along a cosine.
        weight_decay: of every weight, the criterion's too (ArcFace, Section 3.1).
        clip_norm: largest norm of the gradient; 0 leaves it as it is.
    """

    players = ("embedder",)
    training_only = ("criterion",)  # the people trained on are nobody's in evaluation
    scores: "VerificationScores"

    def __init__(
        self,
        network: Embedder,
        criterion: ArcFace | SemiHardTriplet,
        max_batches: PositiveInt = 180_000,
        learning_rate: PositiveFloat = 0.1,
        weight_decay: NonNegativeFloat = 5e-4,
        clip_norm: NonNegativeFloat = 5.0,
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm)
        self.network, self.criterion = network, criterion
        self.weight_decay = float(weight_decay)
        self.scores = VerificationScores()

    def setup(self, stage: str) -> None:
        """Tells the criterion how many people the training set holds.

        Raises:
            ValueError: if the set does not say who is on its photographs.
        """
        if stage == "fit":
            self.criterion.prepare(people_to_train_on(self.trainer), self.network.dimensions)

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step on the criterion."""
        with self.turn("embedder"):
            loss = self.criterion(self.network(batch["image"]), batch["identity"])
            self.log_terms({"train/identity": loss.detach()}, bar=True)
            self.step("embedder", loss)

    def on_validation_epoch_start(self) -> None:
        """Empties the scores."""
        self._start_anew()

    def on_test_epoch_start(self) -> None:
        """Empties the scores."""
        self._start_anew()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Takes a batch's embeddings."""
        self._embed(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Takes a batch's embeddings."""
        self._embed(batch)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Nothing that could be written as pictures.

        Raises:
            MisconfigurationException: always.
        """
        raise MisconfigurationException(
            "an embedder makes vectors, not pictures: score it by `make evaluate`"
        )

    def on_validation_epoch_end(self) -> None:
        """Logs how well the people held out for validation are told apart."""
        table = self.scores.table()
        named = _named("val", table["output"]) | {"step": float(self.batches_done)}
        self.log_dict(named, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Keeps the table for the report and draws the curves."""
        table = self.scores.table()
        self.log_dict(_named("test", table["output"]), sync_dist=True)
        self.results = [{"method": method, **row} for method, row in table.items()]
        if self.trainer.is_global_zero:
            path = Path(self.trainer.default_root_dir) / "pictures" / "roc.png"
            save_figure(roc_figure(self.scores.curves), path)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Stochastic gradient descent with Nesterov's momentum."""
        parameters = [*self.network.parameters(), *self.criterion.parameters()]
        return [
            torch.optim.SGD(
                parameters,
                self.learning_rate,
                momentum=0.9,
                weight_decay=self.weight_decay,
                nesterov=True,
            )
        ]

    def _start_anew(self) -> None:
        self.scores.reset()
        # A process that is dealt no photograph takes part in the gathering as well.
        none = torch.zeros(0, dtype=torch.long, device=self.device)
        images = torch.zeros(0, 3, PIXELS, PIXELS, device=self.device)
        self.scores.update(images, images.new_zeros(0, self.network.dimensions), none)

    def _embed(self, batch: dict[str, Any]) -> None:
        image, people = batch["image"], batch["identity"]
        embeddings = self.network.normalised(image)
        with torch.autocast(image.device.type, enabled=False):  # half precision is for networks
            self.scores.update(image, embeddings.float(), people)


@final
class VerificationScores(torch.nn.Module):
    """Rows `pixels` (photographs compared as they are) and `output` (by their embeddings)."""

    definitions: str = _DEFINITIONS
    caveat: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.pixels, self.output = Verification(), Verification()
        self.curves: dict[str, Roc] = {}

    def update(self, image: Tensor, embeddings: Tensor, people: Tensor) -> None:
        """Adds (b, 3, h, w) images in [0, 1], their embeddings and who is on them."""
        self.pixels.update(grey_pixels(image), people)
        self.output.update(embeddings, people)

    def reset(self) -> None:
        """Forgets all photographs."""
        self.pixels.reset()
        self.output.reset()

    def table(self) -> dict[str, dict[str, float]]:
        """The scores of each row by name; every process has to call this.

        Raises:
            ValueError: if there were too few people or photographs.
        """
        verdicts = {"pixels": self.pixels.compute(), "output": self.output.compute()}
        self.curves = {name: verdict.curve for name, verdict in verdicts.items()}
        return {name: _row(verdict) for name, verdict in verdicts.items()}


def _row(verdict: Verdict) -> dict[str, float]:
    curve = verdict.curve
    rates = {f"tar_far_{far:g}": far for far in RATES if resolves(curve, far)}
    return {
        "n": curve.same + curve.different,
        "accuracy": float(verdict.accuracy),
        **{name: float(accepted_at(curve, far)) for name, far in rates.items()},
        "auc": float(area_under(curve)),
        "eer": float(equal_error_rate(curve)),
        "same": curve.same,
        "people": verdict.people,
        "photographs": verdict.photographs,
    }


def _named(stage: str, row: dict[str, float]) -> dict[str, float]:
    counts = ("n", "same", "people", "photographs")  # the same in every validation
    return {f"{stage}/{name}": value for name, value in row.items() if name not in counts}


def grey_pixels(image: Tensor) -> Tensor:
    """(b, 3, h, w) images as vectors of their grey pixels at a small size, less the mean."""
    grey = image.float().mean(1, keepdim=True)
    small = F.interpolate(grey, (PIXELS, PIXELS), mode="bilinear", antialias=True).flatten(1)
    return small - small.mean(1, keepdim=True)


def people_to_train_on(trainer: pl.Trainer) -> int:
    """How many people are on the training photographs of a trainer's data.

    Raises:
        ValueError: if the set does not say who is on its photographs.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    people = data.photographs["train"].people
    if people is None:
        raise ValueError(
            f"{data.root} does not say who is on its photographs: put those of each person into a "
            "folder of their own"
        )
    return int(people.max()) + 1


def trained_embedder(network: Embedder, checkpoint: Path) -> FrozenEmbedder:
    """`network` with the weights of a run's checkpoint, as a judge.

    Raises:
        CheckpointError: if the file is missing, damaged, of another method or another network.
    """
    load_part(network, checkpoint, FaceEmbedding.__name__, "network")
    network.comparable = True
    network.origin = f"{network.origin}, {origin(checkpoint)}"
    return network.frozen()


def roc_figure(curves: dict[str, Roc]) -> Figure:
    """True accepts over false ones, these on a logarithmic axis, a line a method."""
    figure = Figure((6.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        shown = curve.far > 0  # a logarithm has no place for 0
        label = f"{name}: area {float(area_under(curve)):.3f}"
        axes.plot(curve.far[shown], curve.tar[shown], linewidth=1.4, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("false accept rate: pairs of different people accepted")
    axes.set_ylabel("true accept rate: pairs of one person accepted")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(loc="upper left", frameon=False)
    return figure
