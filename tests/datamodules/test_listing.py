import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from datamodules.listing import (
    SUFFIXES,
    carry_over,
    list_pictures,
    read_listing,
    write_listing,
)


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))
    return root


def names(listing):
    folders = [listing.folders()[number] for number in listing.folder_of]
    return [str(Path(folder, listing.name(i))) for i, folder in enumerate(folders)]


def looked_at(root):
    listing = list_pictures(root)
    listing.looked[:] = 2
    listing.heights[:] = np.arange(len(listing)) + 100
    listing.widths[:] = np.arange(len(listing)) + 200
    return listing


def test_every_picture_is_listed_as_python_itself_finds_them(tmp_path):
    rng = np.random.default_rng(0)
    parts = ["a", "a b", "a.b", "ä", "b", "Z", "0"]
    for k in range(200):
        depth = rng.integers(0, 4)
        ending = rng.choice([*sorted(SUFFIXES), ".PNG", ".Jpg", ".txt", ""])
        tree(tmp_path, "/".join([*rng.choice(parts, depth), f"{k}{ending}"]))
    found = {p for p in tmp_path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES}
    expected = sorted((p.relative_to(tmp_path) for p in found), key=lambda p: (p.parent.parts, p))
    assert names(list_pictures(tmp_path)) == [str(p) for p in expected]


def test_size_and_time_are_those_of_the_file_behind_a_link(tmp_path):
    tree(tmp_path / "set", "a/file.png")
    tree(tmp_path, "elsewhere.png")
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "set" / "dead.png").symlink_to("nowhere.png")
    listing = list_pictures(tmp_path / "set")
    assert names(listing) == ["dead.png", "link.png", "a/file.png"]
    assert listing.sizes.tolist() == [-1, len("elsewhere.png"), len("a/file.png")]
    times = [(tmp_path / name).stat().st_mtime_ns for name in ("elsewhere.png", "set/a/file.png")]
    assert listing.changed.tolist() == [-1, *times]


def test_names_of_any_bytes_come_back_as_they_are(tmp_path):
    odd = ["ein Bild.png", "Müller.png", "两.jpg", "new\nline.png", "  .png"]
    odd.append(os.fsdecode(b"\xff.png"))
    tree(tmp_path, *odd, "Zoë 2/\t.png")
    assert names(list_pictures(tmp_path)) == [*sorted(odd), "Zoë 2/\t.png"]
    write_listing(list_pictures(tmp_path), tmp_path / "kept")
    assert names(read_listing(tmp_path / "kept")[0]) == [*sorted(odd), "Zoë 2/\t.png"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    tree(tmp_path, ".a.png", ".cache/16/b.png", "c/.git/d.png", "c/.e.png", ".png", "f.png")
    assert names(list_pictures(tmp_path)) == ["f.png"]


def test_a_link_that_leads_back_is_followed_no_second_time(tmp_path):
    tree(tmp_path, "set/a/b/1.png", "set/2.png", "elsewhere/3.png")
    (tmp_path / "set/a/b/back").symlink_to(tmp_path / "set")
    (tmp_path / "set/a/self").symlink_to("self")
    (tmp_path / "set/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "set" / "other")
    (tmp_path / "elsewhere/above").symlink_to(tmp_path)
    found = names(list_pictures(tmp_path / "set"))
    assert found == ["2.png", "a/b/1.png", "other/3.png"]


def test_a_folder_named_like_a_picture_counts_as_one(tmp_path):
    tree(tmp_path, "a.png/b.png")
    assert names(list_pictures(tmp_path)) == ["a.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        list_pictures(tmp_path / "nowhere")


def test_what_is_known_of_unchanged_files_is_carried_over(tmp_path):
    tree(tmp_path, "a/1.png", "a/2.png", "a/3.png", "b/1.png", "gone/1.png")
    known = looked_at(tmp_path)
    tree(tmp_path, "a/2.png", "a/15.png", "c/1.png")  # one is new in the middle of a folder
    os.utime(tmp_path / "a/2.png", ns=(1, 1))
    (tmp_path / "a/3.png").write_text("longer than before")
    os.utime(tmp_path / "a/3.png", ns=(1, int(known.changed[2])))
    (tmp_path / "gone/1.png").rename(tmp_path / "c/2.png")
    (tmp_path / "gone").rmdir()
    fresh = list_pictures(tmp_path)
    carry_over(known, fresh)
    told = dict(zip(names(fresh), fresh.looked.tolist(), strict=True))
    unknown = ("a/15.png", "a/2.png", "a/3.png", "c/1.png", "c/2.png")
    assert told == {"a/1.png": 2, "b/1.png": 2} | dict.fromkeys(unknown, 0)
    assert fresh.heights[fresh.looked > 0].tolist() == [100, 103]
    assert fresh.widths[fresh.looked > 0].tolist() == [200, 203]


def test_nothing_is_carried_over_from_an_empty_listing_or_into_one(tmp_path):
    empty = list_pictures(tmp_path)
    fresh = looked_at(tree(tmp_path, "1.png"))
    carry_over(empty, fresh)
    assert fresh.looked.tolist() == [2]
    carry_over(fresh, empty)
    assert len(empty) == 0


@pytest.mark.parametrize("files", [[], ["1.png"], ["a/1.png", "a/22.png", "b/333.png"]])
def test_a_listing_kept_in_a_file_comes_back_mapped_and_read_only(tmp_path, files):
    listing = looked_at(tree(tmp_path, *files))
    assert write_listing(listing, tmp_path / "kept")
    kept, checksum = read_listing(tmp_path / "kept", whole=True)
    assert kept.equals(listing)
    assert [column.dtype for column in kept] == [column.dtype for column in listing]
    assert not any(column.flags.writeable for column in kept)
    assert read_listing(tmp_path / "kept")[1] == checksum


def test_listings_that_differ_in_one_number_are_not_equal(tmp_path):
    tree(tmp_path, "1.png", "2.png")
    listing, other = looked_at(tmp_path), looked_at(tmp_path)
    assert listing.equals(other)
    other.widths[1] += 1
    assert not listing.equals(other)


def of_another_version(data):
    head = data[:124].replace(b"index-1", b"index-0")
    return head + zlib.crc32(head).to_bytes(4, "little") + data[128:]


DAMAGE = {
    "empty": lambda data: data[:0],
    "words": lambda data: b"words and no index " * len(data),
    "a damaged header": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "another version": of_another_version,
    "a missing end": lambda data: data[:-1],
    "a header alone": lambda data: data[:128],
    "half a header": lambda data: data[:64],
    "more at the end": lambda data: data + b"\0" * 8,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_gives_no_listing(tmp_path, kind):
    write_listing(looked_at(tree(tmp_path, "a/1.png", "a/2.png")), tmp_path / "kept")
    (tmp_path / "kept").write_bytes(DAMAGE[kind]((tmp_path / "kept").read_bytes()))
    assert read_listing(tmp_path / "kept") is None


def test_no_file_or_a_folder_in_its_place_gives_no_listing(tmp_path):
    assert read_listing(tmp_path / "kept") is None
    assert read_listing(tmp_path) is None


def test_damage_in_the_columns_is_found_where_all_is_read(tmp_path):
    write_listing(looked_at(tree(tmp_path, "a/1.png", "a/2.png")), tmp_path / "kept")
    whole = (tmp_path / "kept").read_bytes()
    for place in (128, 150, len(whole) // 2, whole.index(b"1.png")):
        (tmp_path / "kept").write_bytes(
            whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        )
        assert read_listing(tmp_path / "kept", whole=True) is None


def test_a_file_that_cannot_be_written_wholly_leaves_what_was_there(tmp_path, monkeypatch):
    listing = looked_at(tree(tmp_path / "set", "1.png"))
    write_listing(listing, tmp_path / "kept")

    def full(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    assert not write_listing(list_pictures(tmp_path / "set"), tmp_path / "kept")
    assert read_listing(tmp_path / "kept", whole=True)[0].equals(listing)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "set"]
