import struct

import pytest

from datamodules.tiff_tags import Tags, packed, read_tags


def file(order, tags):
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8) + packed(tags, 8)


@pytest.mark.parametrize("order", "<>")
def test_tags_and_the_directories_below_are_written_as_they_were_read(order):
    below = Tags(order, {0x9003: (2, b"2026:01:02 03:04:05\0"), 5: (3, b"\1\0")})
    tags = Tags(order, {270: (2, b"odd\0\0"), 271: (2, b"A\0")}, {34665: below, 34853: below})
    assert read_tags(file(order, tags)) == tags


def test_what_describes_the_file_is_left_out_and_the_rest_is_told():
    tags = Tags("<", {256: (3, b"\1\0"), 274: (3, b"\1\0"), 270: (2, b"a\0"), 65000: (1, b"x")})
    assert read_tags(file("<", tags)) == Tags("<", {270: (2, b"a\0")}, {}, [65000])


def test_what_lies_beyond_the_end_is_lost():
    data = file("<", Tags("<", {270: (2, b"a long remark\0")}))
    assert read_tags(data[:-3]).lost == [270]
    pointing = bytearray(file("<", Tags("<", {}, {34665: Tags("<", {1: (2, b"a\0")})})))
    pointing[18:22] = struct.pack("<I", 10**6)
    assert read_tags(bytes(pointing)).all_lost() == [34665]
    assert read_tags(data[:12]) == Tags("<")


def test_a_directory_that_points_at_itself_ends():
    looped = bytearray(
        file("<", Tags("<", {270: (2, b"a\0")}, {34665: Tags("<", {1: (2, b"a\0")})}))
    )
    looped[30:34] = struct.pack("<I", 8)
    assert 270 in read_tags(bytes(looped)).directories[34665].values


def test_large_files_of_64_bits_are_read():
    entry = struct.pack("<HHQ8s", 270, 2, 8, b"a remark")
    long = struct.pack("<HHQQ", 33432, 16, 1, 5)
    data = b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", 2) + entry + long
    tags = read_tags(data)
    assert tags.values == {270: (2, b"a remark")}
    assert tags.all_lost() == [33432]  # a type that files of 32 bits do not have
