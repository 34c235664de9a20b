"""What a test shows beside its table: close-ups of faces, and curves over components."""

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.figures import components_figure, save_figure
from lightning_modules.pictures import Sheet
from ops.kernels.component import ComponentBasis, PatchPCA

WINDOW = 4  # a close-up's window has this part of the picture's sides
LARGEST = 512  # pixels of a picture's longer side on a sheet; larger ones are reduced
_GAP = 4  # pixels between a picture and its close-up
_YELLOW = (1.0, 0.85, 0.0)


class Exhibit(ABC):
    """Something that is gathered over a test and written into the run's folder."""

    @abstractmethod
    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Takes a batch of (b, 3, h, w) images in [0, 1]."""

    @abstractmethod
    def write(self, folder: Path | None) -> None:
        """Writes what was gathered and starts anew; every process has to call this.

        Args:
            folder: of the run; None on a process that takes part in the sums and writes nothing.
        """


@final
class CloseUp(Exhibit):
    """pictures/closeup.png: input, output and target, each with a part of it enlarged.

    The part is where the target differs most from the input, framed in the whole picture
    (Makeup-Go, Fig. 8).

    Args:
        faces: how many of a test's first faces are shown, one a row.
    """

    def __init__(self, faces: int = 4) -> None:
        self._sheet = Sheet(faces)

    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Takes the first faces."""
        show(self._sheet, {"input": image, "output": output, "target": target})

    def write(self, folder: Path | None) -> None:
        """Writes the sheet."""
        write_sheet(self._sheet, folder, "closeup.png")


@final
class FirstBranches(Exhibit):
    """pictures/branches.png: what the first heads of a network do without the others.

    Edited input, outputs of ever more heads, ground truth, with a part of each enlarged
    (Makeup-Go, Fig. 6).

    Args:
        restore: gives the outputs of (b, 3, h, w) images with only the first k heads, for some k.
        dedicated: how many components have a head of their own.
        faces: how many of a test's first faces are shown, one a row.

    Raises:
        ValueError: if `dedicated` is below 1.
    """

    def __init__(
        self,
        restore: Callable[[Tensor, Sequence[int]], list[Tensor]],
        dedicated: int,
        faces: int = 3,
    ) -> None:
        if dedicated < 1:
            raise ValueError(f"dedicated must be at least 1 to show branches, got {dedicated}")
        self._restore = restore
        self._counts = sorted({k for k in (2, 4, 7) if k < dedicated} | {dedicated})
        self._sheet = Sheet(faces)

    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Restores the first faces once more, with few heads."""
        room = self._sheet.room
        if not room:
            return
        partial = self._restore(image[:room], self._counts)
        named = {
            f"first {count} component{'s' if count > 1 else ''}": restored
            for count, restored in zip(self._counts, partial, strict=True)
        }
        show(self._sheet, {"edited": image, **named, "all": output, "ground truth": target})

    def write(self, folder: Path | None) -> None:
        """Writes the sheet."""
        write_sheet(self._sheet, folder, "branches.png")


@final
class ComponentCurves(Exhibit):
    """components.csv and pictures/components.png: d_i, and spectra of the tested pairs.

    The table has a row for each component, counted from 1, with d_i (`improvement`, empty where
    not comparable) and its shares of the sum of eigenvalues, of the edits that are to be undone
    (`discrepancy`) and of their targets (`image`). The spectra are each those of a basis of its
    own, as in Makeup-Go's Fig. 3; d_i belongs to the basis that was fitted to training pairs.

    Args:
        basis: the components that d_i counts.
        improvement: gives d_i, (n,), of what was tested; every process calls it.
    """

    def __init__(self, basis: ComponentBasis, improvement: Callable[[], Tensor]) -> None:
        self._basis, self._improvement = basis, improvement
        self._start_anew()

    def add(self, image: Tensor, output: Tensor, target: Tensor) -> None:
        """Takes the patches of the targets and of target minus input."""
        for name, maps in (("discrepancy", target - image), ("image", target)):
            self._seen[name].to(maps.device).update(maps)

    def write(self, folder: Path | None) -> None:
        """Writes the table and the figure.

        Raises:
            ValueError: if no process saw an image.
        """
        improvement = self._improvement().tolist()
        spectra = {name: self._spectrum(pca) for name, pca in self._seen.items()}
        self._start_anew()
        if folder is None:
            return
        _write_table(folder / "components.csv", {"improvement": improvement, **spectra})
        save_figure(components_figure(improvement, spectra), folder / "pictures/components.png")

    def _start_anew(self) -> None:
        size, mode = self._basis.patch_size, self._basis.mode
        self._seen = {name: PatchPCA(size, mode) for name in ("discrepancy", "image")}

    def _spectrum(self, pca: PatchPCA) -> list[float]:
        # A process that saw no image has not moved its sums to where the others' are.
        pca.to(self._basis.vectors.device).sum_over_ranks()
        eigenvalues = pca.basis().eigenvalues.double()
        return (eigenvalues / eigenvalues.sum()).tolist()


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def most_different(image: Tensor, target: Tensor) -> Window:
    """The window in which two (3, h, w) pictures differ most; the middle one if nowhere."""
    h, w = image.shape[-2:]
    height, width = max(1, h // WINDOW), max(1, w // WINDOW)
    difference = (target - image).abs().sum(0, keepdim=True)
    if not difference.any():
        return Window((h - height) // 2, (w - width) // 2, height, width)
    rows = F.avg_pool2d(difference, (height, 1), stride=1)
    means = F.avg_pool2d(rows, (1, width), stride=1)[0]
    top, left = divmod(int(means.argmax()), means.shape[1])
    return Window(top, left, height, width)


def close_up(picture: Tensor, window: Window) -> Tensor:
    """A (3, h, w) picture with its window framed, above the window enlarged to the same size."""
    h, w = picture.shape[-2:]
    scale = min(1.0, LARGEST / max(h, w))
    size = (round(h * scale), round(w * scale))
    top, left, height, width = window
    crop = picture[:, top : top + height, left : left + width]
    whole = picture if scale == 1 else _resized(picture, size)
    whole = _framed(whole, Window(*(round(side * scale) for side in window)))
    gap = picture.new_ones(3, _GAP, size[1])
    return torch.cat([whole, gap, _resized(crop, size)], 1)


def show(sheet: Sheet, columns: Mapping[str, Tensor]) -> None:
    """Adds faces to a sheet while it has room, each with its close-up.

    Args:
        sheet: gets a row for each face.
        columns: (b, 3, h, w) pictures in [0, 1] by title; the window lies where the first and the
            last column differ most. No column needs more faces than there is room for.
    """
    first, *_, last = columns.values()
    for i in range(min(sheet.room, len(first))):
        window = most_different(first[i], last[i])
        sheet.add({name: close_up(some[i], window)[None] for name, some in columns.items()})


def _framed(picture: Tensor, window: Window) -> Tensor:
    """The picture with a thin yellow line around the window, inside it."""
    top, left, height, width = window
    line = max(1, picture.shape[-1] // 192)
    inside = picture[:, top + line : top + height - line, left + line : left + width - line]
    framed = picture.clone()
    colour = picture.new_tensor(_YELLOW)[:, None, None]
    framed[:, top : top + height, left : left + width] = colour
    framed[:, top + line : top + height - line, left + line : left + width - line] = inside
    return framed


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    # In float32: not every device resizes half precision.
    large = F.interpolate(picture[None].float(), size, mode="bicubic", antialias=True)[0]
    return large.clamp(0, 1)


def write_sheet(sheet: Sheet, folder: Path | None, name: str) -> None:
    """Writes pictures/`name` in the run's folder, if there is one and the sheet is not empty."""
    picture = sheet.take()
    if folder is not None and picture is not None:
        sheet.write(picture, folder / "pictures" / name)


def _write_table(path: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """Writes columns of numbers as CSV, whole or not at all; a cell without a number is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["component", *columns])
        for i, row in enumerate(zip(*columns.values(), strict=True), start=1):
            writer.writerow([i, *("" if math.isnan(value) else value for value in row)])
    temporary.replace(path)
