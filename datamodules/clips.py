"""Clips read and written frame by frame, so that memory does not grow with their length.

PyAV decodes and encodes; it is imported where a clip is opened.
"""

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast, final

import cv2
import numpy as np
from jaxtyping import UInt8

from datamodules.containers import (
    closed,
    copied_sound,
    opened,
    pyav,
    refuse_cut,
    refuse_hdr,
    start,
    told,
    video_of,
)
from datamodules.images import UnreadableImage

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

Frame = UInt8[np.ndarray, "h w 3"]

SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""Endings, in small letters, by which a file is taken for a clip."""

WRITTEN: Final = (".mp4", ".m4v", ".mov", ".mkv")
"""Endings of the clips that can be written."""

_UNTAGGED: Final = 2  # the colour space of a clip that does not tell it
_LOW_DEFINITION: Final = 576  # lines up to which such a clip has television's older colours
_TICKS: Final = {"libx264": 360_000, "mpeg4": 60_000}  # a second at most; MPEG-4 has 16 bits
_QUALITY: Final = {
    "libx264": {"crf": "17"},
    "mpeg4": {"flags": "+qscale", "global_quality": "236"},  # 2 of 31, the best being 1
}


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


@final
class ClipWriter:
    """Writes a clip; a context manager, which gives the file its name at a clean end.

    H.264 at a quality whose loss is hardly seen, in BT.709; MPEG-4 part 2 where PyAV was built
    without libx264. Both want even sides, so an odd one is made even by its last row or column,
    twice. Until the end the file is called `.<name>.part<ending>`; an error removes it.

    Args:
        path: of the file; its folder is made if need be.
        size: height and width of the frames.
        rate: frames a second, on average where frames are written `at` a time of their own.
        sound_of: a clip whose sound is copied as it is, packet by packet, all of it.
        pixel: width of a pixel by its height.

    Raises:
        ValueError: if the ending, the size, the rate or the pixel cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        sound_of: Path | None = None,
        pixel: Fraction = Fraction(1),
    ) -> None:
        if path.suffix.lower() not in WRITTEN:
            raise ValueError(f"a clip is written as {', '.join(WRITTEN)}, got '{path.name}'")
        if min(size) < 1 or min(rate, pixel) <= 0:
            found = f"{size}, {rate} and {pixel}"
            raise ValueError(f"size, rate and pixel of a clip must be positive, got {found}")
        self.path, self.size, self.rate, self.pixel = path, size, Fraction(rate), Fraction(pixel)
        self._sound_of = sound_of
        self._partial = path.with_name(f".{path.stem}.part{path.suffix}")
        self._open = contextlib.ExitStack()
        self._tick, self._next = -1, Fraction(0)  # of the last frame; second of the next one

    def __enter__(self) -> Self:
        """This, ready to write.

        Raises:
            ImportError: if PyAV is not installed.
            OSError: if the file cannot be written.
            UnreadableImage: if the clip with the sound cannot be read, or the sound does not go
                into a file of this ending.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._close)
            self._output: OutputContainer = pyav().open(str(self._partial), "w")
            self._open.callback(closed, self._output)
            self._video = self._stream()
            self._sound = self._open.enter_context(copied_sound(self._output, self._sound_of))
            cleanup.pop_all()
        return self

    def write(self, frame: Frame, at: Fraction | None = None) -> None:
        """Adds a frame.

        Args:
            frame: of the clip's size.
            at: the second at which it is shown, such as `Clip.timed` tells; without one, 1 / `rate`
                after the frame before it. What is not later than that frame comes a tick later.
                Ticks are shorter than 1/30000 of a second, but Matroska keeps milliseconds.

        Raises:
            UnreadableImage: if the clip cannot be read further that gives the sound.
            ValueError: if it has another size than the clip.
        """
        if frame.shape != (*self.size, 3):
            raise ValueError(
                f"a frame must be {self.size[1]} x {self.size[0]}, got {frame.shape[1]} x "
                f"{frame.shape[0]}"
            )
        odd = (self.size[0] % 2, self.size[1] % 2)
        if any(odd):
            frame = cv2.copyMakeBorder(frame, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE)
        whole = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
        made = whole.reformat(format="yuv420p", dst_colorspace="ITU709")
        made.pts, made.time_base = self._when(at), Fraction(1, self._ticks)
        made.duration = round(self._ticks / self.rate)
        self._output.mux(self._video.encode(made))
        self._play(float(self._next))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the whole file its name, or removes what there is of it.

        Raises:
            OSError: if the rest cannot be written.
            UnreadableImage: if the rest of the sound cannot be read.
            ValueError: if no frame was written.
        """
        try:
            if error is None:
                self._finish()
        finally:
            self._close()

    def _finish(self) -> None:
        if self._tick < 0:
            raise ValueError(f"{self.path}: no frame was written")
        self._output.mux(self._video.encode(None))
        self._play(math.inf)
        self._output.close()
        self._partial.replace(self.path)

    def _close(self) -> None:
        self._open.close()
        self._partial.unlink(missing_ok=True)

    def _stream(self) -> "VideoStream":
        codec = "libx264" if "libx264" in pyav().codecs_available else "mpeg4"
        added = self._output.add_stream(codec, self.rate, dict(_QUALITY[codec]))
        stream = cast("VideoStream", added)
        height, width = self.size
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        context: Any = stream.codec_context
        self._ticks = _ticks(self.rate, _TICKS[codec])
        context.time_base, context.sample_aspect_ratio = Fraction(1, self._ticks), self.pixel
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # television's, 16 to 235
        return stream

    def _when(self, at: Fraction | None) -> int:
        """The tick of the frame that comes now."""
        second = self._next if at is None else at
        if round(second * self._ticks) <= self._tick:
            second = Fraction(self._tick + 1, self._ticks)
        self._tick, self._next = round(second * self._ticks), second + 1 / self.rate
        return self._tick

    def _play(self, until: float) -> None:
        """Copies the sound up to a second of the clip."""
        for second, packet in self._sound:
            self._output.mux_one(packet)
            if second >= until:
                return


def _ticks(rate: Fraction, most: int) -> int:
    """Ticks a second, so that frames that come evenly fall on ticks where that can be."""
    return rate.numerator * (most // rate.numerator) or most


def _turns(frame: "VideoFrame") -> int:
    """Quarter turns, counterclockwise, that put a frame upright."""
    return round(frame.rotation / 90)


def _picture(frame: "VideoFrame", height: int, width: int) -> Frame:
    untagged = frame.colorspace == _UNTAGGED and min(frame.height, frame.width) > _LOW_DEFINITION
    source = "ITU709" if untagged else None
    picture = frame.to_ndarray(format="rgb24", width=width, height=height, src_colorspace=source)
    return np.ascontiguousarray(np.rot90(picture, _turns(frame)))
