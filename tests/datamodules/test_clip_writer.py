import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datamodules.clip_writer import WRITTEN, ClipWriter
from datamodules.clips import Clip
from datamodules.synthetic import draw_face
from tests.datamodules.bars import COLOURS, RATE, bars, copied, number_of, numbered, write
from tests.datamodules.test_containers import sound_in, write_sound

UNEVEN = (0, 33, 40, 140, 141, 300, 350, 700, 733, 800)  # milliseconds


def heard_after_seen(path: Path) -> list[float]:
    """Seconds from the last frame to each packet of the sound."""
    with av.open(str(path)) as file:
        seen = [frame.time for frame in file.decode(video=0)]
    return [float(time) - seen[-1] for time, _ in sound_in(path)]


@pytest.mark.parametrize("ending", WRITTEN)
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


def test_the_same_frames_make_the_same_file(tmp_path: Path):
    """Whatever was in the memory that the encoder gets."""
    face, path, sizes = draw_face(0, 0, 96).raw, tmp_path / "clip.mp4", np.random.default_rng(0)

    def made() -> bytes:
        for size in sizes.integers(1, 5_000_000, 5):
            np.full(size, 255, np.uint8)
        with ClipWriter(path, (96, 96), RATE) as writer:
            for i in range(60):
                writer.write(np.roll(face, i, 1))
        return path.read_bytes()

    assert len({made() for _ in range(8)}) == 1


def test_the_number_of_processors_does_not_matter(tmp_path: Path):
    processors = os.sched_getaffinity(0)
    if len(processors) == 1:
        pytest.skip("one processor, so that there is no other number to compare with")
    face, files = draw_face(0, 0, 256).raw, []
    for number in (1, len(processors)):
        os.sched_setaffinity(0, sorted(processors)[:number])
        with ClipWriter(tmp_path / f"{number}.mp4", (256, 256), RATE) as writer:
            for i in range(20):
                writer.write(np.roll(face, i, 1))
        files.append((tmp_path / f"{number}.mp4").read_bytes())
    assert files[0] == files[1]


def test_sound_is_copied_byte_for_byte_and_in_its_time(tmp_path: Path):
    source = write_sound(tmp_path / "source.mp4")
    made = sound_in(write(tmp_path / "clip.mp4", sound_of=source))
    original = sound_in(source)
    assert [data for _, data in made] == [data for _, data in original]
    assert len(made) > 10
    assert all(
        abs(a - b) < Fraction(1, 1000) for (a, _), (b, _) in zip(made, original, strict=True)
    )


@pytest.mark.parametrize("ending", WRITTEN)
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


def test_a_clip_without_sound_gives_none(tmp_path: Path):
    silent = write(tmp_path / "silent.mp4")
    assert not sound_in(write(tmp_path / "clip.mp4", sound_of=silent))


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
