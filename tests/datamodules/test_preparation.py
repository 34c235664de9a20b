import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.images import read_image
from datamodules.preparation import (
    Photograph,
    PreparationError,
    Settings,
    examine,
    give_numbers,
    is_missing,
    listing,
    load,
    make_pair,
    paths,
    save,
    split_of,
    usual_group,
    write_pairs,
    write_whole,
)

SETTINGS = Settings(
    size=64, seed=0, val=0.1, test=0.1, faces="largest", min_eyes=20, group="file", group_pattern=""
)
LANDMARKS = [[70.0, 80], [130, 80], [100, 115], [78, 145], [122, 145]]


def people(count: int, each: int = 1) -> list[Photograph]:
    return [
        Photograph(f"{person:03d}/{k}.jpg", f"{person:03d}", 1, landmarks=[LANDMARKS])
        for person in range(count)
        for k in range(each)
    ]


def numbers(photographs: list[Photograph]) -> dict[str, list[int]]:
    return {photo.name: photo.numbers for photo in photographs}


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_pairs_lie_where_ffhqr_has_them(tmp_path):
    raw, retouched = paths(tmp_path, 56012)
    assert raw == tmp_path / "images1024x1024" / "56000" / "56012.png"
    assert retouched == tmp_path / "FFHQR" / "56000" / "56012.png"


@pytest.mark.parametrize(
    ("number", "split"),
    [(0, "train"), (55999, "train"), (56000, "val"), (62999, "val"), (63000, "test")],
)
def test_splits_are_those_of_ffhqr(number, split):
    assert split_of(number) == split


def test_there_is_no_number_70000():
    with pytest.raises(ValueError, match="got 70000"):
        split_of(70_000)


def test_sub_folders_stand_for_people_unless_photographs_lie_beside_them(tmp_path):
    put(tmp_path, "ann/1.jpg", "bob/1.jpg", "notes.txt")
    assert usual_group(tmp_path) == "folder"
    put(tmp_path, "cat.png")
    assert usual_group(tmp_path) == "file"


def test_the_listing_is_sorted_and_holds_photographs_only(tmp_path):
    put(tmp_path, "b/2.JPG", "a/1.png", "b/1.webp", "b/notes.txt", "b/.hidden.jpg")
    found = listing(tmp_path, replace(SETTINGS, group="folder"))
    assert [photo.name for photo in found] == ["a/1.png", "b/1.webp", "b/2.JPG"]
    assert [photo.group for photo in found] == ["a", "b", "b"]


def test_a_pattern_names_the_person_across_folders(tmp_path):
    put(tmp_path, "neutral/001_03.jpg", "smiling/001_08.jpg", "neutral/002_03.jpg")
    found = listing(tmp_path, replace(SETTINGS, group_pattern=r"^(\d+)"))
    assert [photo.group for photo in found] == ["001", "002", "001"]


def test_a_name_that_the_pattern_does_not_fit_is_named(tmp_path):
    put(tmp_path, "001.jpg", "other.jpg")
    with pytest.raises(PreparationError, match=r"finds no person in the name of other\.jpg"):
        listing(tmp_path, replace(SETTINGS, group_pattern=r"^(\d+)"))


def test_a_smaller_limit_is_a_part_of_a_larger_one(tmp_path):
    put(tmp_path, *(f"{k}.jpg" for k in range(30)))
    few, more = ({p.name for p in listing(tmp_path, SETTINGS, limit)} for limit in (7, 19))
    assert len(few) == 7
    assert few < more


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(PreparationError, match=r"holds no photograph, looked for \.jpeg"):
        listing(put(tmp_path, "a.txt"), SETTINGS)


def test_numbers_do_not_depend_on_the_order_of_the_photographs():
    one, other = people(40, 3), people(40, 3)[::-1]
    give_numbers(one, SETTINGS)
    give_numbers(other, SETTINGS)
    assert numbers(one) == numbers(other)


def test_another_seed_puts_other_people_into_the_test():
    one, other = people(40), people(40)
    give_numbers(one, SETTINGS)
    give_numbers(other, replace(SETTINGS, seed=1))
    assert numbers(one) != numbers(other)


def test_numbers_are_dense_and_in_their_shares():
    photographs = people(100, 2)
    give_numbers(photographs, SETTINGS)
    given = sorted(number for photo in photographs for number in photo.numbers)
    assert given == [*range(160), *range(56000, 56020), *range(63000, 63020)]


def test_all_photographs_of_a_person_go_to_one_split():
    photographs = people(40, 5)
    give_numbers(photographs, SETTINGS)
    splits = defaultdict(set)
    for photo in photographs:
        splits[photo.group].update(split_of(number) for number in photo.numbers)
    assert all(len(found) == 1 for found in splits.values())


def test_photographs_added_later_move_no_number_and_join_their_people():
    before = people(30)
    give_numbers(before, SETTINGS)
    kept = {name: list(given) for name, given in numbers(before).items()}
    after = before + [photo for photo in people(60, 2) if photo.name not in kept]
    give_numbers(after, SETTINGS)
    found = numbers(after)
    assert all(found[name] == given for name, given in kept.items())
    for name, (number,) in kept.items():
        assert split_of(found[name.replace("0.jpg", "1.jpg")][0]) == split_of(number)
    given = [number for numbers in found.values() for number in numbers]
    assert len(given) == len(set(given)) == 120


def test_photographs_without_a_face_get_no_number():
    photographs = [Photograph("a.jpg", "a", 1, reason="no face"), *people(2)]
    give_numbers(photographs, SETTINGS)
    assert [photo.numbers for photo in photographs] == [[], [0], [1]]


def test_a_full_split_is_an_error_in_words():
    photographs = [Photograph("a", "a", 1, landmarks=[LANDMARKS], numbers=[55_999])]
    photographs.append(Photograph("b", "a", 1, landmarks=[LANDMARKS]))
    with pytest.raises(PreparationError, match="56000 pictures fill the train split"):
        give_numbers(photographs, SETTINGS)


def test_the_manifest_comes_back_as_it_was(tmp_path):
    known = {photo.name: photo for photo in people(3)}
    save(tmp_path, SETTINGS, known)
    assert load(tmp_path, SETTINGS) == known
    assert load(tmp_path / "elsewhere", SETTINGS) == {}


def test_other_settings_than_the_folder_was_prepared_with_are_refused(tmp_path):
    save(tmp_path, SETTINGS, {})
    with pytest.raises(PreparationError, match="was prepared with min-eyes=20, got 30"):
        load(tmp_path, replace(SETTINGS, min_eyes=30))


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', '{"settings": {"x": 1}}'])
def test_a_broken_manifest_is_refused_in_words(tmp_path, text):
    (tmp_path / "prepared.json").write_text(text)
    with pytest.raises(PreparationError, match="is no manifest"):
        load(tmp_path, SETTINGS)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_pair_has_the_size_asked_for_and_differs_in_the_skin_only():
    picture = np.full((200, 200, 3), (60, 90, 120), np.uint8)
    cv2.ellipse(picture, (100, 108), (58, 72), 0, 0, 360, (205, 150, 120), -1)
    picture += np.random.default_rng(0).integers(0, 12, (200, 200, 1), np.uint8)
    raw, retouched = make_pair(picture, np.array(LANDMARKS), 128)
    assert raw.shape == retouched.shape == (128, 128, 3)
    assert (raw != retouched).any()
    np.testing.assert_array_equal(raw[:, :15], retouched[:, :15])


def test_pairs_are_written_as_png_that_read_back_the_same(tmp_path):
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (200, 200, 3), np.uint8), (0, 0), 2)
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    photo = Photograph("a.png", "a", 1, landmarks=[LANDMARKS], numbers=[63_001])
    assert is_missing(tmp_path / "out", photo)
    assert write_pairs(tmp_path, tmp_path / "out", SETTINGS, photo) == ""
    assert not is_missing(tmp_path / "out", photo)
    for path, expected in zip(
        paths(tmp_path / "out", 63_001), make_pair(picture, np.array(LANDMARKS), 64), strict=True
    ):
        np.testing.assert_array_equal(read_image(path), expected)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_photograph_that_became_unreadable_is_told_and_not_raised(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    photo = Photograph("a.png", "a", 1, landmarks=[LANDMARKS], numbers=[0])
    assert "could not be made into a pair" in write_pairs(tmp_path, tmp_path, SETTINGS, photo)


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
