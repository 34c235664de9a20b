import os
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import index
from datamodules.images import UnreadableImage, read_image
from datamodules.index import (
    INDEX,
    SUFFIXES,
    examine,
    failures,
    list_index,
    make_index,
    open_index,
    refuse,
)
from tests.datamodules.pictures import BROKEN, damage, picture

# In the order of an index.
NAMES = ["1.png", "a/1.jpg", "a/2.PNG", "a/b/1.webp", "a b/1.tif", "a.b/1.png", "ä/Zoë 1.png"]


def write_tree(root, names=NAMES, height=16, width=16):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(height, width, seed=seed)).save(root / name)
    return root


def every_name(files):
    return [files.name(i) for i in range(len(files))]


def counting(monkeypatch):
    seen = []
    for level, check in dict(index._CHECKS).items():
        monkeypatch.setitem(
            index._CHECKS, level, lambda path, check=check: seen.append(path.name) or check(path)
        )
    return seen


def written(root):
    status = (root / INDEX).stat()
    return status.st_ino, status.st_mtime_ns


def test_files_stand_in_the_order_of_their_folders_and_names(tmp_path):
    made = make_index(write_tree(tmp_path))
    assert every_name(made) == list(made.names()) == NAMES
    assert made.folders == ["", "a", "a/b", "a b", "a.b", "ä"]
    assert [made.folders[k] for k in made.folder_of] == [n.rpartition("/")[0] for n in NAMES]
    assert [made.path(i) for i in range(len(made))] == [tmp_path / name for name in NAMES]
    assert made.folder_of.dtype == np.int32


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("", NAMES),
        ("a", ["a/1.jpg", "a/2.PNG", "a/b/1.webp"]),
        ("a/b", ["a/b/1.webp"]),
        ("a/", ["a/1.jpg", "a/2.PNG", "a/b/1.webp"]),
        ("a b", ["a b/1.tif"]),
        ("a.", []),
        ("b", []),
    ],
)
def test_the_files_below_a_folder_are_those_in_it_and_in_its_folders(tmp_path, folder, names):
    files = list_index(write_tree(tmp_path))
    below = files.below(folder)
    assert below.dtype == np.int64
    assert [files.name(i) for i in below] == names


def test_a_folder_with_nothing_but_folders_has_what_they_hold(tmp_path):
    files = list_index(write_tree(tmp_path, ["x/1/1.png", "x/2/1.png", "y/1.png"]))
    assert [files.name(i) for i in files.below("x")] == ["x/1/1.png", "x/2/1.png"]


@pytest.mark.parametrize("i", [-1, 7])
def test_a_position_that_is_none_is_refused(tmp_path, i):
    with pytest.raises(IndexError, match=rf"position must be in 0 \.\. 6, got {i}"):
        list_index(write_tree(tmp_path)).path(i)


def test_what_was_made_is_what_is_opened(tmp_path):
    made, opened = make_index(write_tree(tmp_path)), open_index(tmp_path)
    assert every_name(opened) == every_name(made) == NAMES
    assert opened.folders == made.folders
    assert np.array_equal(opened.folder_of, made.folder_of)
    assert not opened.folder_of.flags.writeable  # the file's pages, not a copy


def test_opening_lists_no_folder(tmp_path, monkeypatch):
    make_index(write_tree(tmp_path))
    monkeypatch.setattr(index, "list_pictures", None)
    assert every_name(open_index(tmp_path)) == NAMES


@pytest.mark.parametrize("action", [make_index, open_index, list_index])
def test_a_missing_folder_is_named(tmp_path, action):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        action(tmp_path / "nowhere")


def test_a_folder_without_pictures_is_refused_with_the_endings_that_count(tmp_path):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(ValueError, match=r"no picture below .* ends in .*\.jpg, \.png") as caught:
        make_index(tmp_path)
    assert all(ending in str(caught.value) for ending in SUFFIXES)


def test_broken_pictures_are_counted_and_the_first_five_named_with_reasons(tmp_path):
    write_tree(tmp_path)
    for name, (content, _) in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{len(BROKEN)} of {len(BROKEN) + 7} pict") as caught:
        make_index(tmp_path, "full")
    for name, (_, reason) in sorted(BROKEN.items())[:5]:
        assert f"{name}: " in str(caught.value)
        assert reason in str(caught.value)
    assert str(caught.value).endswith(f"and {len(BROKEN) - 5} more; replace or remove them")


def test_a_picture_is_looked_at_until_it_is_sound(tmp_path, monkeypatch):
    damage(write_tree(tmp_path) / "a/2.PNG")
    seen = counting(monkeypatch)
    for looks in (7, 8):
        with pytest.raises(ValueError, match=r"1 of 7 pictures .*2\.PNG: cannot be decoded"):
            make_index(tmp_path, "full")
        assert len(seen) == looks
    write_tree(tmp_path, ["a/2.PNG"])
    make_index(tmp_path, "full")
    assert seen[7:] == ["2.PNG"] * 2


def test_a_dead_link_is_looked_at_each_time(tmp_path, monkeypatch):
    (write_tree(tmp_path) / "dead.png").symlink_to("nowhere.png")
    seen = counting(monkeypatch)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"1 of 8 pictures .*dead\.png: is a dead link"):
            make_index(tmp_path)
    assert len(seen) == 9


def test_oblong_pictures_are_named_only_where_told_without_another_look(tmp_path, monkeypatch):
    write_tree(write_tree(tmp_path), ["b/wide.png"], 20, 40)
    seen = counting(monkeypatch)
    make_index(tmp_path)
    _, broken = examine(tmp_path, "header", oblong=False, choose=lambda all_: np.arange(len(all_)))
    assert [*broken] == [tmp_path / "b/wide.png"]
    assert broken[tmp_path / "b/wide.png"].endswith("wide.png: is 40 x 20, not square")
    assert len(seen) == 8


def test_a_closer_look_counts_as_a_quick_one_but_not_the_other_way_round(tmp_path, monkeypatch):
    write_tree(tmp_path)
    seen = counting(monkeypatch)
    for verify, looks in (("header", 7), ("full", 14), ("header", 14), ("full", 14)):
        make_index(tmp_path, verify)
        assert len(seen) == looks


def test_only_what_is_new_or_has_changed_is_looked_at(tmp_path, monkeypatch):
    make_index(write_tree(tmp_path))
    seen = counting(monkeypatch)
    os.utime(tmp_path / "a/2.PNG", ns=(time.time_ns(), time.time_ns() + 10**9))
    write_tree(tmp_path, ["a/11.png", "new/1.png"])
    (tmp_path / "a/1.jpg").unlink()
    made = make_index(tmp_path)
    assert sorted(seen) == ["1.png", "11.png", "2.PNG"]
    expected = ["1.png", "a/11.png", "a/2.PNG", "a/b/1.webp", *NAMES[4:6], "new/1.png", NAMES[6]]
    assert every_name(made) == every_name(open_index(tmp_path)) == expected


def test_nothing_is_written_where_nothing_has_changed(tmp_path):
    make_index(write_tree(tmp_path))
    before = written(tmp_path)
    make_index(tmp_path)
    assert written(tmp_path) == before
    (tmp_path / "1.png").unlink()
    make_index(tmp_path)
    assert written(tmp_path) != before


def test_an_interrupted_look_goes_on_where_it_was(tmp_path, monkeypatch):
    write_tree(tmp_path)

    def interrupted(path):
        if path.name == "1.tif":
            raise KeyboardInterrupt
        return 16, 16

    with monkeypatch.context() as patch:
        patch.setitem(index._CHECKS, "header", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_index(tmp_path)
    seen = counting(monkeypatch)
    make_index(tmp_path)
    assert "1.tif" in seen
    assert len(seen) <= 3  # four came before it


def test_an_interruption_does_not_wait_for_what_has_not_begun(monkeypatch):
    begun = []

    def interrupted(results, *_, **__):
        next(iter(results))
        raise KeyboardInterrupt

    def slow(item):
        begun.append(item)
        time.sleep(0.002)

    monkeypatch.setattr(index, "track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        failures(slow, range(900), "Waiting")
    assert 0 < len(begun) < 900


@pytest.mark.parametrize("content", [b"", b"words", b"visagist-index-1" + bytes(200)])
def test_an_index_that_is_none_is_made_again(tmp_path, content):
    (write_tree(tmp_path) / INDEX).write_bytes(content)
    assert every_name(open_index(tmp_path)) == NAMES
    make_index(tmp_path)
    assert every_name(open_index(tmp_path)) == NAMES
    assert len((tmp_path / INDEX).read_bytes()) > 300


def test_damaged_columns_are_looked_at_and_written_again(tmp_path, monkeypatch):
    make_index(write_tree(tmp_path))
    whole = (tmp_path / INDEX).read_bytes()
    damage(tmp_path / INDEX)
    seen = counting(monkeypatch)
    make_index(tmp_path)
    assert len(seen) == 7
    assert (tmp_path / INDEX).read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_used_all_the_same(tmp_path, monkeypatch):
    write_tree(tmp_path)
    opened = Path.open

    def refused(self, mode="r", *rest):
        if mode != "rb":
            raise PermissionError(30, "Read-only file system", str(self))
        return opened(self, mode, *rest)

    monkeypatch.setattr(Path, "open", refused)
    seen = counting(monkeypatch)
    for looks in (7, 14):
        assert every_name(make_index(tmp_path)) == NAMES
        assert len(seen) == looks
    files = open_index(tmp_path)
    assert every_name(pickle.loads(pickle.dumps(files))) == NAMES
    assert not list(tmp_path.glob(".visagist*"))


def test_a_file_replaced_or_removed_since_is_named_when_read(tmp_path):
    files = make_index(write_tree(tmp_path))
    (tmp_path / "1.png").unlink()
    (tmp_path / "a/1.jpg").write_bytes(b"")
    for i, reason in enumerate((r"1\.png: is missing", r"1\.jpg: is empty")):
        with pytest.raises(UnreadableImage, match=reason):
            read_image(files.path(i))


def test_a_spawned_worker_gets_a_path_instead_of_the_names(tmp_path):
    files = make_index(write_tree(tmp_path, [f"{k:03d}.png" for k in range(300)]))
    assert len(pickle.dumps(files)) < 300
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(files.name, 123).result() == "123.png"


def test_a_worker_refuses_an_index_made_again_since(tmp_path):
    sent = pickle.dumps(make_index(write_tree(tmp_path)))
    (tmp_path / "1.png").unlink()
    make_index(tmp_path)
    with pytest.raises(ValueError, match=r"\.visagist_index has changed since this run began"):
        pickle.loads(sent)


def test_nothing_broken_is_no_reason_to_refuse(tmp_path):
    refuse({}, tmp_path, 3)
    with pytest.raises(ValueError, match=r"1 of 3 pictures below .* cannot be used: why; remedy"):
        refuse({tmp_path: "why"}, tmp_path, 3, "remedy")
