"""Clips written frame by frame, so that memory does not grow with their length.

PyAV encodes; it is imported where a clip is begun.
"""

import contextlib
import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast, final

import cv2
import numpy as np

from datamodules.clips import Frame
from datamodules.containers import closed, copied_sound, pyav

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

WRITTEN: Final = (".mp4", ".m4v", ".mov", ".mkv")
"""Endings of the clips that can be written."""

_TICKS: Final = {"libx264": 360_000, "mpeg4": 60_000}  # a second at most; MPEG-4 has 16 bits
_SAME_EVERYWHERE = "mbtree=0:threads=2:sliced-threads=0:lookahead-threads=1"
_QUALITY: Final = {
    "libx264": {"crf": "17", "x264-params": _SAME_EVERYWHERE},
    "mpeg4": {"flags": "+qscale", "global_quality": "236"},  # 2 of 31, the best being 1
}


@final
class ClipWriter:
    """Writes a clip; a context manager, which gives the file its name at a clean end.

    H.264 at a quality whose loss is hardly seen, in BT.709; MPEG-4 part 2 where PyAV was built
    without libx264. Both want even sides, so an odd one is made even by its last row or column,
    twice. Until the end the file is called `.<name>.part<ending>`; an error removes it.

    The same frames make the same file. So x264's macroblock tree is off: with it, on processors
    with AVX-512, files differed now and then; what that costs is in `restore.md` of the results.
    And the number of threads is set: else it is the machine's, and the file has as many slices.

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
