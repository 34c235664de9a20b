"""What a test of ISPL shows: its subspaces, its guidance, and ever smaller faces (Fig. 5 and 8)."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.exhibits import LARGEST, Exhibit, write_sheet
from lightning_modules.pictures import Sheet


@final
class Subspaces(Exhibit):
    """pictures/subspaces.png: each subspace on its own, above what is restored up to it.

    One row a face: the input above the target, then the levels from the innermost on. On its own
    is a level where the guidance of all others is 0.5; up to it, where that of the finer ones is
    (ISPL Section 3.6, Fig. 5).

    Args:
        restore: gives the outputs for (b, 3, h, w) images while some levels are held.
        levels: how many there are.
        faces: how many of a test's first faces are shown.
    """

    def __init__(
        self, restore: Callable[[Tensor, Collection[int]], Tensor], levels: int, faces: int = 3
    ) -> None:
        self._restore, self._levels, self._sheet = restore, levels, Sheet(faces)

    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Restores the first faces again, twice for each level."""
        image, target = image[: self._sheet.room], target[: self._sheet.room]
        if not len(image):
            return
        columns = {"input, target": _above(image, target)}
        for level in range(self._levels):
            others = [other for other in range(self._levels) if other != level]
            finer = range(level + 1, self._levels)
            own, accumulated = self._restore(image, others), self._restore(image, finer)
            columns[f"level {level}: alone, up to it"] = _above(own, accumulated)
        _show(self._sheet, columns)

    def write(self, folder: Path | None) -> None:
        """Writes the sheet."""
        write_sheet(self._sheet, folder, "subspaces.png")


@final
class Strengths(Exhibit):
    """pictures/strengths.png: outputs under weaker and stronger guidance.

    This is an extension of ours: ISPL promises a trade-off between perception and distortion
    without naming what to turn.

    Args:
        restore: gives the outputs for (b, 3, h, w) images and a factor on the guidance.
        strengths: the factors to show.
        faces: how many of a test's first faces are shown, one a row.
    """

    def __init__(
        self,
        restore: Callable[[Tensor, float], Tensor],
        strengths: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5),
        faces: int = 3,
    ) -> None:
        self._restore, self._strengths, self._sheet = restore, strengths, Sheet(faces)

    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Restores the first faces again, once for each strength."""
        image, target = image[: self._sheet.room], target[: self._sheet.room]
        if not len(image):
            return
        guided = {f"strength {s:g} (ours)": self._restore(image, s) for s in self._strengths}
        _show(self._sheet, {"input": image, **guided, "target": target})

    def write(self, folder: Path | None) -> None:
        """Writes the sheet."""
        write_sheet(self._sheet, folder, "strengths.png")


@final
class Enlargements(Exhibit):
    """pictures/enlargements.png: the target at 1/2 to 1/16 of its resolution, above the outputs.

    It is made smaller by area means and larger by a cubic, as the input of super-resolution is;
    sides stay above one pixel (ISPL Fig. 8, right).

    Args:
        restore: gives the outputs for (b, 3, h, w) images.
        factors: of the resolution.
        faces: how many of a test's first faces are shown, one a row.
    """

    def __init__(
        self,
        restore: Callable[[Tensor], Tensor],
        factors: tuple[int, ...] = (2, 4, 8, 16),
        faces: int = 3,
    ) -> None:
        self._restore, self._factors, self._sheet = restore, factors, Sheet(faces)

    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Restores the first faces from each resolution."""
        target = target[: self._sheet.room]
        if not len(target):
            return
        columns = {"target": _above(target, target)}
        for factor in self._factors:
            if factor < min(target.shape[-2:]):
                small = reduced(target, factor)
                columns[f"x{factor}: input, output"] = _above(small, self._restore(small))
        _show(self._sheet, columns)

    def write(self, folder: Path | None) -> None:
        """Writes the sheet."""
        write_sheet(self._sheet, folder, "enlargements.png")


def reduced(image: Tensor, factor: int) -> Tensor:
    """(b, 3, h, w) images that keep 1 / `factor` of their resolution, at their size, in [0, 1]."""
    height, width = image.shape[-2:]
    small = F.adaptive_avg_pool2d(image.float(), (height // factor, width // factor))
    return F.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


def _above(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], 2)


def _show(sheet: Sheet, columns: Mapping[str, Tensor]) -> None:
    sheet.add({name: _fitting(images) for name, images in columns.items()})


def _fitting(images: Tensor) -> Tensor:
    """The images, no wider than a sheet shows them."""
    height, width = images.shape[-2:]
    if width <= LARGEST:
        return images
    size = (round(height * LARGEST / width), LARGEST)
    return F.interpolate(images.float(), size, mode="bicubic", antialias=True).clamp(0, 1)
