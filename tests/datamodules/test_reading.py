import os

import numpy as np
import pytest
from PIL import Image

from datamodules.images import UnreadableImage, read_image, resize
from datamodules.reading import Covering, FramedReader, Middle, Square
from tests.datamodules.pictures import picture

FRAMES = [Square(24), Covering(24, 24), Covering(24, 16), Middle(24, 24), Middle(24, 16)]


def columns(height, width):
    """A picture whose red tells the row and whose green tells the column."""
    rows, across = np.mgrid[:height, :width]
    return np.stack([rows, across, 0 * rows], 2).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "b/a.png", "b/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(40, 40, seed=len(name))).save(tmp_path / name)
    return tmp_path


def test_a_square_picture_is_resized_to_the_side():
    image = picture(40, 40)
    assert np.array_equal(Square(24)(image), resize(image, 24))
    assert np.array_equal(Square(40)(image), image)


def test_a_picture_that_is_not_square_is_refused_with_its_size():
    with pytest.raises(UnreadableImage, match=r"^is 48 x 40, not square$"):
        Square(24)(picture(40, 48))


@pytest.mark.parametrize("shape", [(24, 24), (24, 16), (17, 33), (1, 90)])
@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 16), (17, 33), (101, 99)])
def test_covering_gives_every_picture_the_shape(shape, size):
    framed = Covering(*shape)(picture(*size))
    assert framed.shape == (*shape, 3)
    assert framed.dtype == np.uint8


@pytest.mark.parametrize(
    ("shape", "rows", "across"),
    [
        ((20, 20), slice(0, 40), slice(10, 50)),  # of 40 x 60, the sides go
        ((20, 30), slice(0, 40), slice(0, 60)),  # nothing goes
        ((20, 40), slice(5, 35), slice(0, 60)),  # top and bottom go
    ],
)
def test_covering_keeps_the_largest_part_in_the_middle(shape, rows, across):
    image = columns(40, 60)
    assert np.array_equal(Covering(*shape)(image), resize(image[rows, across], shape))


def test_covering_stretches_no_picture_by_more_than_half_a_pixel():
    for height, width in ((16, 400), (333, 97), (101, 99)):
        image = np.zeros((height, width, 3), np.uint8)
        factor = min(height / 24, width / 16)
        image[:, width // 2 :] = 255  # the middle stays in the middle
        framed = Covering(24, 16)(image)[0, :, 0].astype(float)
        assert abs((framed < 127.5).sum() - 8) <= 0.5 + 0.5 / factor


def test_the_middle_is_cut_out_pixel_by_pixel():
    image = columns(41, 60)
    assert np.array_equal(Middle(24, 16)(image), image[8:32, 22:38])
    assert np.array_equal(Middle(41, 60)(image), image)


@pytest.mark.parametrize("shape", [(42, 16), (16, 61)])
def test_a_picture_too_small_to_cut_is_refused_with_both_sizes(shape):
    told = f"^is 60 x 41, too small to cut {shape[1]} x {shape[0]} out of it$"
    with pytest.raises(UnreadableImage, match=told):
        Middle(*shape)(columns(41, 60))


def test_copies_of_two_frames_are_filed_apart():
    assert len({frame.name for frame in FRAMES}) == len(FRAMES)
    assert all("/" not in frame.name for frame in FRAMES)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_a_reader_gives_the_picture_in_its_frame(root, frame):
    path = root / "b" / "a.jpg"
    expected = frame(read_image(path))
    assert np.array_equal(FramedReader(root, frame)(path), expected)
    cached = FramedReader(root, frame, copies=True)
    cached.make_copy(path)
    path.unlink()
    assert np.array_equal(cached(path), expected)


def test_pictures_of_one_stem_have_copies_of_their_own(root):
    read = FramedReader(root, Square(24), copies=True)
    paths = [root / "a.png", root / "b" / "a.png", root / "b" / "a.jpg"]
    assert len({read.copy_of(path) for path in paths}) == 3
    for path in paths:
        read.make_copy(path)
        assert read.copy_of(path).is_relative_to(root / ".cache" / "24")
    for path in paths:
        assert np.array_equal(read(path), read.framed(path))


def test_a_copy_is_made_again_only_when_the_picture_has_changed(root):
    read, path = FramedReader(root, Square(24), copies=True), root / "a.png"
    read.make_copy(path)
    first = read.copy_of(path).stat()
    read.make_copy(path)
    assert read.copy_of(path).stat().st_ino == first.st_ino  # not replaced
    Image.fromarray(picture(40, 40, seed=7)).save(path)
    os.utime(path, ns=(0, first.st_mtime_ns + 10**9))
    read.make_copy(path)
    assert np.array_equal(read(path), read.framed(path))
    assert not list(root.rglob("*.tmp"))


def test_a_copy_left_half_written_is_not_read(root, monkeypatch):
    read, path = FramedReader(root, Square(24), copies=True), root / "a.png"
    monkeypatch.setattr(os, "utime", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        read.make_copy(path)
    with pytest.raises(UnreadableImage, match="is missing"):
        read(path)


def test_a_picture_that_does_not_fit_is_named(root):
    Image.fromarray(picture(40, 48)).save(root / "oblong.png")
    read = FramedReader(root, Square(24))
    for action in (read, read.framed, read.make_copy):
        with pytest.raises(UnreadableImage, match=r"oblong\.png: is 48 x 40, not square$"):
            action(root / "oblong.png")


def test_a_broken_picture_is_named_and_leaves_no_copy(root):
    (root / "broken.png").write_bytes(b"no picture")
    read = FramedReader(root, Square(24), copies=True)
    with pytest.raises(UnreadableImage, match=r"broken\.png: is not a PNG"):
        read.make_copy(root / "broken.png")
    assert not [path for path in (root / ".cache").rglob("*") if path.is_file()]


def test_a_copy_that_cannot_be_written_is_an_error_of_the_system(root):
    (root / ".cache").write_text("in the way")
    with pytest.raises(OSError, match=r"\.cache"):
        FramedReader(root, Square(24)).make_copy(root / "a.png")


def test_a_picture_outside_the_set_has_no_copy(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.png"
    with pytest.raises(ValueError, match="is not in the subpath"):
        FramedReader(root, Square(24)).copy_of(elsewhere)


def test_copies_hold_the_colours_in_the_order_of_the_picture(root):
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(root / "red.png")
    read = FramedReader(root, Square(32), copies=True)
    read.make_copy(root / "red.png")
    assert np.array_equal(read(root / "red.png"), red)
    assert Image.open(read.copy_of(root / "red.png")).getpixel((0, 0)) == (200, 0, 0)
