import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.degradations.beautify import EDITORS
from datamodules.images import read_image
from datamodules.layouts import LAYOUTS, Face
from datamodules.portraits import examine, make_pictures, write_faces
from datamodules.preparation import Photograph, Settings, is_missing, picture_files
from datamodules.spoiling import edited
from tests.datamodules.pictures import picture

SETTINGS = Settings(
    size=64, seed=0, val=0.1, test=0.1, faces="largest", min_eyes=20, group="file", group_pattern=""
)
LANDMARKS = [[70.0, 80], [130, 80], [100, 115], [78, 145], [122, 145]]
AT_5 = Face(5, "ann", "ann/1.jpg")
PAIR = ("photograph", "retouched")


def smooth() -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 2)


def test_a_pair_has_the_size_asked_for_and_differs_in_the_skin_only():
    face = np.full((200, 200, 3), (60, 90, 120), np.uint8)
    cv2.ellipse(face, (100, 108), (58, 72), 0, 0, 360, (205, 150, 120), -1)
    face += np.random.default_rng(0).integers(0, 12, (200, 200, 1), np.uint8)
    settings = replace(SETTINGS, size=128)
    raw, retouched = make_pictures(face, np.array(LANDMARKS), settings, 0, PAIR).values()
    assert raw.shape == retouched.shape == (128, 128, 3)
    assert (raw != retouched).any()
    np.testing.assert_array_equal(raw[:, :15], retouched[:, :15])


def test_pairs_are_written_as_png_that_read_back_the_same(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), smooth()[..., ::-1])
    photo = Photograph("a.png", "a", 1, landmarks=[LANDMARKS], numbers=[63_001])
    assert is_missing(tmp_path / "out", SETTINGS, photo)
    assert write_faces(tmp_path, tmp_path / "out", SETTINGS, photo) == ""
    assert not is_missing(tmp_path / "out", SETTINGS, photo)
    made = make_pictures(smooth(), np.array(LANDMARKS), SETTINGS, 63_001, PAIR)
    files = picture_files(tmp_path / "out", SETTINGS, photo)
    for path, expected in zip(files, made.values(), strict=True):
        np.testing.assert_array_equal(read_image(path), expected)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_photograph_that_became_unreadable_is_told_and_not_raised(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    photo = Photograph("a.png", "a", 1, landmarks=[LANDMARKS], numbers=[0])
    assert "could not be made into a pair" in write_faces(tmp_path, tmp_path, SETTINGS, photo)


def test_a_real_photograph_gets_landmarks_and_a_checksum(faces, tmp_path):
    detector = faces / "assets" / "yunet_n_640_640.onnx"
    photo = Photograph("001_03.jpg", "001", 1)
    seen = examine(faces / "london" / "neutral_front", detector, SETTINGS, photo)
    assert len(seen.landmarks) == 1
    assert len(seen.sha256) == 64
    json.dumps(seen.landmarks)
    far = examine(
        faces / "london" / "neutral_front", detector, replace(SETTINGS, min_eyes=900), photo
    )
    assert far.reason.startswith("face too small: 2")
    assert far.landmarks == []


def test_what_cannot_be_used_is_skipped_with_its_reason(faces, tmp_path):
    detector = faces / "assets" / "yunet_n_640_640.onnx"
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((100, 100, 3), 200, np.uint8))
    reasons = [
        examine(tmp_path, detector, SETTINGS, Photograph(name, name, 1)).reason
        for name in ("broken.jpg", "wall.png")
    ]
    assert reasons[0].startswith("unreadable: ")
    assert "broken.jpg" in reasons[0]
    assert reasons[1] == "no face"


def test_a_file_that_may_not_be_opened_is_told_and_looked_at_again(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: (_ for _ in ()).throw(PERMISSION))
    seen = examine(tmp_path, None, SETTINGS, Photograph("a.png", "a", 1))
    assert seen.reason == "cannot be opened: Permission denied"
    assert seen.sha256 == ""


PERMISSION = PermissionError(13, "Permission denied")


def test_without_a_detector_the_whole_picture_is_taken(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.tiff")
    settings = replace(SETTINGS, set="folder", faces="none", size=0)
    seen = examine(tmp_path, None, settings, Photograph("a.tiff", "a.tiff", 1))
    assert seen.landmarks == [[]]
    seen.numbers = [0]
    assert write_faces(tmp_path, tmp_path / "out", settings, seen) == ""
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.tiff.png"), picture())


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gets_the_pictures_it_asks_for_in_its_shape(name, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), smooth())
    settings = replace(SETTINGS, set=name)
    number = LAYOUTS[name].numbers[LAYOUTS[name].home("train")].start
    photo = Photograph("a.png", "ann", 1, landmarks=[LANDMARKS], numbers=[number])
    assert write_faces(tmp_path, tmp_path / "out", settings, photo) == ""
    files = picture_files(tmp_path / "out", settings, photo)
    assert sorted(files) == sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())
    for path in files:
        with Image.open(path) as image:
            kind = image.format
        assert kind == ("JPEG" if path.suffix == ".jpg" else "PNG")
        assert read_image(path).shape[:2] == LAYOUTS[name].shape(64)


@pytest.mark.parametrize("faces", ["largest", "none"])
def test_a_portrait_is_edited_as_a_whole_by_each_program(faces):
    settings = replace(SETTINGS, set="makeup", seed=2, faces=faces)
    points = np.array(LANDMARKS if faces == "largest" else [])
    made = make_pictures(smooth(), points, settings, 5, LAYOUTS["makeup"].files(AT_5))
    assert made.keys() == {"photograph", *EDITORS}
    assert made["photograph"].shape == ((64, 64, 3) if faces == "largest" else (200, 200, 3))
    for editor in EDITORS:
        np.testing.assert_array_equal(made[editor], edited(made["photograph"], editor, 2, 5))
        assert (made[editor] != made["photograph"]).any()


def test_degraded_pictures_are_a_function_of_the_seed_and_the_number():
    def made(seed, number):
        settings = replace(SETTINGS, set="facerenov", seed=seed)
        return make_pictures(smooth(), np.array(LANDMARKS), settings, number, ("degraded",))

    first, again = made(1, 5), made(1, 5)
    np.testing.assert_array_equal(first["degraded"], again["degraded"])
    assert (first["degraded"] != first["photograph"]).any()
    for seed, number in ((2, 5), (1, 6)):
        assert (made(seed, number)["degraded"] != first["degraded"]).any()
