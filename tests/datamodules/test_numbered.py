import json
import os
import shutil
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from datamodules import index
from datamodules.index import INDEX
from datamodules.listing import read_listing
from datamodules.numbered import (
    RAW,
    RETOUCHED,
    SPLITS,
    check_pairs,
    check_photographs,
    list_pairs,
    numbered_photographs,
    of_split,
)
from tests.datamodules.pictures import damage, write_set


def write(path, size=16, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


NUMBERS = [0, 3, 999, 1000, 55999, 56000, 62999, 63000, 69999]
look = partial(check_photographs, verify="full", wanted=[range(70_000)])


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "PNG"])
def test_pairs_are_found_flat_or_in_folders_of_a_thousand(tmp_path, flat, ending):
    pairs = list_pairs(write_set(tmp_path, NUMBERS, flat=flat, ending=ending))
    assert [(p.number, p.name) for p in pairs] == [(n, f"{n:05d}") for n in NUMBERS]
    for pair in pairs:
        assert pair.raw.is_relative_to(tmp_path / RAW)
        assert pair.retouched.is_relative_to(tmp_path / RETOUCHED)
        assert pair.raw.is_file()
        assert pair.raw.stem == pair.retouched.stem == pair.name


def test_numbers_decide_the_split(tmp_path):
    pairs = list_pairs(write_set(tmp_path, NUMBERS))
    numbers = {split: [p.number for p in of_split(pairs, split)] for split in SPLITS}
    train, val, test = [0, 3, 999, 1000, 55999], [56000, 62999], [63000, 69999]
    assert numbers == {"train": train, "val": val, "test": test}


def test_an_empty_split_is_refused_with_its_numbers(tmp_path):
    pairs = list_pairs(write_set(tmp_path, [1, 2]))
    with pytest.raises(ValueError, match="no photograph for val: none is numbered 56000 to 62999"):
        of_split(pairs, "val")


def test_files_of_other_names_and_deep_or_circular_folders_are_passed_over(tmp_path):
    write_set(tmp_path, [1])
    (tmp_path / RAW / "LICENSE.txt").write_text("words")
    write(tmp_path / RAW / "00001 (copy).png")
    write(tmp_path / RAW / "mask_00002.png")
    (tmp_path / RAW / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a" / "back").symlink_to(tmp_path / "elsewhere")
    assert [pair.number for pair in list_pairs(tmp_path)] == [1]


@pytest.mark.parametrize("gone", ["", RAW, RETOUCHED])
def test_a_missing_folder_is_named_with_where_to_get_the_set(tmp_path, gone):
    root = write_set(tmp_path / "set", [1])
    shutil.rmtree(root / gone)
    with pytest.raises(FileNotFoundError, match="make prepare SET=ffhqr FROM=") as caught:
        list_pairs(root)
    assert str(root / gone) in str(caught.value)
    assert "ffhq-dataset" in str(caught.value)
    assert "CC BY-NC-SA 4.0" in str(caught.value)


def test_missing_halves_are_counted_and_the_first_is_named(tmp_path):
    write_set(tmp_path, range(10))
    for half, number in ((RAW, 7), (RETOUCHED, 4), (RETOUCHED, 8)):
        (tmp_path / half / "00000" / f"{number:05d}.png").unlink()
    with pytest.raises(ValueError, match="3 of 10 photographs") as caught:
        list_pairs(tmp_path)
    assert f"{tmp_path / RAW / '00000' / '00004.png'}, which has none in FFHQR" in str(caught.value)


def test_two_pictures_of_one_number_are_both_named(tmp_path):
    write_set(tmp_path, [5])
    write(tmp_path / RAW / "00005.jpg")
    with pytest.raises(ValueError, match="remove one") as caught:
        list_pairs(tmp_path)
    assert "00005.png" in str(caught.value)
    assert "00005.jpg" in str(caught.value)


def test_a_number_beyond_the_last_split_is_refused(tmp_path):
    write_set(tmp_path, [70000])
    with pytest.raises(ValueError, match=r"70000\.png belongs to no split"):
        list_pairs(tmp_path)


def test_each_photograph_is_another_person_unless_the_set_says_who_is_on_it(tmp_path):
    numbers = [0, 1, 2, 56000, 56001]
    write_set(tmp_path, numbers)
    assert len({pair.person for pair in list_pairs(tmp_path)}) == 5
    photographs = [{"group": "ann", "numbers": [0, 2]}, {"group": "bo", "numbers": [56000, 56001]}]
    (tmp_path / "prepared.json").write_text(json.dumps({"photographs": photographs}))
    assert [pair.person for pair in list_pairs(tmp_path)] == ["ann", "1", "ann", "bo", "bo"]
    (tmp_path / "drawn.json").write_text(json.dumps({"faces": {"photographs": 2}}))
    people = [pair.person for pair in list_pairs(tmp_path)]
    assert people[0] == people[1] != people[2]
    assert people[3] == people[4]
    assert len(set(people)) == 3


def test_notes_that_do_not_tell_who_is_on_a_picture_are_refused(tmp_path):
    write_set(tmp_path, [0])
    for text in ("", "[]", "{}", '{"photographs": [{"numbers": [0]}]}'):
        (tmp_path / "prepared.json").write_text(text)
        with pytest.raises(ValueError, match=r"prepared\.json does not tell who"):
            list_pairs(tmp_path)


def break_files(root):
    """Breaks 6 of the pictures of a set of 20 pairs, each in its own way."""
    raw, retouched = root / RAW / "00000", root / RETOUCHED / "00000"
    (raw / "00001.png").write_bytes(b"")
    (raw / "00003.png").write_bytes((raw / "00003.png").read_bytes()[:-50])
    (retouched / "00005.png").write_text("words and no picture")
    write(retouched / "00007.png", size=1)
    (raw / "00009.png").unlink()
    (raw / "00009.png").symlink_to("gone.png")
    (raw / "00011.png").unlink()
    Image.new("RGB", (40, 20)).save(raw / "00011.png")


def test_broken_pictures_are_refused_in_one_sentence_with_the_first_five(tmp_path):
    break_files(write_set(tmp_path, range(20)))
    with pytest.raises(ValueError, match="6 of 40 pictures") as caught:
        check_pairs(tmp_path, list_pairs(tmp_path))
    told = str(caught.value)
    names = ("00001.png: is empty", "00003.png: cannot", "00005.png: is not", "00007.png: is 1 x 1")
    assert all(name in told for name in names)
    assert "00009.png: is a dead link" in told
    assert "00011.png" not in told
    assert "and 1 more" in told
    assert "\n" not in told


def test_a_picture_that_is_not_square_is_refused(tmp_path):
    write_set(tmp_path, [0, 1])
    Image.new("RGB", (40, 20)).save(tmp_path / RAW / "00000" / "00001.png")
    with pytest.raises(ValueError, match=r"1 of 4 pictures .*00001\.png: is 40 x 20, not square"):
        check_pairs(tmp_path, list_pairs(tmp_path))


def test_a_folder_named_like_a_picture_is_refused(tmp_path):
    write_set(tmp_path, [0, 1])
    (tmp_path / RAW / "00000" / "00001.png").unlink()
    (tmp_path / RAW / "00000" / "00001.png").mkdir()
    with pytest.raises(ValueError, match=r"00001\.png: is a folder"):
        check_pairs(tmp_path, list_pairs(tmp_path))


def test_damage_inside_a_png_is_found_by_the_full_check_only(tmp_path):
    pairs = list_pairs(write_set(tmp_path, [0, 1]))
    damage(pairs[1].retouched)
    check_pairs(tmp_path, pairs, "header")
    with pytest.raises(ValueError, match=r"1 of 4 pictures .*00001\.png"):
        check_pairs(tmp_path, pairs, "full")


def counting(monkeypatch):
    seen = []
    for level, check in dict(index._CHECKS).items():
        monkeypatch.setitem(
            index._CHECKS, level, lambda path, check=check: seen.append(path) or check(path)
        )
    return seen


def test_only_what_changed_is_looked_at_again(tmp_path, monkeypatch):
    pairs = list_pairs(write_set(tmp_path, range(5)))
    seen = counting(monkeypatch)
    check_pairs(tmp_path, pairs)
    assert len(seen) == 10
    check_pairs(tmp_path, pairs)
    assert len(seen) == 10
    os.utime(pairs[3].raw, ns=(time.time_ns(), time.time_ns() + 10**9))
    check_pairs(tmp_path, pairs)
    assert seen[10:] == [pairs[3].raw]


def test_a_broken_picture_is_looked_at_each_time_until_it_is_mended(tmp_path, monkeypatch):
    pairs = list_pairs(write_set(tmp_path, range(3)))
    whole = pairs[1].raw.read_bytes()
    pairs[1].raw.write_bytes(whole[:-20])
    seen = counting(monkeypatch)
    for looks in (6, 7):
        with pytest.raises(ValueError, match="1 of 6"):
            check_pairs(tmp_path, pairs)
        assert len(seen) == looks
    pairs[1].raw.write_bytes(whole)
    check_pairs(tmp_path, pairs)


def test_an_interrupted_look_goes_on_where_it_was(tmp_path, monkeypatch):
    pairs = list_pairs(write_set(tmp_path, range(5)))

    def interrupted(path):
        if path == pairs[3].retouched:
            raise KeyboardInterrupt
        return 16, 16

    with monkeypatch.context() as patch:
        patch.setitem(index._CHECKS, "full", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check_pairs(tmp_path, pairs)
    kept = [read_listing(tmp_path / half / INDEX)[0] for half in (RAW, RETOUCHED)]
    noted = sum(int((listing.looked > 0).sum()) for listing in kept)
    assert 7 <= noted <= 9
    seen = counting(monkeypatch)
    check_pairs(tmp_path, pairs)
    assert pairs[3].retouched in seen
    assert len(seen) == 10 - noted


def test_a_set_that_cannot_be_written_to_is_used_all_the_same(tmp_path, monkeypatch):
    pairs = list_pairs(write_set(tmp_path, [0]))
    seen = counting(monkeypatch)
    for half in (RAW, RETOUCHED):
        (tmp_path / half / INDEX).mkdir()  # nothing can take a folder's place
    for looks in (2, 4):
        check_pairs(tmp_path, pairs)
        assert len(seen) == looks
    assert {path.name for path in tmp_path.rglob(".visagist*")} == {INDEX}


def test_pictures_that_are_no_half_of_a_pair_are_not_looked_at(tmp_path):
    pairs = list_pairs(write_set(tmp_path, [0, 1]))
    (tmp_path / RAW / "contact sheet.png").write_text("no picture")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "00000.png").write_text("no picture")
    check_pairs(tmp_path, pairs)
    damage(pairs[1].raw)
    check_pairs(tmp_path, pairs[:1])


def test_only_the_photographs_that_will_be_read_are_looked_at(tmp_path, monkeypatch):
    seen = counting(monkeypatch)
    check_photographs(write_set(tmp_path, NUMBERS), "full", [range(1), range(999, 1000)])
    assert sorted(int(path.stem) for path in seen) == [0, 999]


def test_photographs_are_found_by_number_without_a_retouched_half(tmp_path):
    shutil.rmtree(write_set(tmp_path, NUMBERS) / RETOUCHED)
    write(tmp_path / RAW / "00002.jpg")  # before the folders, and not the first number
    (tmp_path / RAW / "other.png").write_text("no picture")
    look(tmp_path)
    files, numbers, positions = numbered_photographs(tmp_path)
    assert numbers.dtype == positions.dtype == np.int64
    assert numbers.tolist() == sorted([*NUMBERS, 2])
    assert [files.path(i).stem for i in positions] == [f"{n:05d}" for n in numbers]
    assert files.root == tmp_path / RAW
    assert len(files) == len(numbers) + 1
    assert (tmp_path / RAW / INDEX).is_file()


def test_both_kinds_of_set_share_what_was_found_of_the_raw_half(tmp_path, monkeypatch):
    look(write_set(tmp_path, range(3)))
    seen = counting(monkeypatch)
    check_pairs(tmp_path, list_pairs(tmp_path))
    assert all(path.is_relative_to(tmp_path / RETOUCHED) for path in seen)
    assert len(seen) == 3


def test_broken_photographs_are_refused_by_name(tmp_path):
    break_files(write_set(tmp_path, range(20)))
    with pytest.raises(ValueError, match=r"4 of 20 pictures .*00001\.png: is empty") as caught:
        look(tmp_path)
    assert "00011.png: is 40 x 20, not square; replace or remove them" in str(caught.value)


@pytest.mark.parametrize("action", [look, numbered_photographs])
def test_photographs_numbered_amiss_are_refused(tmp_path, action):
    with pytest.raises(FileNotFoundError, match="make prepare SET=ffhq FROM"):
        action(tmp_path / "nowhere")
    write(write_set(tmp_path, [5]) / RAW / "00005.jpg")
    with pytest.raises(ValueError, match=r"00005\.png and .*00005\.jpg have one number"):
        action(tmp_path)
    (tmp_path / RAW / "00005.jpg").rename(tmp_path / RAW / "70001.jpg")
    with pytest.raises(ValueError, match=r"70001\.jpg belongs to no split"):
        action(tmp_path)
