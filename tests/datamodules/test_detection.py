from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.detection import FaceDetector, find_detector
from datamodules.images import read_image


@pytest.fixture
def detector(faces: Path) -> FaceDetector:
    return FaceDetector(faces / "assets" / "yunet_n_640_640.onnx")


@pytest.fixture
def portrait(faces: Path) -> np.ndarray:
    return read_image(faces / "london" / "neutral_front" / "001_03.jpg")


def test_without_a_detector_the_error_names_both_ways_to_give_one_and_the_source(monkeypatch):
    monkeypatch.delenv("VISAGIST_YUNET", raising=False)
    with pytest.raises(FileNotFoundError, match=r"--detector.*VISAGIST_YUNET.*libfacedetection"):
        find_detector(None)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        find_detector(tmp_path / "no_such.onnx")


def test_the_given_path_goes_before_the_environment(monkeypatch, tmp_path):
    given, other = tmp_path / "given.onnx", tmp_path / "other.onnx"
    given.touch()
    other.touch()
    monkeypatch.setenv("VISAGIST_YUNET", str(other))
    assert find_detector(given) == given
    assert find_detector(None) == other


def test_a_file_that_is_no_network_is_refused_in_words(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"broken\.onnx is not a YuNet model"):
        FaceDetector(path)


def test_landmarks_agree_with_those_placed_by_hand(detector, portrait, faces):
    template = (faces / "london" / "neutral_front" / "001_03.tem").read_text().splitlines()
    pupils = np.array([[float(v) for v in line.split()] for line in template[1:3]])
    (face,) = detector(portrait)
    assert np.abs(face.landmarks[:2] - pupils).max() < 0.06 * face.eye_distance


def test_landmarks_scale_with_the_photograph(detector, portrait):
    small = cv2.resize(portrait, (450, 450), interpolation=cv2.INTER_AREA)
    large, shrunk = detector(portrait)[0], detector(small)[0]
    np.testing.assert_allclose(shrunk.landmarks * 3, large.landmarks, atol=12)


def test_the_face_with_the_widest_eyes_comes_first(detector, portrait):
    half = cv2.resize(portrait, (675, 675), interpolation=cv2.INTER_AREA)
    both = np.full((1350, 2025, 3), 255, np.uint8)
    both[:675, :675], both[:, 675:] = half, portrait
    first, second = detector(both)
    assert first.eye_distance == pytest.approx(2 * second.eye_distance, rel=0.1)
    assert first.landmarks[:, 0].min() > 675


def test_a_picture_without_a_face_gives_an_empty_list(detector):
    assert detector(np.full((300, 400, 3), 127, np.uint8)) == []
    assert detector(np.zeros((5, 3000, 3), np.uint8)) == []


def test_a_close_up_that_fills_the_picture_is_found(detector, portrait):
    x, y, width, height = (round(v) for v in detector(portrait)[0].box)
    close = portrait[y : y + height, x : x + width]
    assert len(detector(cv2.resize(close, (1600, 2000)))) == 1


def test_a_picture_of_another_type_is_refused(detector):
    with pytest.raises(ValueError, match="float64"):
        detector(np.zeros((64, 64, 3)))


def test_a_file_of_a_known_name_with_other_contents_is_refused(tmp_path):
    wrong = tmp_path / "face_detection_yunet_2023mar.onnx"
    wrong.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"has sha256 .*, expected 8f2383e4"):
        find_detector(wrong)
