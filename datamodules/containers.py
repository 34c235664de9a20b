"""Video files opened by PyAV: what is wrong with one is told in a sentence; sound is copied.

PyAV is imported where it is needed.
"""

import contextlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from datamodules.images import UnreadableImage

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream


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


def closed(container: "OutputContainer") -> None:
    """Nothing; closes a file that may be half written, whatever it says to that."""
    with contextlib.suppress(pyav().FFmpegError, ValueError, RuntimeError):
        container.close()


def _packets(
    source: "InputContainer", streams: Mapping[int, Any], path: Path
) -> "Iterator[tuple[float, Packet[Stream]]]":
    if not streams:
        return
    start = _start(source)
    packets = source.demux(*source.streams.audio)
    while True:
        with told(path):
            packet = next(packets, None)
        if packet is None:
            return
        if packet.dts is None:  # the end of a stream
            continue
        shift = round(start / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        second = float(packet.dts * packet.time_base)
        packet.stream = streams[packet.stream_index]
        yield second, packet


def _start(source: "InputContainer") -> Fraction:
    """Seconds at which the first frame is shown."""
    video = next(iter(source.streams.video), None)
    if video is None or video.start_time is None or video.time_base is None:
        return Fraction(0)
    return video.start_time * video.time_base
