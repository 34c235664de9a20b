import io
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datamodules.alignment import to_crop
from datamodules.degradations.beautify import EDITORS
from datamodules.ffhq import DIVISIONS
from datamodules.layouts import LAYOUTS, Face, celeba_quad, degraded, jpeg, safe_name
from datamodules.numbered import SPLITS
from tests.datamodules.pictures import picture

ANN = Face(0, "ann", "ann/1.jpg")


def at(number: int) -> Face:
    return replace(ANN, number=number)


def test_pairs_lie_where_ffhqr_has_them():
    assert LAYOUTS["ffhqr"].files(at(56_012)) == {
        "photograph": "images1024x1024/56000/56012.png",
        "retouched": "FFHQR/56000/56012.png",
    }


@pytest.mark.parametrize(
    ("number", "split"),
    [(0, "train"), (55999, "train"), (56000, "val"), (62999, "val"), (63000, "test")],
)
def test_splits_are_those_of_ffhqr(number, split):
    assert LAYOUTS["ffhqr"].split_of(number) == split


def test_there_is_no_number_70000():
    with pytest.raises(ValueError, match="got 70000"):
        LAYOUTS["ffhqr"].split_of(70_000)


@pytest.mark.parametrize("division", DIVISIONS)
def test_ffhq_s_numbers_are_in_the_same_split_by_either_division(division):
    for split, numbers in LAYOUTS["ffhq"].numbers.items():
        wanted = DIVISIONS[division][split]
        assert numbers[0] in wanted
        assert numbers[-1] in wanted


def test_a_place_counts_from_the_start_of_the_split_and_in_ffhq_from_ffhqr_s():
    assert LAYOUTS["celeba"].place(1) == 0
    assert LAYOUTS["celeba"].place(162_775) == 4
    assert LAYOUTS["ffhq"].place(60_000) == 60_000 - SPLITS["val"].start


@pytest.mark.parametrize(
    ("layout", "number", "files"),
    [
        ("ffhq", 65_001, {"photograph": "images1024x1024/65000/65001.png"}),
        ("celeba", 162_771, {"photograph": "img_align_celeba/162771.jpg"}),
        ("vggface2", 4, {"photograph": "train/ann/0005_01.jpg"}),
        ("vggface2", 10_000_000, {"photograph": "train/ann/0001_01.jpg"}),
        ("vggface2", 20_000_011, {"photograph": "test/ann/0012_01.jpg"}),
        (
            "facerenov",
            20_000_002,
            {"degraded": "test/lq/ann/00002.png", "photograph": "test/hq/ann/00002.png"},
        ),
        ("facerenov", 10_000_002, {"degraded": "real_lq/ann/00002.png"}),
        ("frwild", 7, {"degraded": "00007.png"}),
        ("folder", 7, {"photograph": "ann/1.jpg.png"}),
        (
            "makeup",
            7,
            {
                "photograph": "original/ann/1.jpg.png",
                "mt": "mt/ann/1.jpg.png",
                "ps": "ps/ann/1.jpg.png",
                "ins": "ins/ann/1.jpg.png",
            },
        ),
    ],
)
def test_every_layout_has_its_tree(layout, number, files):
    assert LAYOUTS[layout].files(at(number)) == files


@pytest.mark.parametrize(
    ("face", "file"),
    [
        (Face(0, "1.jpg", "1.jpg"), "1.jpg.png"),
        (Face(0, "ann", "ann/2019/1.jpg"), "ann/2019/1.jpg.png"),
        (Face(0, "001", "neutral/001_03.jpg"), "001/neutral/001_03.jpg.png"),
        (Face(0, "ann", "ann/1.jpg", 1), "ann/1.jpg_2.png"),
    ],
)
def test_a_folder_keeps_the_names_of_the_photographs(face, file):
    assert LAYOUTS["folder"].files(face) == {"photograph": file}


def test_celeba_s_lists_have_the_splits_and_one_number_a_person():
    faces = [Face(182_638, "eve", "e"), Face(2, "ann", "b"), Face(1, "bob", "c")]
    faces += [Face(3, "ann", "d"), Face(162_771, "kim", "k")]
    assert LAYOUTS["celeba"].annotations(faces) == {
        "list_eval_partition.txt": (
            "000001.jpg 0\n000002.jpg 0\n000003.jpg 0\n162771.jpg 1\n182638.jpg 2\n"
        ),
        "identity_CelebA.txt": (
            "000001.jpg 1\n000002.jpg 2\n000003.jpg 2\n162771.jpg 162771\n182638.jpg 182638\n"
        ),
    }
    assert LAYOUTS["ffhq"].annotations(faces[1:2]) == {}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_frame_of_a_square_has_the_layout_s_shape(name):
    layout = LAYOUTS[name]
    height, width = layout.shape(90)
    framed = layout.framed(picture(height, height))
    assert framed.shape == (height, width, 3)
    left = (height - width) // 2
    np.testing.assert_array_equal(framed, picture(height, height)[:, left : left + width])


def test_sets_with_made_up_halves_say_so():
    for name, layout in LAYOUTS.items():
        starts = [numbers.start for numbers in layout.numbers.values()]
        made_up = {"degraded", *EDITORS}
        makes_up = any(made_up & {*layout.files(at(start))} for start in starts)
        assert ("synthetic" in layout.note) == makes_up, name


def moved(angle: float, scale: float, shift: complex) -> np.ndarray:
    """CelebA's points, and a nose, turned, scaled and shifted."""
    points = np.array([69 + 111j, 109 + 111j, 89 + 130j, 72 + 152j, 106 + 152j])
    points = points * scale * np.exp(1j * angle) + shift
    return np.stack([points.real, points.imag], 1)


@pytest.mark.parametrize("angle", [-0.6, 0.0, 0.3])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_a_face_of_any_pose_in_the_plane_is_put_where_celeba_has_it(angle, scale):
    landmarks = moved(angle, scale, 40 - 15j)
    found = to_crop(landmarks, celeba_quad(landmarks), 218)
    np.testing.assert_allclose(found - [20, 0], moved(0, 1, 0), atol=1e-9)


def test_a_face_of_other_proportions_is_fitted_by_least_squares():
    landmarks = moved(0.2, 2.0, 10j)
    landmarks[3:] += [3.0, 9.0]

    def error(quad: np.ndarray) -> float:
        found = to_crop(landmarks, quad, 218) - [20, 0]
        three = np.stack([found[0], found[1], found[3:].mean(0)])
        return float(((three - [[69, 111], [109, 111], [89, 152]]) ** 2).sum())

    quad = celeba_quad(landmarks)
    centre = quad.mean(0)
    turn = np.array([[1, -0.01], [0.01, 1]])
    others = [quad + 0.5, quad - [0, 0.5], centre + 1.01 * (quad - centre)]
    others += [centre + 0.99 * (quad - centre), centre + (quad - centre) @ turn]
    assert all(error(quad) < error(other) for other in others)


def test_landmarks_that_are_no_face_are_refused():
    with pytest.raises(ValueError, match="span no face"):
        celeba_quad(np.zeros((5, 2)))


@pytest.mark.parametrize(
    "name", ["ann", "m\u00e4dchen", "a b.c", "\u0939\u093f\u0928\u094d\u0926\u0940"]
)
def test_a_harmless_name_stays(name):
    assert safe_name(name) == name


@given(st.text(), st.text())
def test_names_are_safe_and_different_for_different_texts(one, other):
    name = safe_name(one)
    assert 0 < len(os.fsencode(name)) < 120
    assert name.isprintable()
    assert not set(name) & set('<>:"/\\|?*')
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert (name == safe_name(other)) == (one == other)


def test_a_name_of_any_bytes_is_made_safe():
    assert safe_name(os.fsdecode(b"\xff")).startswith("_-")


def test_degraded_pictures_follow_from_seed_and_number():
    image = picture(64, 64)
    np.testing.assert_array_equal(degraded(image, 1, 2), degraded(image, 1, 2))
    assert degraded(image, 1, 2).dtype == np.uint8
    assert (degraded(image, 1, 2) != degraded(image, 1, 3)).any()
    with pytest.raises(ValueError, match="must be 0 or more"):
        degraded(image, -1, 2)


def test_a_jpeg_is_one_of_quality_95():
    tables = Image.open(io.BytesIO(jpeg(picture()))).quantization  # type: ignore[attr-defined]
    assert tables[0][0] == 2  # the standard's 16 at quality 95, (16 * 10 + 50) // 100
