"""How a picture is brought to the size that a network sees, and read from a resized copy.

A frame is a function of the picture alone: `Square` refuses what is not square, `Covering` scales
and cuts the middle out, `Middle` cuts without scaling.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from datamodules.images import UnreadableImage, read_image, resize
from datamodules.index import failures, refuse

Picture = UInt8[np.ndarray, "h w 3"]


class Frame(Protocol):
    """Brings any picture to one size."""

    def __call__(self, image: Picture) -> Picture:
        """`image` at this frame's size.

        Raises:
            UnreadableImage: if it cannot be brought to it; the message lacks the file's name.
        """
        ...

    @property
    def name(self) -> str:
        """What the resized copies are filed under: another frame has another name."""
        ...


@final
@dataclass(frozen=True)
class Square:
    """Pictures that are square already, resized to `size` pixels a side."""

    size: int

    def __call__(self, image: Picture) -> Picture:
        """`image`, resized."""
        height, width = image.shape[:2]
        if height != width:
            raise UnreadableImage(f"is {width} x {height}, not square")
        return resize(image, self.size)

    @property
    def name(self) -> str:
        """The side in pixels."""
        return str(self.size)


@final
@dataclass(frozen=True)
class Covering:
    """The largest part of the picture, in its middle, that has this shape; resized."""

    height: int
    width: int

    def __call__(self, image: Picture) -> Picture:
        """`image`, cut and resized; none of its sides may be 0 afterwards."""
        height, width = image.shape[:2]
        factor = min(height / self.height, width / self.width)
        part = max(1, round(self.height * factor)), max(1, round(self.width * factor))
        return resize(_middle(image, *part), (self.height, self.width))

    @property
    def name(self) -> str:
        """The shape in pixels."""
        return f"covering_{self.height}x{self.width}"


@final
@dataclass(frozen=True)
class Middle:
    """The middle of the picture in its own resolution."""

    height: int
    width: int

    def __call__(self, image: Picture) -> Picture:
        """`image`, cut."""
        height, width = image.shape[:2]
        if height < self.height or width < self.width:
            raise UnreadableImage(
                f"is {width} x {height}, too small to cut {self.width} x {self.height} out of it"
            )
        return _middle(image, self.height, self.width)

    @property
    def name(self) -> str:
        """The shape in pixels."""
        return f"middle_{self.height}x{self.width}"


def _middle(image: Picture, height: int, width: int) -> Picture:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


@final
@dataclass(frozen=True)
class FramedReader:
    """Reads pictures in a frame: resized on the fly, or from copies made once.

    The copies are not compressed: at 512 px one takes 786 kB, where a PNG takes 450, and is read in
    half a millisecond, where a PNG takes six to nine.

    Attributes:
        root: folder of the set.
        frame: what brings a picture to its size.
        copies: read from `root/.cache/` instead of from the pictures themselves.
    """

    root: Path
    frame: Frame
    copies: bool = False

    def __call__(self, path: Path) -> Picture:
        """The picture in `path`, in the frame.

        Raises:
            UnreadableImage: if it cannot be read, or does not fit the frame.
        """
        return read_image(self.copy_of(path)) if self.copies else self.framed(path)

    def framed(self, path: Path) -> Picture:
        """The picture in `path`, in the frame, from the picture itself.

        Raises:
            UnreadableImage: if it cannot be read, or does not fit the frame.
        """
        image = read_image(path)
        try:
            return self.frame(image)
        except UnreadableImage as error:
            raise UnreadableImage(f"{path}: {error}") from None

    def copy_of(self, path: Path) -> Path:
        """Where the copy of `path` belongs.

        Raises:
            ValueError: if `path` is not below the set's folder.
        """
        below = path.relative_to(self.root)
        return self.root / ".cache" / self.frame.name / below.with_name(f"{below.name}.tiff")

    def make_copies(self, paths: Sequence[Path], remedy: str = "replace or remove them") -> None:
        """Writes the copies of all `paths` that are not there, on all processor cores.

        Args:
            paths: pictures of the set.
            remedy: what an error tells to do.

        Raises:
            OSError: if a copy cannot be written.
            ValueError: if pictures cannot be used; names the first five.
        """
        broken = failures(self.make_copy, paths, "Resizing pictures")
        refuse(broken, self.root, len(paths), remedy)

    def make_copy(self, path: Path) -> None:
        """Writes the copy of `path`, unless one of the same time of change is there.

        Raises:
            UnreadableImage: if the picture cannot be read, or does not fit the frame.
            OSError: if the copy cannot be written.
        """
        copy, changed = self.copy_of(path), path.stat().st_mtime_ns
        if copy.exists() and copy.stat().st_mtime_ns == changed:
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_name(f"{copy.name}.{os.getpid()}.tmp")
        Image.fromarray(self.framed(path)).save(partial, "TIFF")
        os.utime(partial, ns=(changed, changed))
        partial.replace(copy)
