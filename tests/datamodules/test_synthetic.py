import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.degradations.beautify import EDITORS, Editor
from datamodules.drawing.face import draw_parts
from datamodules.images import read_image
from datamodules.layouts import LAYOUTS, degraded
from datamodules.spoiling import edited
from datamodules.synthetic import DrawnSet, draw_face, may_be_drawn, write_drawn, write_parts

SMALL = DrawnSet(train=3, val=1, test=2, size=32, photographs=2)


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
    write_drawn(tmp_path / "new", "ffhqr", SMALL, workers=1)
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
    write_drawn(tmp_path / "one", "ffhqr", SMALL, workers=1)
    write_drawn(tmp_path / "two", "ffhqr", SMALL, workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_finished_set_is_left_alone(tmp_path: Path) -> None:
    write_drawn(tmp_path, "ffhqr", SMALL, workers=1)
    picture = tmp_path / "FFHQR/00000/00000.png"
    picture.write_bytes(b"mine")
    write_drawn(tmp_path, "ffhqr", SMALL, workers=1)
    assert picture.read_bytes() == b"mine"


def test_an_interrupted_set_is_finished_without_drawing_again(tmp_path: Path) -> None:
    write_drawn(tmp_path, "ffhqr", SMALL, workers=1)
    whole = files(tmp_path)
    (tmp_path / "drawn.json").rename(tmp_path / "drawn.unfinished.json")
    (tmp_path / "FFHQR/00000/00001.png").unlink()
    (tmp_path / "FFHQR/00000/00001.png.7.tmp").write_bytes(b"half")
    kept = tmp_path / "FFHQR/00000/00000.png"
    before = kept.stat().st_mtime_ns
    write_drawn(tmp_path, "ffhqr", SMALL, workers=1)
    assert files(tmp_path) == whole
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("marker", ["drawn.json", "drawn.unfinished.json"])
def test_another_set_in_the_folder_is_refused(tmp_path: Path, marker: str) -> None:
    write_drawn(tmp_path, "ffhqr", SMALL, workers=1)
    (tmp_path / "drawn.json").rename(tmp_path / marker)
    with pytest.raises(ValueError, match="another set or version"):
        write_drawn(tmp_path, "ffhqr", DrawnSet(train=1, val=0, test=0, size=32), workers=1)


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"photograph")
    with pytest.raises(ValueError, match="files that are not drawn faces"):
        write_drawn(tmp_path, "ffhqr", SMALL, workers=1)
    assert files(tmp_path) == {"holiday.jpg": b"photograph"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        write_drawn(tmp_path / "file", "ffhqr", SMALL, workers=1)


def test_negative_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got -1"):
        write_drawn(tmp_path, "ffhqr", SMALL, workers=-1)


def test_a_layout_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layout must be one of ffhq, .*, got imagenet"):
        write_drawn(tmp_path, "imagenet", SMALL)


def test_more_faces_than_a_layout_has_numbers_are_refused_before_any_is_drawn(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="this layout has 10000 numbers for train"):
        write_drawn(tmp_path / "new", "ffhq", DrawnSet(train=10_001, size=32))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_drawn_in_its_shape_and_says_which_it_is(
    tmp_path: Path, layout: str
) -> None:
    faces = DrawnSet(train=2, val=1, test=1, size=32)
    write_drawn(tmp_path, layout, faces, workers=1)
    pictures = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg")]
    expected = {"ffhqr": 8, "facerenov": 7, "makeup": 16}
    assert len(pictures) == expected.get(layout, 4)
    assert {read_image(path).shape[:2] for path in pictures} == {LAYOUTS[layout].shape(32)}
    told = json.loads((tmp_path / "drawn.json").read_text())
    assert told.get("layout", "ffhqr") == layout
    assert ("note" in told) == (layout in ("facerenov", "frwild", "makeup"))
    before = files(tmp_path)
    write_drawn(tmp_path, layout, faces, workers=1)
    assert files(tmp_path) == before


def test_another_layout_in_the_folder_is_refused(tmp_path: Path) -> None:
    faces = DrawnSet(train=1, val=0, test=0, size=32)
    write_drawn(tmp_path, "folder", faces, workers=1)
    with pytest.raises(ValueError, match="another set or version"):
        write_drawn(tmp_path, "ffhq", faces, workers=1)


def test_a_number_of_ffhq_shows_the_face_that_it_shows_in_ffhqr(tmp_path: Path) -> None:
    write_drawn(tmp_path, "ffhq", SMALL, workers=1)
    for number in (1, 60_000, 65_001):
        name = f"images1024x1024/{number // 1000 * 1000:05d}/{number:05d}.png"
        assert np.array_equal(read_image(tmp_path / name), SMALL.drawn(number).raw)


def test_drawn_celeba_is_the_middle_of_a_larger_face_with_its_person(tmp_path: Path) -> None:
    write_drawn(tmp_path, "celeba", DrawnSet(train=3, val=0, test=0, photographs=2), workers=1)
    saved = read_image(tmp_path / "img_align_celeba/000002.jpg").astype(int)
    drawn = draw_face(0, 1, 218).raw[:, 20:198]
    assert np.abs(saved - drawn).mean() < 3
    told = (tmp_path / "identity_CelebA.txt").read_text()
    assert told == "000001.jpg 1\n000002.jpg 1\n000003.jpg 3\n"


def test_a_person_is_a_folder_where_the_layout_has_folders(tmp_path: Path) -> None:
    write_drawn(tmp_path / "a", "vggface2", SMALL, workers=1)
    write_drawn(tmp_path / "b", "folder", SMALL, workers=1)
    assert sorted(name for name in files(tmp_path / "a") if name.endswith("jpg")) == [
        *("test/n063000/0001_01.jpg", "test/n063000/0002_01.jpg", "train/n000000/0001_01.jpg"),
        *("train/n000000/0002_01.jpg", "train/n000001/0003_01.jpg", "train/n056000/0001_01.jpg"),
    ]
    assert "n000000/0002.png" in files(tmp_path / "b")


def test_a_degraded_half_is_made_of_the_clean_one(tmp_path: Path) -> None:
    write_drawn(tmp_path, "facerenov", DrawnSet(train=1, val=1, test=0, size=64), workers=1)
    clean = read_image(tmp_path / "train/hq/n000000/00000.png")
    spoilt = read_image(tmp_path / "train/lq/n000000/00000.png")
    assert np.array_equal(spoilt, degraded(clean, 0, 0))
    assert not (tmp_path / "real_hq").exists()
    assert (tmp_path / "real_lq/n056000/00000.png").exists()


@pytest.mark.parametrize("editor", EDITORS)
def test_an_edited_portrait_is_made_of_the_original(tmp_path: Path, editor: Editor) -> None:
    write_drawn(tmp_path, "makeup", replace(SMALL, size=64, seed=3), workers=1)
    names = [path.relative_to(tmp_path / editor) for path in (tmp_path / editor).rglob("*.png")]
    assert len(names) == 6
    name = "n000000/0002.png"  # the second picture, number 1
    original = read_image(tmp_path / "original" / name)
    assert np.array_equal(original, draw_face(0, 1, 64, 3).raw)
    assert np.array_equal(read_image(tmp_path / editor / name), edited(original, editor, 3, 1))


def test_only_a_new_or_empty_folder_or_drawn_faces_may_be_drawn_to(tmp_path: Path) -> None:
    assert may_be_drawn(tmp_path / "new")
    assert may_be_drawn(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes(b"photograph")
    assert not may_be_drawn(tmp_path)
    assert not may_be_drawn(tmp_path / "holiday.jpg")
    (tmp_path / "drawn.unfinished.json").write_text("{}")
    assert may_be_drawn(tmp_path)


def test_the_parts_of_drawn_faces_are_written_beside_them_under_their_numbers(
    tmp_path: Path,
) -> None:
    write_drawn(tmp_path, "ffhq", SMALL, workers=1)
    before = files(tmp_path)
    write_parts(tmp_path, "parsing", SMALL, workers=1)
    new = {name: data for name, data in files(tmp_path).items() if name not in before}
    assert {name.removeprefix("parsing/") for name in new} == {
        name.removeprefix("images1024x1024/") for name in before if name.endswith("png")
    }
    saved = np.asarray(Image.open(tmp_path / "parsing/65000/65001.png"))
    assert np.array_equal(saved, draw_parts(*SMALL.shown(65_001), 32))
    (tmp_path / "parsing/00000/00001.png").unlink()
    (tmp_path / "parsing/00000/00002.png").write_bytes(b"mine")
    write_parts(tmp_path, "parsing", SMALL, workers=1)
    again = files(tmp_path)
    assert again.pop("parsing/00000/00002.png") == b"mine"
    assert again.items() <= (before | new).items()


def test_parts_are_of_a_set_that_is_drawn_and_of_no_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no set of drawn faces in the layout of ffhq"):
        write_parts(tmp_path, "parsing", SMALL)
    write_drawn(tmp_path, "ffhq", SMALL, workers=1)
    with pytest.raises(ValueError, match="another set or version"):
        write_parts(tmp_path, "parsing", replace(SMALL, seed=1))
