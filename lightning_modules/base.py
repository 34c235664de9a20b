"""What the papers share whose networks take images back to their targets."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from lightning_modules.exhibits import CloseUp, Exhibit
from lightning_modules.measures import Measures, People
from lightning_modules.pictures import Sheet
from lightning_modules.run import Run
from lightning_modules.schedules import cosine
from lightning_modules.scores import Scores
from ops.losses.mask import image_difference, imperfection

ANSWERS: Final = ("target", "mask")  # of a batch, which no network sees in evaluation


class Restored(NamedTuple):
    """What a network makes of an image, and where it found something to change."""

    image: Tensor  # (b, 3, h, w) in [0, 1]
    mask: Tensor | None = None  # (b, 1, h, w) in [0, 1]


class Training(Run, ABC):
    """A run whose network takes images back to their targets, and is scored on such pairs.

    Args:
        max_batches: batches in the whole run.
        learning_rate: of every player at the start; falls to zero along a cosine.
        clip_norm: largest norm of a player's gradient; 0 leaves gradients as they are.
        measures: what its tables hold beside PSNR and SSIM.
        schedule: of the learning rate, see `lightning_modules.schedules`.
    """

    masked: ClassVar[bool] = False  # whether `restore` gives masks
    scores: Scores

    def __init__(
        self,
        max_batches: PositiveInt = 300_000,
        learning_rate: PositiveFloat = 2e-4,
        clip_norm: NonNegativeFloat = 0.0,
        measures: Measures = Measures(),
        schedule: Callable[[float], float] = cosine,
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm, schedule)
        self.scores, self.sheet = Scores(measures, self.masked), Sheet()
        self.exhibits: list[Exhibit] = [CloseUp()]  # what a test shows beside its table

    @abstractmethod
    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The network's answer to a batch's "image", (b, 3, h, w) in [0, 1], in evaluation.

        Whatever else the data give with an image is there for those who want it, but no target.
        """

    def setup(self, stage: str) -> None:
        """Refuses images that are too small for what is measured, before any training."""
        size = getattr(getattr(self.trainer, "datamodule", None), "size", None)
        if size is not None:
            self.scores.check(*(size if isinstance(size, tuple) else (size, size)))

    def on_validation_epoch_start(self) -> None:
        """Empties the scores."""
        self.scores.reset()

    def on_test_epoch_start(self) -> None:
        """Empties the scores."""
        self.scores.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores a batch."""
        self._evaluate(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores a batch and shows it to the exhibits."""
        output = self._evaluate(batch)
        for exhibit in self.exhibits:
            exhibit.add(batch["image"], output, batch["target"])

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Restored:
        """What the network makes of a batch's images."""
        return self.restore(_without_answers(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs the scores and writes the first faces as a picture."""
        table = self.scores.table()
        named = {f"val/{name}": value for name, value in table["output"].items()}
        named |= {f"val/identity_{name}": value for name, value in table["identity"].items()}
        for name in ("val/n", "val/identity_n", "val/seconds"):
            named.pop(name)  # the rest of the log is the same in every run
        self.log_dict(named | {"step": float(self.batches_done)}, sync_dist=True)
        self.sheet.show(self, f"val_{self.batches_done:07d}.png")

    def on_test_epoch_end(self) -> None:
        """Keeps the table for the report, writes the first faces as a picture and the exhibits."""
        table = self.scores.table()
        named = {f"test/{k}": v for k, v in table["output"].items() if k not in ("n", "seconds")}
        self.log_dict(named, sync_dist=True)
        self.results = [{"method": method, **row} for method, row in table.items()]
        self.sheet.show(self, "test.png")
        folder = Path(self.trainer.default_root_dir) if self.trainer.is_global_zero else None
        for exhibit in self.exhibits:
            exhibit.write(folder)

    def _evaluate(self, batch: dict[str, Any]) -> Tensor:
        image, target = batch["image"], batch["target"]
        start = _now(image)
        restored = self.restore(_without_answers(batch))
        seconds = _now(restored.image) - start
        # Where a change was called for, and how strongly.
        region, wanted = imperfection(image, target), image_difference(image, target)
        masks = None if restored.mask is None else (restored.mask, wanted)
        with torch.autocast(image.device.type, enabled=False):  # half precision is for networks
            answer = restored.image.float()
            self.scores.update(image, answer, target, region, masks, seconds, _people(batch))
        mask = {} if restored.mask is None else {"mask": restored.mask}
        self.sheet.add({"raw": image, **mask, "output": restored.image, "target": target})
        return restored.image


def _without_answers(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name not in ANSWERS}


def _people(batch: Mapping[str, Any]) -> People | None:
    """Who is on a batch's images, where it tells and shows other photographs of them."""
    names = ("identity", "photograph", "references", "shown")
    return People(*(batch[name] for name in names)) if batch.keys() >= {*names} else None


def _now(image: Tensor) -> float:
    """Seconds of a clock, once the work on the image's device is done."""
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return time.perf_counter()
