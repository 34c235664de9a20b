"""Face parsing maps beside photographs: which part of a face each pixel shows.

A map is an 8-bit picture of one channel, a label a pixel, or one with a palette, whose indices are
the labels. It lies under its photograph's number, as the photographs of FFHQ do, flat or in folders
of a thousand. The numbers of the labels are CelebAMask-HQ's (`datamodules.drawing.parts.Part`)
where nothing else is said. Mind that the parsing networks trained on that set number them otherwise
as a rule: state their pairs then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import cv2
import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augmentation import Labels
from datamodules.drawing.parts import MIRRORED, Part
from datamodules.images import UnreadableImage
from datamodules.index import FileIndex, Verify, examine, open_index, refuse
from datamodules.numbered import numbering
from datamodules.photographs import Making, Photographs, Sample
from datamodules.stream import Key, sample_generator

_PNG_ENDING: Final = ".png"
_ONE: Final = 255  # what `datamodules.loading` makes 1.0 of


@dataclass(frozen=True)
class Parsing:
    """Where parsing maps lie and what their labels are.

    Attributes:
        folder: below that of the set.
        classes: labels are 0 to `classes` - 1.
        mirrored: pairs of labels that change places in a mirror, as those of left and right eye.

    Raises:
        ValueError: if there are no classes or more than 8 bits tell, or a pair is none of them.
    """

    folder: str = "parsing"
    classes: int = len(Part)
    mirrored: tuple[tuple[int, int], ...] = MIRRORED

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= 256:
            raise ValueError(f"classes must be in [1, 256], got {self.classes}")
        named = [label for pair in self.mirrored for label in pair]
        if len(set(named)) < len(named) or not {*named} <= {*range(self.classes)}:
            raise ValueError(
                f"mirrored must pair different labels of 0 to {self.classes - 1}, each in one "
                f"pair, got {self.mirrored}"
            )

    def swapped(self, labels: Labels) -> Labels:
        """Labels of a mirrored picture: those of each pair changed for one another."""
        now = np.arange(256, dtype=np.uint8)
        for one, other in self.mirrored:
            now[one], now[other] = other, one
        return now[labels]

    def planes(self, labels: Labels) -> UInt8[Tensor, "k h w"]:
        """A plane for each class, 255 where it is shown and 0 elsewhere.

        Raises:
            ValueError: if a label is none of the classes.
        """
        if labels.max() >= self.classes:
            raise ValueError(f"labels must be 0 to {self.classes - 1}, got {labels.max()}")
        each = np.arange(self.classes, dtype=np.uint8)[:, None, None]
        return torch.from_numpy((labels == each).view(np.uint8) * np.uint8(_ONE))

    def check(self, root: Path, numbers: Int64[np.ndarray, " n"], verify: Verify) -> None:
        """Nothing, after a look at the maps of these photographs that have changed since the last.

        Raises:
            FileNotFoundError: if there is no folder of maps.
            ValueError: if a photograph has no map, or one cannot be used; names the first.
        """
        self._require(root)
        wanted = set(numbers.tolist())

        def chosen(index: FileIndex) -> Int64[np.ndarray, " m"]:
            found, positions = numbering(index)
            return positions[[number in wanted for number in found.tolist()]]

        index, broken = examine(root / self.folder, verify, oblong=False, choose=chosen)
        refuse(broken, root / self.folder, len(wanted))
        self._refuse_missing(root, numbers, numbering(index)[0])

    def maps(self, root: Path, numbers: Int64[np.ndarray, " n"], size: int) -> "ParsingMaps":
        """The maps of the photographs of these numbers, `size` pixels a side.

        Raises:
            FileNotFoundError: if there is no folder of maps.
            ValueError: if a photograph has no map.
        """
        self._require(root)
        index = open_index(root / self.folder)
        found, positions = numbering(index)
        self._refuse_missing(root, numbers, found)
        return ParsingMaps(self, index, positions[np.searchsorted(found, numbers)], size)

    def _require(self, root: Path) -> None:
        if not (root / self.folder).is_dir():
            raise FileNotFoundError(
                f"there is no folder {root / self.folder}: put a parsing map of each photograph "
                f"there, NNNNN.png of one label a pixel, 0 to {self.classes - 1}, as a face "
                "parsing network gives them, or use data and a prior without parsing maps"
            )

    def _refuse_missing(
        self, root: Path, wanted: Int64[np.ndarray, " n"], there: Int64[np.ndarray, " m"]
    ) -> None:
        missing = np.setdiff1d(wanted, there)
        if len(missing):
            raise ValueError(
                f"{len(missing)} of {len(wanted)} photographs have no parsing map in "
                f"{root / self.folder}; the first is {missing[0]:05d}: add "
                f"{missing[0]:05d}.png and the others, or remove the photographs"
            )


CELEBAMASK: Final = Parsing()


@final
@dataclass(frozen=True)
class ParsingMaps:
    """The maps of some photographs, in their order.

    Attributes:
        settings: what labels there are.
        files: all maps of the set.
        positions: which of them, in order.
        size: side in pixels that maps are brought to, by the nearest label.
    """

    settings: Parsing
    files: FileIndex
    positions: Int64[np.ndarray, " n"]
    size: int

    def labels(self, i: int) -> Labels:
        """The labels of photograph `i`.

        Raises:
            UnreadableImage: if its map cannot be read or holds other labels.
        """
        path = self.files.path(int(self.positions[i]))
        labels = read_labels(path)
        if labels.max() >= self.settings.classes:
            raise UnreadableImage(
                f"{path}: holds label {labels.max()}, and there are 0 to "
                f"{self.settings.classes - 1}: set parsing.classes, or number the labels anew"
            )
        if labels.shape[0] != labels.shape[1]:
            raise UnreadableImage(f"{path}: is {labels.shape[1]} x {labels.shape[0]}, not square")
        return resize_labels(labels, self.size)


@final
class ParsedPhotographs(Dataset[Sample]):
    """Degraded photographs with their parsing maps, by keys (epoch, index).

    Samples are those of `datamodules.photographs.DegradedPhotographs` without references, and hold
    "parsing" as well. It tells of the photograph as the set holds it: nothing is parsed here.

    Args:
        photographs: the clean ones.
        maps: of the same photographs, in the same order.
        making: how each becomes a sample.

    Raises:
        ValueError: if there are not as many of both.
    """

    def __init__(self, photographs: Photographs, maps: ParsingMaps, making: Making) -> None:
        if len(photographs) != len(maps.positions):
            raise ValueError(f"{len(photographs)} photographs have {len(maps.positions)} maps")
        self.photographs, self.maps, self.making = photographs, maps, making

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, key: Key) -> Sample:
        i, making, settings = key[1], self.making, self.maps.settings
        picture, labels = self.photographs.picture(i), self.maps.labels(i)
        if making.augmentation is not None:
            generator = sample_generator(making.seed, *key)
            picture, labels, mirrored = making.augmentation.labelled(picture, labels, generator)
            labels = settings.swapped(labels) if mirrored else labels
        sample = making.degraded(picture, self.photographs.name(i), key)
        sample["parsing"] = settings.planes(labels)
        if self.photographs.people is not None:
            sample["identity"] = int(self.photographs.people[i])
        return sample


def read_labels(path: Path) -> Labels:
    """The labels in a PNG file of 8 bits a pixel, grey or with a palette.

    Raises:
        UnreadableImage: if it is none, as colours or a lossy format would be.
    """
    if path.suffix.lower() != _PNG_ENDING:
        raise UnreadableImage(f"{path}: is no PNG, which alone keeps labels as they are")
    try:
        with PngImageFile(path) as image:
            stored = str(image.tile[0][3])  # grey of fewer bits would be stretched to 0 to 255
            labels = np.array(image) if stored == "L" or image.mode == "P" else None
    except (OSError, SyntaxError, ValueError, IndexError) as error:
        raise UnreadableImage(f"{path}: cannot be decoded ({error})") from error
    if labels is None:
        raise UnreadableImage(
            f"{path}: has pixels of kind {stored}; labels are 8-bit grey or indices of a palette"
        )
    return labels


def resize_labels(labels: Labels, size: int) -> Labels:
    """Square labels at `size` pixels a side, each the one at the middle of its pixel."""
    if labels.shape == (size, size):
        return labels
    return np.asarray(
        cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
    )
