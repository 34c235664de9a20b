import time

import numpy as np
import pytest

from datamodules.celeba_lists import IDENTITY, PARTITION, positions, read_lists
from datamodules.index import list_index
from tests.datamodules.people import write

SPLITS = "000002.jpg 0\n000001.jpg 0\n000003.jpg 1\n000009.jpg 2\n"
PEOPLE = "000001.jpg 7\n000002.jpg 7\n000009.jpg 12\n000003.jpg 4\n"


def listed(root, splits=SPLITS, people=PEOPLE, folders=("", "")):
    write(root / folders[0] / PARTITION, splits)
    write(root / folders[1] / IDENTITY, people)
    return root


@pytest.mark.parametrize("folders", [("", ""), ("Eval", "Anno")])
def test_both_lists_are_read_in_the_order_of_the_numbers_wherever_they_are(tmp_path, folders):
    lists = read_lists(listed(tmp_path, folders=folders))
    assert lists.numbers.tolist() == [1, 2, 3, 9]
    assert lists.splits.tolist() == [0, 0, 1, 2]
    assert lists.people.tolist() == [7, 7, 4, 12]


def test_png_names_other_line_ends_blanks_and_empty_lines_are_read_alike(tmp_path):
    odd = SPLITS.replace(".jpg ", ".png \t").replace("\n", "  \r\n\r\n")
    (tmp_path / PARTITION).write_bytes(odd.encode())
    write(tmp_path / IDENTITY, PEOPLE.rstrip("\n"))
    lists = read_lists(tmp_path)
    assert lists.splits.tolist() == [0, 0, 1, 2]
    assert lists.people.tolist() == [7, 7, 4, 12]


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (SPLITS.replace("3.jpg 1", "3.jpg"), r"partition.txt, line 3: .*got '000003.jpg'"),
        (SPLITS.replace("3.jpg 1", "3.jpg -1"), r"line 3: .*got '000003.jpg -1'"),
        (SPLITS.replace("3.jpg 1", "3.jpg 3"), r"line 3: expected 0 to 2 .*'000003.jpg 3'"),
        ("image,partition\n" + SPLITS, r"line 1: .*got 'image,partition'"),
        (SPLITS.replace("000003", "3"), r"line 3: .*got '3.jpg 1'"),
        ("\n" + SPLITS + "000001.jpg 0\n", r"line 6: '000001.jpg 0' is there twice"),
        (SPLITS.replace("\n", "\r"), r"line 1: .*got '000002.jpg 0"),
        (SPLITS + "\xff\n", r"line 5: .*got "),
    ],
)
def test_a_wrong_line_is_told_with_its_file_and_number(tmp_path, splits, told):
    with pytest.raises(ValueError, match=told):
        read_lists(listed(tmp_path, splits))


def test_a_photograph_in_one_list_only_is_named_with_both_lists(tmp_path):
    with pytest.raises(ValueError, match=r"2 photographs .* 000003.jpg, which .*identity"):
        read_lists(listed(tmp_path, splits="000001.jpg 0\n000002.jpg 0\n"))
    with pytest.raises(ValueError, match=r"1 photographs .* 000003.jpg, which .*partition"):
        read_lists(listed(tmp_path, people=PEOPLE.replace("000003.jpg 4\n", "")))


def test_a_person_in_two_splits_is_named_with_what_to_do(tmp_path):
    told = r"1 people are both in train and in val, the first is 7;.*same number in .*partition"
    with pytest.raises(ValueError, match=told):
        read_lists(listed(tmp_path, people=PEOPLE.replace("jpg 4", "jpg 7")))


@pytest.mark.parametrize(("missing", "folder"), [(PARTITION, "Eval"), (IDENTITY, "Anno")])
def test_a_missing_list_is_named_with_where_to_get_it(tmp_path, missing, folder):
    (listed(tmp_path) / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{missing}, nor one in {folder}/; get .*mmlab"):
        read_lists(tmp_path)


def test_empty_lists_hold_nothing(tmp_path):
    lists = read_lists(listed(tmp_path, "", "\n"))
    assert len(lists.numbers) == len(lists.people) == 0


def test_lists_as_long_as_the_published_ones_are_read_column_by_column(tmp_path):
    numbers = np.arange(1, 202_600)
    splits = np.digitize(numbers, [162_771, 182_638])
    people = numbers // 20 * 3 + splits
    for name, values in ((PARTITION, splits), (IDENTITY, people)):
        lines = (f"{n:06d}.jpg {v}\n" for n, v in zip(numbers, values, strict=True))
        write(tmp_path / name, "".join(lines))
    started = time.process_time()
    lists = read_lists(tmp_path)
    seconds = time.process_time() - started
    assert np.bincount(lists.splits).tolist() == [162_770, 19_867, 19_962]
    assert np.array_equal(lists.people, people)
    assert seconds < 3  # 0.3 on a quiet machine; one Python step a line for each rule takes more


def pictured(root, *names):
    for name in names:
        write(root / name, "not looked at")
    return list_index(root)


def test_positions_follow_the_numbers_whatever_the_endings_and_folders(tmp_path):
    index = pictured(tmp_path, "000009.JPG", "deeper/000001.jpeg", "000003.png", "notes.png")
    at = positions(index, np.array([1, 3, 9]))
    assert [index.name(int(i)) for i in at] == ["deeper/000001.jpeg", "000003.png", "000009.JPG"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["000001.jpg"], r"1 of 2 photographs are not in .*the first is 000003.jpg; unpack"),
        (["notes.png"], r"2 of 2 photographs are not in .*the first is 000001.jpg"),
        (["000001.jpg", "000003.jpg", "000004.jpg"], r"000004.jpg is in neither list; remove"),
        (["000001.jpg", "000003.jpg", "000003.png"], r"000003.jpg and .*000003.png have one"),
    ],
)
def test_pictures_other_than_the_listed_ones_are_named(tmp_path, names, told):
    with pytest.raises(ValueError, match=told):
        positions(pictured(tmp_path, *names), np.array([1, 3]))
