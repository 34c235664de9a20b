"""Frames of clips and of folders of frames, and one face followed through them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np

from datamodules.alignment import crop, ffhq_quad, quad_side
from datamodules.clips import Clip, is_clip
from datamodules.detection import Face
from datamodules.faces import Steadied
from datamodules.images import UnreadableImage, read_image
from datamodules.listing import SUFFIXES
from datamodules.reading import Picture

Detect = Callable[[np.ndarray], Sequence[Face]]
"""The faces on a picture, uint8 RGB (h, w, 3), the largest first."""

_SMALLEST, _LARGEST = 8, 512  # pixels a side of a crop


def footage(path: Path) -> list[Path]:
    """The picture or clip at `path`, or all of them in the folder there by name.

    Hidden files and those of other endings do not count.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        UnreadableImage: if the folder holds neither.
    """
    if not path.exists():
        raise FileNotFoundError(f"there are no frames at {path}: name a clip or a folder")
    if not path.is_dir():
        return [path]
    kept = [each for each in sorted(path.iterdir()) if _counts(each)]
    if not kept:
        raise UnreadableImage(f"{path}: holds no picture and no clip")
    return kept


def frames_of(path: Path) -> Iterator[Picture]:
    """The frames of a clip, one after the other, or a picture by itself.

    Raises:
        ImportError: if a clip is to be read and PyAV is not installed.
        UnreadableImage: if it is neither, or cannot be read to its end.
    """
    if is_clip(path):
        yield from Clip(path).frames()
    else:
        yield read_image(path)


@final
class Followed:
    """One face in the frames of a clip, cropped as FFHQ crops faces and steadily.

    It is the largest one of the first frame that shows any, and then the one nearest to it. Crops
    have the resolution of the frame, up to 512 pixels, and no size in common.

    Args:
        detect: finds the faces.
    """

    def __init__(self, detect: Detect) -> None:
        self._detect, self._steadied = detect, Steadied()
        self._points: np.ndarray | None = None

    def of(self, frame: Picture) -> Picture | None:
        """The face on the next frame, None where there is none."""
        found = [face.landmarks.astype(np.float64) for face in self._detect(frame)]
        if not found:
            return None
        before = self._points
        nearest = found[0] if before is None else min(found, key=lambda p: _gap(p, before))
        (self._points,) = self._steadied([nearest])
        return _cropped(frame, self._points)

    def last_place(self, frame: Picture) -> Picture:
        """What a frame shows where the face was last; all of it before there was one."""
        return frame if self._points is None else _cropped(frame, self._points)


def _counts(path: Path) -> bool:
    known = path.suffix.lower() in SUFFIXES or is_clip(path)
    return known and not path.name.startswith(".") and not path.is_dir()


def _gap(points: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(points - others, axis=1).mean())


def _cropped(frame: Picture, points: np.ndarray) -> Picture:
    quad = ffhq_quad(points)
    return crop(frame, quad, max(_SMALLEST, min(round(quad_side(quad)), _LARGEST)))
