"""Contact sheets of what a network sees, finds and makes."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from torch import Tensor

from lightning_modules.run import Run

_GAP, _TITLE = 4, 18  # pixels between faces, and above them


class Sheet:
    """Collects the first faces of an evaluation, one row a face.

    Args:
        faces: rows of the sheet.
        side: height and width of a face on it in pixels, at least; small faces are enlarged.
    """

    def __init__(self, faces: int = 6, side: int = 192) -> None:
        self.faces, self.side = faces, side
        self._columns: dict[str, list[Tensor]] = {}

    @property
    def room(self) -> int:
        """How many more faces are collected."""
        return self.faces - max(map(len, self._columns.values()), default=0)

    def add(self, columns: dict[str, Tensor]) -> None:
        """Takes (b, 1 or 3, h, w) images in [0, 1] of the same faces, named as their columns."""
        for name, images in columns.items():
            kept = self._columns.setdefault(name, [])
            room = max(0, self.faces - len(kept))
            kept.extend(image.detach().float().cpu() for image in images[:room])

    def take(self) -> np.ndarray | None:
        """The sheet as uint8 (height, width, 3), and starts a new one; None if it is empty."""
        columns, self._columns = self._columns, {}
        if not columns:
            return None
        tiles = [self._column(name, images) for name, images in columns.items()]
        return np.concatenate(tiles, axis=1)

    def _column(self, name: str, images: list[Tensor]) -> np.ndarray:
        faces = [self._tile(image) for image in images]
        title = Image.new("RGB", (faces[0].shape[1], _TITLE), "white")
        ImageDraw.Draw(title).text((2, 2), name, "black", ImageFont.load_default(12))
        return np.concatenate([np.asarray(title), *faces], axis=0)

    def _tile(self, image: Tensor) -> np.ndarray:
        factor = max(1, round(self.side / image.shape[-1]))
        large = F.interpolate(image[None], scale_factor=factor, mode="nearest")[0]
        pixels = large.clamp(0, 1).mul(255).round().to(torch.uint8).expand(3, -1, -1)
        framed = F.pad(pixels, (0, _GAP, 0, _GAP), value=255)
        return framed.permute(1, 2, 0).numpy()

    def show(self, run: Run, name: str) -> None:
        """Writes pictures/`name` in a run's folder, tells its loggers, and starts a new sheet.

        An empty sheet is not shown; of several processes the first one shows its own.
        """
        picture = self.take()
        if picture is None or not run.trainer.is_global_zero:
            return
        self.write(picture, Path(run.trainer.default_root_dir) / "pictures" / name)
        for logger in run.trainer.loggers:
            self.send(picture, logger, name, run.batches_done)

    @staticmethod
    def write(picture: np.ndarray, path: Path) -> None:
        """Saves a sheet as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)

    @staticmethod
    def send(picture: np.ndarray, logger: Logger, name: str, step: int) -> None:
        """Shows a sheet in TensorBoard or W&B."""
        title = name.split("_")[0].removesuffix(".png")
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(title, picture, step, dataformats="HWC")
        elif hasattr(logger, "log_image"):
            logger.log_image(title, [picture], step=step)
