"""Video files opened by PyAV: what is wrong with one is told in a sentence; sound is copied.

PyAV is imported where it is needed.
"""

import contextlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from datamodules.images import UnreadableImage

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_WIDE: Final = 9  # the primaries of BT.2020
_HIGH_RANGE: Final = {16: "PQ", 18: "HLG"}


def pyav() -> ModuleType:
    """The package PyAV.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("clips need the package PyAV: pip install -e '.[video]'") from error
    return av


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Nothing; what PyAV finds wrong inside is told as a sentence about the file.

    Raises:
        ImportError: if PyAV is not installed.
        UnreadableImage: where PyAV raised an error of its own.
    """
    av = pyav()
    try:
        yield
    except (av.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"{path}: cannot be decoded as a clip ({reason})") from error


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[InputContainer]":
    """The file, open for reading.

    Raises:
        ImportError: if PyAV is not installed.
        UnreadableImage: if it is missing, empty or no video file.
    """
    if not path.is_file():
        raise UnreadableImage(f"{path}: is no file")
    if not path.stat().st_size:
        raise UnreadableImage(f"{path}: is empty (0 bytes)")
    av = pyav()
    with told(path):
        container: InputContainer = av.open(str(path), metadata_errors="replace")
    with container:
        yield container


def video_of(container: "InputContainer", path: Path) -> "VideoStream":
    """The first video stream.

    Raises:
        UnreadableImage: if there is none.
    """
    if not container.streams.video:
        raise UnreadableImage(f"{path}: holds no video")
    return container.streams.video[0]


def refuse_cut(stream: "VideoStream", path: Path) -> None:
    """Nothing where the stream's file is as long as its table of contents says.

    Raises:
        UnreadableImage: if the table goes on behind the file's end.
    """
    last = stream.index_entries[-1] if len(stream.index_entries) else None
    if last is not None and last.pos + last.size > path.stat().st_size:
        raise UnreadableImage(f"{path}: breaks off at {path.stat().st_size} bytes")


def refuse_hdr(frame: "VideoFrame", path: Path) -> None:
    """Nothing where a frame has colours and brightnesses that BT.709 can tell.

    Raises:
        UnreadableImage: if it has a high dynamic range or the colours of BT.2020.
    """
    curve = _HIGH_RANGE.get(frame.color_trc)
    if curve or frame.color_primaries == _WIDE:
        found = f"a high dynamic range ({curve})" if curve else "the colours of BT.2020"
        raise UnreadableImage(f"{path}: has {found}; convert it to SDR in BT.709 first")


@contextlib.contextmanager
def copied_sound(
    output: "OutputContainer", path: Path | None
) -> "Iterator[Iterator[tuple[float, Packet[Stream]]]]":
    """The packets of a clip's sound for streams made in `output`, each with its second in the clip.

    Args:
        output: nothing may have been written to it yet.
        path: of the clip; None is silence.

    Raises:
        ImportError: if PyAV is not installed.
        UnreadableImage: if the clip cannot be read, now or further on, or its sound does not go
            into a file like `output`.
    """
    if path is None:
        yield iter(())
        return
    with opened(path) as source:
        for stream in source.streams.audio:
            codec = stream.codec_context.name
            if codec not in output.supported_codecs:
                raise UnreadableImage(
                    f"{path}: its sound, {codec}, does not go into a file like {output.name}; "
                    "choose another ending"
                )
        sound = source.streams.audio
        streams = {stream.index: output.add_stream_from_template(stream) for stream in sound}
        yield _packets(source, streams, path)


def start(source: "InputContainer") -> Fraction:
    """Second of the file at which its first frame is shown; 0 where it does not tell that."""
    video = next(iter(source.streams.video), None)
    if video is None or video.start_time is None or video.time_base is None:
        return Fraction(0)
    return video.start_time * video.time_base


def closed(container: "OutputContainer") -> None:
    """Nothing; closes a file that may be half written, whatever it says to that."""
    with contextlib.suppress(pyav().FFmpegError, ValueError, RuntimeError):
        container.close()


def _packets(
    source: "InputContainer", streams: Mapping[int, Any], path: Path
) -> "Iterator[tuple[float, Packet[Stream]]]":
    if not streams:
        return
    begin = start(source)
    packets = source.demux(*source.streams.audio)
    while True:
        with told(path):
            packet = next(packets, None)
        if packet is None:
            return
        if packet.dts is None:  # the end of a stream
            continue
        shift = round(begin / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        second = float(packet.dts * packet.time_base)
        packet.stream = streams[packet.stream_index]
        yield second, packet
