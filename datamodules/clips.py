"""Clips read frame by frame, so that memory does not grow with their length.

PyAV decodes; it is imported where a clip is opened.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np
from jaxtyping import UInt8

from datamodules.containers import (
    opened,
    refuse_cut,
    refuse_hdr,
    start,
    told,
    video_of,
)
from datamodules.images import UnreadableImage

if TYPE_CHECKING:
    from av import VideoFrame

Frame = UInt8[np.ndarray, "h w 3"]

SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""Endings, in small letters, by which a file is taken for a clip."""

_UNTAGGED: Final = 2  # the colour space of a clip that does not tell it
_LOW_DEFINITION: Final = 576  # lines up to which such a clip has television's older colours


def is_clip(path: Path) -> bool:
    """Whether the file's name ends as a clip's does."""
    return path.suffix.lower() in SUFFIXES


@final
class Clip:
    """The pictures of a clip, RGB and upright.

    A turn by 90, 180 or 270 degrees that the file asks for is made. Mirroring is not, and pixels
    that are not square are taken as stored, though told of. Frames of another size in the middle
    of a clip are scaled to the first one's. Where the file does not tell its colours, more than
    576 lines are read as BT.709 and fewer as BT.601, as players do.

    Damage that the decoder can hide, such as a few wrong bytes, is not told of.

    Args:
        path: of the file; of several video streams the first is read.

    Attributes:
        path: of the file.
        rate: frames a second, on average where they do not come evenly.
        size: height and width of the upright frames.
        pixel: width of an upright pixel by its height; 1 where the file does not tell it.

    Raises:
        ImportError: if PyAV is not installed.
        UnreadableImage: if there is no such clip, its first frame cannot be read, or it has a high
            dynamic range or the colours of BT.2020.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as container:
            stream = video_of(container, path)
            refuse_cut(stream, path)
            rate = stream.average_rate or stream.guessed_rate
            pixel = stream.sample_aspect_ratio or Fraction(1)
            with told(path):
                first = next(iter(container.decode(stream)), None)
        if first is None:
            raise UnreadableImage(f"{path}: holds no frame")
        if not rate:
            raise UnreadableImage(f"{path}: does not tell its frame rate")
        refuse_hdr(first, path)
        self.rate = Fraction(rate)
        self._stored = first.height, first.width
        height, width = self._stored
        lying = _turns(first) % 2
        self.size = (width, height) if lying else (height, width)
        self.pixel = 1 / pixel if lying else pixel

    def frames(self) -> Iterator[Frame]:
        """The frames in their order, each decoded when it is asked for.

        Raises:
            UnreadableImage: if the rest cannot be read.
        """
        return (frame for frame, _ in self.timed())

    def timed(self) -> Iterator[tuple[Frame, Fraction | None]]:
        """The `frames`, each with the second at which it is shown, None where that is not told.

        Seconds count from the stream's start, as the sound does that `ClipWriter` copies.

        Raises:
            UnreadableImage: if the rest cannot be read.
        """
        for begin, frame in self._decoded():
            known = frame.pts is not None and frame.time_base is not None
            second = frame.pts * frame.time_base - begin if known else None
            yield _picture(frame, *self._stored), second

    def _decoded(self) -> "Iterator[tuple[Fraction, VideoFrame]]":
        """The second at which the stream starts, and a frame."""
        with opened(self.path) as container:
            frames, begin = container.decode(video_of(container, self.path)), start(container)
            while True:
                with told(self.path):
                    frame = next(frames, None)
                if frame is None:
                    return
                refuse_hdr(frame, self.path)
                yield begin, frame


def _turns(frame: "VideoFrame") -> int:
    """Quarter turns, counterclockwise, that put a frame upright."""
    return round(frame.rotation / 90)


def _picture(frame: "VideoFrame", height: int, width: int) -> Frame:
    untagged = frame.colorspace == _UNTAGGED and min(frame.height, frame.width) > _LOW_DEFINITION
    source = "ITU709" if untagged else None
    picture = frame.to_ndarray(format="rgb24", width=width, height=height, src_colorspace=source)
    return np.ascontiguousarray(np.rot90(picture, _turns(frame)))
