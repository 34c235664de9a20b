import json
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from datamodules.layouts import LAYOUTS
from datamodules.preparation import (
    Photograph,
    PreparationError,
    Settings,
    faces_of,
    give_numbers,
    is_missing,
    listing,
    load,
    picture_files,
    save,
    strangers,
    usual_group,
    write_annotations,
    write_whole,
)

SETTINGS = Settings(
    size=64, seed=0, val=0.1, test=0.1, faces="largest", min_eyes=20, group="file", group_pattern=""
)
split_of = LAYOUTS["ffhqr"].split_of
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


def test_the_manifest_of_an_ffhqr_set_is_as_it_was_before_there_were_other_layouts(tmp_path):
    save(tmp_path, SETTINGS, {})
    told = json.loads((tmp_path / "prepared.json").read_text())
    assert told.keys() == {"settings", "photographs"}
    assert list(told["settings"]) == [
        *("size", "seed", "val", "test", "faces", "min_eyes", "group", "group_pattern")
    ]


def test_another_layout_is_named_in_the_manifest_with_what_has_to_be_known(tmp_path):
    settings = replace(SETTINGS, set="facerenov")
    save(tmp_path, settings, {})
    told = json.loads((tmp_path / "prepared.json").read_text())
    assert told["settings"]["set"] == "facerenov"
    assert "synthetic" in told["note"]
    assert load(tmp_path, settings) == {}
    with pytest.raises(PreparationError, match="was prepared with set=facerenov, got ffhqr"):
        load(tmp_path, SETTINGS)


def test_a_folder_of_drawn_faces_is_not_prepared_into(tmp_path):
    put(tmp_path, "drawn.json")
    with pytest.raises(PreparationError, match="holds drawn faces"):
        load(tmp_path, SETTINGS)


def test_celeba_gets_its_numbers_and_lists(tmp_path):
    settings, photographs = replace(SETTINGS, set="celeba", group="folder"), people(10, 2)
    give_numbers(photographs, settings)
    given = sorted(number for photo in photographs for number in photo.numbers)
    assert given == [*range(1, 17), 162_771, 162_772, 182_638, 182_639]
    write_annotations(tmp_path, settings, photographs[:-1])
    lines = (tmp_path / "identity_CelebA.txt").read_text().splitlines()
    identity = dict(line.split(" ") for line in lines)
    assert len(identity) == 19  # what could not be written is not listed
    for photo, other in zip(photographs[:-2:2], photographs[1:-2:2], strict=True):
        both = [identity[f"{p.numbers[0]:06d}.jpg"] for p in (photo, other)]
        assert both[0] == both[1]
    assert len(set(identity.values())) == 10


def test_annotations_that_are_there_already_are_not_written_again(tmp_path):
    settings, photographs = replace(SETTINGS, set="celeba"), people(3)
    give_numbers(photographs, settings)
    write_annotations(tmp_path, settings, photographs)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_annotations(tmp_path, settings, photographs)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert len(before) == 2


def test_a_tree_without_splits_takes_everybody_into_one():
    settings, photographs = replace(SETTINGS, set="frwild"), people(40)
    give_numbers(photographs, settings)
    assert sorted(n for photo in photographs for n in photo.numbers) == list(range(40))


def test_the_faces_of_a_photograph_are_told_apart(tmp_path):
    settings = replace(SETTINGS, set="folder")
    photo = Photograph("ann/1.jpg", "ann", 1, landmarks=[LANDMARKS] * 2, numbers=[3, 8])
    assert [(face.number, face.nth) for face in faces_of(photo)] == [(3, 0), (8, 1)]
    first, second = picture_files(tmp_path, settings, photo)
    assert first == tmp_path / "ann" / "1.jpg.png"
    assert second == tmp_path / "ann" / "1.jpg_2.png"
    assert is_missing(tmp_path, settings, photo)
    put(tmp_path, "ann/1.jpg.png", "ann/1.jpg_2.png")
    assert not is_missing(tmp_path, settings, photo)


def test_what_is_named_like_a_picture_and_is_no_file_is_told(tmp_path):
    put(tmp_path, "a.jpg", "notes.txt", "album.PNG/b.jpg", "old.heic")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    assert strangers(tmp_path) == {
        "album.PNG": "folder",
        "gone.jpg": "dead link",
        "old.heic": "unknown kind: .heic is not read, convert it to JPEG or PNG",
    }


def test_a_name_of_any_bytes_is_listed_and_numbered(tmp_path):
    put(tmp_path, os.fsdecode(b"\xff.jpg"), "a.jpg")
    found = listing(tmp_path, SETTINGS, limit=2)
    for photo in found:
        photo.landmarks = [LANDMARKS]
    give_numbers(found, SETTINGS)
    save(tmp_path, SETTINGS, {photo.name: photo for photo in found})
    assert load(tmp_path, SETTINGS) == {photo.name: photo for photo in found}
