import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.synthetic import DrawnFace, DrawnSet, draw_face, write_ffhqr

GOLDEN = Path(__file__).parents[1] / "golden" / "drawn_faces.json"
SMALL = DrawnSet(train=3, val=1, test=2, size=32, photographs=2)


def checksum(face: DrawnFace) -> str:
    # The mask is stored in float32; its byte order is fixed so that every machine agrees.
    parts = (face.raw.tobytes(), face.clean.tobytes(), face.mask.astype("<f4").tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def changed(face: DrawnFace) -> np.ndarray:
    return np.abs(face.raw.astype(int) - face.clean).mean(2)


@pytest.mark.parametrize("name", json.loads(GOLDEN.read_text()))
def test_a_face_has_the_same_bytes_on_every_machine(name: str) -> None:
    identity, photograph, size, seed = (int(part) for part in name.split("-"))
    expected = json.loads(GOLDEN.read_text())[name]
    assert checksum(draw_face(identity, photograph, size, seed)) == expected


@pytest.mark.parametrize("size", [32, 33, 64, 95, 97, 128, 200])
def test_every_size_gives_pictures_and_a_mask_of_that_size(size: int) -> None:
    face = draw_face(1, 0, size)
    assert face.raw.shape == face.clean.shape == (size, size, 3)
    assert face.raw.dtype == face.clean.dtype == np.uint8
    assert face.mask.shape == (size, size)
    assert face.mask.dtype == np.float32


def test_the_largest_size_is_drawn() -> None:
    assert draw_face(2, 0, 512).raw.shape == (512, 512, 3)


@pytest.mark.parametrize("identity", range(12))
def test_raw_equals_clean_exactly_where_the_mask_is_zero(identity: int) -> None:
    face = draw_face(identity, 0, 128)
    assert np.array_equal(face.raw[face.mask == 0], face.clean[face.mask == 0])
    assert (face.mask == 0).mean() > 0.5
    assert 0.0 < face.mask.max() <= 1.0


@pytest.mark.parametrize("identity", range(20, 44))
def test_every_face_has_a_visible_amount_of_imperfections(identity: int) -> None:
    difference = changed(draw_face(identity, 1, 96))
    assert 0.02 <= (difference > 3).mean() <= 0.12
    assert difference.max() > 10


def test_what_the_mask_covers_strongly_is_changed() -> None:
    face = draw_face(4, 0, 128)
    assert changed(face)[face.mask > 0.6].mean() > 6


def test_a_small_picture_is_the_large_one_averaged() -> None:
    large, small = draw_face(3, 0, 256), draw_face(3, 0, 32)
    averaged = large.clean.reshape(32, 8, 32, 8, 3).mean((1, 3))
    assert np.abs(averaged - small.clean).mean() < 4


def test_another_photograph_of_a_person_is_another_picture() -> None:
    first, second = draw_face(5, 0, 64), draw_face(5, 1, 64)
    assert np.abs(first.clean.astype(int) - second.clean).mean() > 5


def test_another_seed_is_another_person() -> None:
    first, second = draw_face(5, 0, 64), draw_face(5, 0, 64, seed=1)
    assert np.abs(first.clean.astype(int) - second.clean).mean() > 5


@pytest.mark.parametrize("size", [31, 513])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"got {size}"):
        draw_face(0, 0, size)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative, got -1, 0 and 0"):
        draw_face(-1, 0, 32)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"train": 56_001}, "train"),
        ({"val": -1}, "val"),
        ({"size": 16}, "size"),
        ({"photographs": 0}, "photographs"),
    ],
)
def test_a_set_with_a_number_out_of_range_is_refused(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DrawnSet(**wrong)


def test_people_are_disjoint_between_splits_and_have_their_photographs(tmp_path: Path) -> None:
    assert SMALL.numbers == [0, 1, 2, 56_000, 63_000, 63_001]
    assert np.array_equal(SMALL.drawn(1).raw, draw_face(0, 1, 32).raw)
    assert np.array_equal(SMALL.drawn(2).raw, draw_face(1, 0, 32).raw)
    assert np.array_equal(SMALL.drawn(63_001).raw, draw_face(63_000, 1, 32).raw)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_written_set_has_the_layout_of_ffhqr(tmp_path: Path) -> None:
    write_ffhqr(tmp_path / "new", SMALL, workers=1)
    names = ("00000/00000", "00000/00001", "00000/00002", "56000/56000")
    names += ("63000/63000", "63000/63001")
    expected = {f"{side}/{n}.png" for side in ("images1024x1024", "FFHQR") for n in names}
    assert set(files(tmp_path / "new")) == expected | {"drawn.json"}
    raw = np.asarray(Image.open(tmp_path / "new/images1024x1024/56000/56000.png"))
    clean = np.asarray(Image.open(tmp_path / "new/FFHQR/56000/56000.png"))
    face = draw_face(56_000, 0, 32)
    assert np.array_equal(raw, face.raw)
    assert np.array_equal(clean, face.clean)


def test_two_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    write_ffhqr(tmp_path / "one", SMALL, workers=1)
    write_ffhqr(tmp_path / "two", SMALL, workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_finished_set_is_left_alone(tmp_path: Path) -> None:
    write_ffhqr(tmp_path, SMALL, workers=1)
    picture = tmp_path / "FFHQR/00000/00000.png"
    picture.write_bytes(b"mine")
    write_ffhqr(tmp_path, SMALL, workers=1)
    assert picture.read_bytes() == b"mine"


def test_an_interrupted_set_is_finished_without_drawing_again(tmp_path: Path) -> None:
    write_ffhqr(tmp_path, SMALL, workers=1)
    whole = files(tmp_path)
    (tmp_path / "drawn.json").rename(tmp_path / "drawn.unfinished.json")
    (tmp_path / "FFHQR/00000/00001.png").unlink()
    (tmp_path / "FFHQR/00000/00001.png.7.tmp").write_bytes(b"half")
    kept = tmp_path / "FFHQR/00000/00000.png"
    before = kept.stat().st_mtime_ns
    write_ffhqr(tmp_path, SMALL, workers=1)
    assert files(tmp_path) == whole
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("marker", ["drawn.json", "drawn.unfinished.json"])
def test_another_set_in_the_folder_is_refused(tmp_path: Path, marker: str) -> None:
    write_ffhqr(tmp_path, SMALL, workers=1)
    (tmp_path / "drawn.json").rename(tmp_path / marker)
    with pytest.raises(ValueError, match="another set or version"):
        write_ffhqr(tmp_path, DrawnSet(train=1, val=0, test=0, size=32), workers=1)


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"photograph")
    with pytest.raises(ValueError, match="files that are not drawn faces"):
        write_ffhqr(tmp_path, SMALL, workers=1)
    assert files(tmp_path) == {"holiday.jpg": b"photograph"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        write_ffhqr(tmp_path / "file", SMALL, workers=1)


def test_negative_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got -1"):
        write_ffhqr(tmp_path, SMALL, workers=-1)
