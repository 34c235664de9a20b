from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datamodules.clips import Clip, is_clip
from datamodules.images import UnreadableImage
from tests.datamodules.bars import COLOURS, bars, copied, write


def write_drawn(path: Path, angle: int = 0, **tags: object) -> Path:
    """The bars, to be turned counterclockwise, with what the codec is to tell of them."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = 96, 32, "yuv420p"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        stream.set_display_rotation(angle)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(bars(), "rgb24")))
        file.mux(stream.encode(None))
    return path


def test_untagged_colours_are_read_as_players_read_them(tmp_path: Path):
    for height, standard in ((64, "ITU601"), (592, "ITU709")):
        path = tmp_path / f"{height}.mp4"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", 25, {"crf": "16"})
            stream.width, stream.height, stream.pix_fmt = 592, height, "yuv420p"
            picture = np.repeat(np.repeat(COLOURS[None], height, 0), 99, 1)[:, :592]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            made = frame.reformat(format="yuv420p", dst_colorspace=standard)
            made.colorspace = made.color_range = made.color_primaries = made.color_trc = 2
            made.color_range = 0
            file.mux(stream.encode(made))
            file.mux(stream.encode(None))
        (read,) = Clip(path).frames()
        assert np.abs(read[32, 49::99].astype(int) - COLOURS).max() <= 3


@pytest.mark.parametrize(("angle", "pixel"), [(0, Fraction(64, 45)), (90, Fraction(45, 64))])
def test_pixels_that_are_not_square_keep_their_shape(tmp_path: Path, angle: int, pixel: Fraction):
    shape = Fraction(64, 45)
    source = Clip(write_drawn(tmp_path / "a.mp4", angle, sample_aspect_ratio=shape))
    copy = Clip(copied(source, tmp_path / "copy.mp4"))
    assert (source.pixel, copy.pixel, copy.size) == (pixel, pixel, source.size)


def test_a_high_dynamic_range_is_refused(tmp_path: Path):
    path = write_drawn(tmp_path / "a.mp4", color_trc=16, color_primaries=9, colorspace=9)
    with pytest.raises(UnreadableImage, match=r"a\.mp4: has .*range \(PQ\); convert it to SDR"):
        Clip(path)


@pytest.mark.parametrize(("angle", "turns"), [(-90, -1), (90, 1), (180, 2)])
def test_a_turned_clip_is_put_upright(tmp_path: Path, angle: int, turns: int):
    clip = Clip(write_drawn(tmp_path / "turned.mp4", angle))
    (frame,) = clip.frames()
    assert clip.size == frame.shape[:2]
    assert frame.shape == np.rot90(bars(), turns).shape
    assert np.abs(frame.astype(int) - np.rot90(bars(), turns)).mean() < 6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no clip, but words " * 40, "cannot be decoded as a clip"),
        (None, "is no file"),
    ],
)
def test_what_is_no_clip_is_named(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"bad\.mp4: {reason}"):
        Clip(path)


def test_a_clip_that_breaks_off_is_named(tmp_path: Path):
    path, front = write(tmp_path / "clip.mp4"), tmp_path / "front.mp4"
    with (
        av.open(str(path)) as old,
        av.open(str(front), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    path.write_bytes(path.read_bytes()[:-600])  # its table of contents stands at the end
    front.write_bytes(front.read_bytes()[:-20])  # and here at the front
    with pytest.raises(UnreadableImage, match=r"clip\.mp4: cannot be decoded as a clip"):
        Clip(path)
    with pytest.raises(UnreadableImage, match=r"front\.mp4: breaks off at \d+ bytes"):
        Clip(front)


def test_sound_alone_is_no_clip(tmp_path: Path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        sound = file.add_stream("aac", 44100)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        heard.sample_rate = 44100
        file.mux(sound.encode(heard))
        file.mux(sound.encode(None))
    with pytest.raises(UnreadableImage, match="holds no video"):
        Clip(tmp_path / "sound.mp4")


def test_clips_are_known_by_their_endings():
    assert is_clip(Path("a/B.MOV"))
    assert not is_clip(Path("a/b.png"))
