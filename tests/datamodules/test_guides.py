from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.clip_writer import ClipWriter
from datamodules.detection import FaceDetector
from datamodules.guides import AnotherPerson, AverageFace, Frames, Guide
from datamodules.images import UnreadableImage, read_image
from datamodules.reading import Covering

FRAME = Covering(16, 16)


class Some:
    """Photograph i is of one grey, 10 i, and of person i // 2."""

    def __init__(self, count: int) -> None:
        self.people = np.arange(count) // 2

    def __len__(self) -> int:
        return len(self.people)

    def name(self, i: int) -> str:
        return f"{i}"

    def picture(self, i: int) -> np.ndarray:
        return np.full((16, 16, 3), 10 * i, np.uint8)


def greys(guide: Guide, photographs: Some, i: int = 0, draws: int = 30) -> set[int]:
    generator = np.random.default_rng(0)
    return {int(guide.of(photographs, i, generator)[0, 0, 0]) for _ in range(draws)}


def write(path: Path, grey: int, size: tuple[int, int] = (16, 16)) -> None:
    Image.new("RGB", size, (grey, grey, grey)).save(path)


def test_an_average_face_is_the_mean_of_the_first_photographs_of_the_first_people():
    guide = AverageFace(2)
    guide.prepare(Some(6), FRAME)
    assert greys(guide, Some(6)) == {10}  # of 0 and 20
    guide.prepare(Some(2), FRAME)
    assert greys(guide, Some(6)) == {10}  # once is enough


def test_an_average_face_needs_people():
    with pytest.raises(ValueError, match="needs people to train on, got none"):
        AverageFace().prepare(Some(0), FRAME)
    with pytest.raises(ValueError, match="people must be 1 or more, got 0"):
        AverageFace(0)


def test_a_folder_of_frames_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no folder of guiding frames .*nothing"):
        Frames(str(tmp_path / "nothing")).prepare(Some(2), FRAME)


def test_another_person_is_never_the_same():
    guide = AnotherPerson()
    guide.prepare(Some(6), FRAME)
    assert greys(guide, Some(6), i=2) == {0, 10, 40, 50}


def test_one_person_alone_has_no_other():
    with pytest.raises(ValueError, match="0 has nobody else beside it"):
        AnotherPerson().of(Some(2), 0, np.random.default_rng(0))


def test_frames_are_the_pictures_of_a_folder_by_name(tmp_path: Path):
    for grey in (30, 10, 20):
        write(tmp_path / f"{grey}.png", grey)
    (tmp_path / "notes.txt").write_text("not a frame")
    guide = Frames(str(tmp_path))
    guide.prepare(Some(2), FRAME)
    assert greys(guide, Some(2)) == {10, 20, 30}
    assert [int(frame[0, 0, 0]) for frame in guide._frames] == [10, 20, 30]


def test_a_clip_among_the_frames_gives_every_kth(tmp_path: Path):
    write(tmp_path / "a.png", 30, (32, 32))
    with ClipWriter(tmp_path / "b.mp4", (32, 32), Fraction(25)) as writer:
        for i in range(7):
            writer.write(np.full((32, 32, 3), 100 + 20 * i, np.uint8))
    guide = Frames(str(tmp_path), every=3)
    guide.prepare(Some(2), FRAME)
    found = [int(frame[8, 8, 0]) for frame in guide._frames]
    assert found == pytest.approx([30, 100, 160, 220], abs=3)
    with pytest.raises(ValueError, match="every must be 1 or more, got 0"):
        Frames(str(tmp_path), every=0)


def test_faces_in_frames_are_aligned_and_frames_without_one_left_out(tmp_path: Path, faces: Path):
    detector = faces / "assets" / "yunet_n_640_640.onnx"
    photograph = read_image(next((faces / "lisa").glob("*.jpg")))
    for name, image in (("a", photograph), ("b", np.full((64, 64, 3), 90, np.uint8))):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    guide = Frames(str(tmp_path), detector=detector)
    guide.prepare(Some(2), Covering(128, 128))
    assert len(guide._frames) == 1
    (face,) = FaceDetector(detector)(guide._frames[0])
    assert face.landmarks[:2].mean(0) == pytest.approx([64, 62], abs=6)  # FFHQ's place for eyes
    (tmp_path / "a.png").unlink()
    with pytest.raises(UnreadableImage, match="shows no face to guide by"):
        Frames(str(tmp_path), detector=detector).prepare(Some(2), FRAME)


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(UnreadableImage, match="holds no picture and no clip"):
        Frames(str(tmp_path)).prepare(Some(2), FRAME)
