import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datamodules import clips
from datamodules.clips import Clip, ClipWriter, is_clip
from datamodules.images import UnreadableImage
from tests.datamodules.test_containers import sound_in, write_sound

RATE = Fraction(30000, 1001)
UNEVEN = (0, 33, 40, 140, 141, 300, 350, 700, 733, 800)  # milliseconds
COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 150, 120], [128, 128, 128], [20, 60, 90]],
    np.uint8,
)


def bars(height: int = 32) -> np.ndarray:
    """Upright bars of the colours, 16 pixels wide."""
    return np.repeat(np.repeat(COLOURS[None], height, 0), 16, 1)


def numbered(i: int) -> np.ndarray:
    """The bars with a white block whose place is the frame's number."""
    frame = bars()
    frame[8:16, 8 * i : 8 * i + 8] = 255
    return frame


def number_of(frame: np.ndarray) -> int:
    return int(frame[9:15].astype(int).min(2).mean(0).reshape(-1, 8).mean(1).argmax())


def write(path: Path, count: int = 10, sound_of: Path | None = None) -> Path:
    with ClipWriter(path, (32, 96), RATE, sound_of) as writer:
        for i in range(count):
            writer.write(numbered(i))
    return path


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


def heard_after_seen(path: Path) -> list[float]:
    """Seconds from the last frame to each packet of the sound."""
    with av.open(str(path)) as file:
        seen = [frame.time for frame in file.decode(video=0)]
    return [float(time) - seen[-1] for time, _ in sound_in(path)]


def copied(clip: Clip, path: Path) -> Path:
    with ClipWriter(path, clip.size, clip.rate, clip.path, clip.pixel) as writer:
        for frame, second in clip.timed():
            writer.write(frame, second)
    return path


@pytest.mark.parametrize("ending", clips.WRITTEN)
def test_a_clip_comes_back_with_its_frames_in_order_its_rate_and_its_size(
    tmp_path: Path, ending: str
):
    clip = Clip(write(tmp_path / f"clip{ending}"))
    frames = list(clip.frames())
    assert [number_of(frame) for frame in frames] == list(range(10))
    assert abs(clip.rate / RATE - 1) < 0.01  # mkv keeps milliseconds
    assert clip.size == (32, 96)
    assert frames[0].dtype == np.uint8
    assert [path.name for path in tmp_path.iterdir()] == [f"clip{ending}"]


def test_colours_survive_within_three_of_255(tmp_path: Path):
    with ClipWriter(tmp_path / "clip.mp4", (32, 96), RATE) as writer:
        writer.write(bars())
    (frame,) = Clip(tmp_path / "clip.mp4").frames()
    assert np.abs(frame[16, 8::16].astype(int) - COLOURS).max() <= 3


def test_a_build_without_h264_writes_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    clip = Clip(write(tmp_path / "clip.mp4"))
    with av.open(str(clip.path)) as file:
        assert file.streams.video[0].codec_context.name == "mpeg4"
    frames = list(clip.frames())
    assert [number_of(frame) for frame in frames] == list(range(10))
    assert np.abs(frames[0][28, 8::16].astype(int) - COLOURS).max() <= 6


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


def test_sound_is_copied_byte_for_byte_and_in_its_time(tmp_path: Path):
    source = write_sound(tmp_path / "source.mp4")
    made = sound_in(write(tmp_path / "clip.mp4", sound_of=source))
    original = sound_in(source)
    assert [data for _, data in made] == [data for _, data in original]
    assert len(made) > 10
    assert all(
        abs(a - b) < Fraction(1, 1000) for (a, _), (b, _) in zip(made, original, strict=True)
    )


@pytest.mark.parametrize("ending", clips.WRITTEN)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("late", [0, 500])
def test_frames_that_come_unevenly_keep_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, codec: str, late: int
):
    source = Clip(write_sound(tmp_path / "source.mov", at=UNEVEN, late=late))
    monkeypatch.setattr(av, "codecs_available", {codec})
    copy = Clip(copied(source, tmp_path / f"copy{ending}"))
    assert [second for _, second in source.timed()] == [Fraction(tick, 1000) for tick in UNEVEN]
    shown = [second or Fraction(0) for _, second in copy.timed()]
    gaps = [abs(1000 * time - tick) for time, tick in zip(shown, UNEVEN, strict=True)]
    assert max(gaps) <= 1


def test_sound_stays_with_frames_that_come_unevenly(tmp_path: Path):
    source = write_sound(tmp_path / "source.mkv", at=UNEVEN, late=200)
    copy = copied(Clip(source), tmp_path / "copy.mp4")
    assert heard_after_seen(copy) == pytest.approx(heard_after_seen(source), abs=1.5e-3)


def test_a_frame_whose_time_is_missing_or_not_later_comes_after_the_one_before(tmp_path: Path):
    given = [Fraction(0), None, Fraction(1, 4), Fraction(1, 5), None]
    with ClipWriter(tmp_path / "a.mp4", (32, 96), Fraction(25)) as writer:
        for i, second in enumerate(given):
            writer.write(numbered(i), second)
    shown = [second or Fraction(0) for _, second in Clip(tmp_path / "a.mp4").timed()]
    moved = Fraction(1, 4) + Fraction(1, 360_000)
    assert shown == [0, Fraction(1, 25), Fraction(1, 4), moved, moved + Fraction(1, 25)]


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


def test_a_clip_without_sound_gives_none(tmp_path: Path):
    silent = write(tmp_path / "silent.mp4")
    assert not sound_in(write(tmp_path / "clip.mp4", sound_of=silent))


@pytest.mark.parametrize(("angle", "turns"), [(-90, -1), (90, 1), (180, 2)])
def test_a_turned_clip_is_put_upright(tmp_path: Path, angle: int, turns: int):
    clip = Clip(write_drawn(tmp_path / "turned.mp4", angle))
    (frame,) = clip.frames()
    assert clip.size == frame.shape[:2]
    assert frame.shape == np.rot90(bars(), turns).shape
    assert np.abs(frame.astype(int) - np.rot90(bars(), turns)).mean() < 6


def test_odd_sides_are_made_even_by_the_last_row_and_column(tmp_path: Path):
    greys = np.random.default_rng(0).integers(0, 256, (5, 7, 1), np.uint8).repeat(5, 0).repeat(5, 1)
    frame = np.ascontiguousarray(np.broadcast_to(greys, (25, 35, 3)))
    with ClipWriter(tmp_path / "odd.mp4", (25, 35), RATE) as writer:
        writer.write(frame)
    clip = Clip(tmp_path / "odd.mp4")
    (read,) = clip.frames()
    assert clip.size == (26, 36)
    assert np.abs(read[:25, :35].astype(int) - frame).mean() < 3
    assert np.abs(read[25, :35].astype(int) - frame[24]).mean() < 5
    assert np.abs(read[:25, 35].astype(int) - frame[:, 34]).mean() < 5


def test_memory_does_not_grow_with_the_length(tmp_path: Path):
    def peak(count: int) -> int:
        tracemalloc.start()
        copied(Clip(write(tmp_path / "long.mp4", count)), tmp_path / "copy.mp4")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(12) < 1.5 * peak(3)  # 9 frames more would be 80 kB


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


def test_an_error_leaves_no_file_and_spares_the_one_that_was_there(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"before")

    def stop() -> None:
        with ClipWriter(path, (32, 96), RATE) as writer:
            writer.write(bars())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    with pytest.raises(ValueError, match="no frame was written"), ClipWriter(path, (32, 96), RATE):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"before"


def test_a_clip_can_take_the_place_of_the_one_its_sound_is_from(tmp_path: Path):
    path = write_sound(tmp_path / "clip.mp4")
    sound = [data for _, data in sound_in(path)]
    write(path, sound_of=path)
    assert Clip(path).size == (32, 96)
    assert [data for _, data in sound_in(path)] == sound


def test_what_cannot_be_written_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"written as .mp4, .* got 'clip.webm'"):
        ClipWriter(tmp_path / "clip.webm", (32, 96), RATE)
    with pytest.raises(ValueError, match=r"must be positive, got \(0, 96\)"):
        ClipWriter(tmp_path / "clip.mp4", (0, 96), RATE)
    with pytest.raises(ValueError, match=r"must be positive, got .* and -1"):
        ClipWriter(tmp_path / "clip.mp4", (32, 96), RATE, pixel=Fraction(-1))
    with (
        pytest.raises(ValueError, match="must be 96 x 32, got 32 x 32"),
        ClipWriter(tmp_path / "clip.mp4", (32, 96), RATE) as writer,
    ):
        writer.write(np.zeros((32, 32, 3), np.uint8))


def test_clips_are_known_by_their_endings():
    assert is_clip(Path("a/B.MOV"))
    assert not is_clip(Path("a/b.png"))
