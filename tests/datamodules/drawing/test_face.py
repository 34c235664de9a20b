import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from datamodules.drawing.face import DrawnFace, draw_face, draw_parts
from datamodules.drawing.parts import Part

GOLDEN = Path(__file__).parents[2] / "golden" / "drawn_faces.json"


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


SEEN = set(Part) - {Part.GLASSES, Part.HAT, Part.EARRING, Part.NECKLACE}


def test_all_parts_that_a_drawn_face_can_have_are_named_in_some_face() -> None:
    found = {int(part) for i in (3, 9, 13) for part in np.unique(draw_parts(i, 0, 96))}
    assert found == SEEN


@pytest.mark.parametrize("identity", [1, 3, 12, 17])
def test_parts_lie_where_they_are_drawn(identity: int) -> None:
    parts = draw_parts(identity, 0, 128)
    rows, columns = np.indices(parts.shape)

    def middle(part: Part) -> tuple[float, float]:
        return rows[parts == part].mean(), columns[parts == part].mean()

    heights = [middle(part)[0] for part in (Part.HAIR, Part.LEFT_BROW, Part.LEFT_EYE, Part.NOSE)]
    heights += [middle(part)[0] for part in (Part.UPPER_LIP, Part.LOWER_LIP, Part.CLOTHES)]
    assert heights == sorted(heights)
    for left, right in ((Part.LEFT_EYE, Part.RIGHT_EYE), (Part.LEFT_BROW, Part.RIGHT_BROW)):
        assert middle(left)[1] < middle(Part.NOSE)[1] < middle(right)[1]


def test_the_whites_of_the_eyes_are_brighter_than_the_dark_skin_around_them() -> None:
    face, parts = draw_face(3, 0, 256).clean.mean(2), draw_parts(3, 0, 256)
    eyes = (parts == Part.LEFT_EYE) | (parts == Part.RIGHT_EYE)
    assert np.percentile(face[eyes], 80) > 2 * face[parts == Part.SKIN].mean()
    assert face[parts == Part.HAIR].mean() < 0.8 * face[parts == Part.BACKGROUND].mean()


def test_the_parts_of_a_small_picture_are_those_of_the_large_one() -> None:
    large, small = draw_parts(3, 0, 96), draw_parts(3, 0, 32)
    assert small.dtype == np.uint8
    assert np.array_equal(small, large[1::3, 1::3])


def test_parts_are_refused_where_a_face_is() -> None:
    with pytest.raises(ValueError, match="got 31"):
        draw_parts(0, 0, 31)
    with pytest.raises(ValueError, match="must not be negative"):
        draw_parts(0, -1, 32)
