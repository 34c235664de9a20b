from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.clip_writer import ClipWriter
from datamodules.detection import Face
from datamodules.footage import Followed, footage, frames_of
from datamodules.images import UnreadableImage

POINTS = np.array([[-10.0, -10], [10, -10], [0, 0], [-8, 12], [8, 12]])


def picture(grey: int, side: int = 32) -> np.ndarray:
    return np.full((side, side, 3), grey, np.uint8)


def spot(x: float, y: float) -> np.ndarray:
    """A dark frame with a white square around a point."""
    frame = picture(10, 200)
    frame[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = 255
    return frame


class Seen:
    """Tells of faces around the given points, frame by frame."""

    def __init__(self, *frames: Sequence[tuple[float, float]]) -> None:
        self._frames = list(frames)

    def __call__(self, image: np.ndarray) -> list[Face]:
        centres = self._frames.pop(0)
        return [Face(POINTS + centre, (0, 0, 1, 1), 0.9) for centre in centres]


def brightest(crop: np.ndarray) -> np.ndarray:
    """Where the spot is, in shares of the side."""
    rows, columns = np.nonzero(crop[..., 0] > 128)
    return np.array([columns.mean(), rows.mean()]) / len(crop)


def test_a_folder_gives_its_pictures_and_clips_by_name(tmp_path: Path):
    for name in ("b.PNG", "a.mp4", "c.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert [path.name for path in footage(tmp_path)] == ["a.mp4", "b.PNG", "c.jpg"]
    assert footage(tmp_path / "a.mp4") == [tmp_path / "a.mp4"]


def test_a_place_without_frames_is_named(tmp_path: Path):
    with pytest.raises(UnreadableImage, match="holds no picture and no clip"):
        footage(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no frames at .*nothing"):
        footage(tmp_path / "nothing")


def test_frames_come_from_clips_and_pictures(tmp_path: Path):
    Image.fromarray(picture(70)).save(tmp_path / "one.png")
    with ClipWriter(tmp_path / "two.mp4", (32, 32), Fraction(25)) as writer:
        writer.write(picture(100))
        writer.write(picture(200))
    assert [int(each[0, 0, 0]) for each in frames_of(tmp_path / "one.png")] == [70]
    found = [int(each[16, 16, 0]) for each in frames_of(tmp_path / "two.mp4")]
    assert found == pytest.approx([100, 200], abs=3)


def test_the_largest_face_is_cropped_at_its_own_size():
    crop = Followed(Seen([(100, 90), (30, 30)])).of(spot(100, 90))
    assert crop is not None
    assert crop.shape == (80, 80, 3)  # four times the distance of the eyes
    assert brightest(crop) == pytest.approx([0.5, 0.6], abs=0.02)


def test_the_same_face_is_followed_though_another_one_comes_first():
    followed = Followed(Seen([(100, 90)], [(30, 30), (102, 90)]))
    followed.of(spot(100, 90))
    crop = followed.of(spot(102, 90))
    assert crop is not None
    assert brightest(crop)[0] == pytest.approx(0.5 + 1 / 80, abs=0.01)  # half of the way


def test_where_no_face_is_found_it_is_where_it_was_last():
    followed = Followed(Seen([], [(100, 90)], []))
    empty = spot(50, 50)
    assert followed.of(empty) is None
    assert followed.last_place(empty) is empty
    followed.of(spot(100, 90))
    assert followed.of(empty) is None
    assert brightest(followed.last_place(spot(100, 90))) == pytest.approx([0.5, 0.6], abs=0.02)
