import math
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

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

EVENLY = range(0, 400, 40)


def write_sound(
    path: Path, *, codec: str = "aac", at: Sequence[int] = EVENLY, late: int = 0
) -> Path:
    """A clip of grey frames at these milliseconds with a tone; its picture may begin `late`."""
    with av.open(str(path), "w") as file:
        video, sound = file.add_stream("mpeg4", 25), file.add_stream(codec, 44100)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        for tick in at:
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), "rgb24")
            frame.pts, frame.time_base = tick + late, Fraction(1, 1000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        tone = np.sin(2 * math.pi * 440 / 44100 * np.arange(17640))
        samples = (8000 * tone).astype(np.int16)[None]
        heard = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        heard.sample_rate = 44100
        file.mux(sound.encode(heard))
        file.mux(sound.encode(None))
    return path


def sound_in(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return []
        packets = [p for p in file.demux(file.streams.audio[0]) if p.dts is not None]
        return [(p.pts * p.time_base, bytes(p)) for p in packets]


def seconds_of_copy(source: Path, target: Path) -> list[float]:
    with av.open(str(target), "w") as output, copied_sound(output, source) as packets:
        found = []
        for second, packet in packets:
            output.mux_one(packet)
            found.append(second)
    return found


def test_sound_is_copied_packet_by_packet(tmp_path: Path):
    source = write_sound(tmp_path / "source.mp4")
    seconds = seconds_of_copy(source, tmp_path / "copy.mp4")
    original, copy = sound_in(source), sound_in(tmp_path / "copy.mp4")
    assert [data for _, data in copy] == [data for _, data in original]
    assert len(seconds) == len(copy) > 10
    assert seconds == pytest.approx([float(time) for time, _ in original], abs=1e-3)


def test_sound_is_timed_from_the_first_frame_on(tmp_path: Path):
    late = seconds_of_copy(write_sound(tmp_path / "late.mkv", late=200), tmp_path / "a.mkv")
    prompt = seconds_of_copy(write_sound(tmp_path / "prompt.mkv"), tmp_path / "b.mkv")
    assert np.subtract(prompt, late) == pytest.approx(np.full(len(late), 0.2), abs=2e-3)


def test_no_clip_and_no_sound_are_silence(tmp_path: Path):
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as file:
        stream = file.add_stream("mpeg4", 25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        file.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        file.mux(stream.encode(None))
    for source in (None, silent):
        with (
            av.open(str(tmp_path / "copy.mp4"), "w") as output,
            copied_sound(output, source) as packets,
        ):
            assert list(packets) == []
            assert not output.streams.audio


def test_sound_that_the_file_cannot_hold_is_refused(tmp_path: Path):
    source = write_sound(tmp_path / "source.avi", codec="mp2")
    with pytest.raises(UnreadableImage, match=r"its sound, mp2\w*, does not go into .*copy\.m4v"):
        seconds_of_copy(source, tmp_path / "copy.m4v")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"words " * 99, "cannot be decoded as a clip"), (None, "is no file")],
)
def test_what_is_no_video_file_is_named(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"bad\.mp4: {reason}"), opened(path):
        pass


def test_only_pyavs_own_errors_are_retold():
    with pytest.raises(UnreadableImage, match="clip: cannot be decoded"), told(Path("clip")):
        av.open("nothing.mp4")
    with pytest.raises(KeyError), told(Path("clip")):
        raise KeyError


def test_a_file_that_was_never_written_to_can_be_closed(tmp_path: Path):
    output = av.open(str(tmp_path / "clip.mp4"), "w")
    output.add_stream("mpeg4", 25)
    closed(output)
    closed(output)


def test_without_pyav_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[video\]'"):
        pyav()


@pytest.mark.parametrize(
    ("curve", "primaries", "found"),
    [(16, 9, r"range \(PQ\)"), (18, 9, r"range \(HLG\)"), (1, 9, "the colours of BT.2020")],
)
def test_what_is_no_sdr_is_refused(curve: int, primaries: int, found: str):
    frame = av.VideoFrame(32, 32, "yuv420p")
    frame.color_trc, frame.color_primaries = curve, primaries
    with pytest.raises(UnreadableImage, match=rf"a\.mp4: has .*{found}; convert it to SDR"):
        refuse_hdr(frame, Path("a.mp4"))


@pytest.mark.parametrize("tag", [1, 2, 6])
def test_sdr_passes(tag: int):
    frame = av.VideoFrame(32, 32, "yuv420p")
    frame.color_trc = frame.color_primaries = tag
    refuse_hdr(frame, Path("a.mp4"))


def test_a_stream_starts_where_its_first_frame_does(tmp_path: Path):
    path = write_sound(tmp_path / "late.mkv", late=200)
    with opened(path) as container:
        assert start(container) == Fraction(1, 5)
        refuse_cut(video_of(container, path), path)
