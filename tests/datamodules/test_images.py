import os
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from datamodules.images import (
    UnreadableImage,
    check_header,
    check_image,
    floats,
    planes,
    read_image,
    resize,
)
from tests.datamodules.pictures import BROKEN, encoded, picture, png_header_of

CHECKS = [read_image, check_image, check_header]


def smooth(height=40, width=48):
    down, across = np.mgrid[:height, :width]
    return np.stack([down * 4, across * 4, 255 - down * 4], 2).astype(np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def with_orientation(path, array, number, **options):
    exif = Image.Exif()
    exif[0x0112] = number
    return save(path, array, exif=exif, **options)


@pytest.mark.parametrize("name", ["a.png", "b c.tiff", "ö 中文.webp", "no_ending"])
def test_a_lossless_file_is_read_as_it_was_written(tmp_path, name):
    kind = Path(name).suffix[1:] or "png"
    options = {"lossless": True} if kind == "webp" else {}
    path = save(tmp_path / name, picture(), format=kind, **options)
    assert np.array_equal(read_image(path), picture())


def test_a_jpeg_is_read_within_its_loss(tmp_path):
    path = save(tmp_path / "a.jpg", smooth(), quality=95)
    assert np.abs(read_image(path).astype(int) - smooth()).max() < 16


def test_what_is_read_can_be_written_to_and_is_contiguous(tmp_path):
    image = read_image(save(tmp_path / "a.png", picture()))
    assert image.flags.writeable
    assert image.flags.c_contiguous
    assert image.dtype == np.uint8


def test_grey_and_one_bit_become_three_equal_channels(tmp_path):
    grey = picture(channels=1)[..., 0]
    read = read_image(save(tmp_path / "a.png", grey))
    assert np.array_equal(read, np.repeat(grey[..., None], 3, 2))
    read = read_image(save(tmp_path / "b.png", grey > 100))
    assert np.array_equal(read, np.repeat((grey > 100)[..., None] * np.uint8(255), 3, 2))


def test_a_palette_becomes_its_colours(tmp_path):
    image = Image.fromarray(picture()).quantize(16)
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    alpha = np.zeros((40, 48), np.uint8)
    alpha[:20], alpha[20:30] = 255, 51
    image = Image.new(mode, (48, 40))
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert (read[:20] == 0).all()
    assert (read[20:30] == 204).all()
    assert (read[30:] == 255).all()


def test_a_transparent_palette_entry_is_laid_on_white(tmp_path):
    image = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 400).reshape(20, 40))
    image = image.convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=b"\x00\xff")
    read = read_image(tmp_path / "a.png")
    assert (read[:10] == 255).all()
    assert (read[10:] == (0, 0, 255)).all()


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_cmyk_is_converted_to_rgb(tmp_path, ending):
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / f"a.{ending}", quality=95)
    assert np.abs(read_image(tmp_path / f"a.{ending}").astype(int) - smooth()).max() < 16


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded_to_eight(tmp_path, ending, channels):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 48, channels), np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    assert cv2.imwrite(str(tmp_path / f"a.{ending}"), deep)
    rounded = np.round(deep / 65535 * 255).astype(np.uint8)
    expected = np.repeat(rounded, 3, 2) if channels == 1 else rounded[..., 2::-1]
    assert np.array_equal(read_image(tmp_path / f"a.{ending}"), expected)


def test_sixteen_bit_values_of_an_eight_bit_picture_are_that_picture(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), picture().astype(np.uint16)[..., ::-1] * 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture())


TURNED_BACK = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_a_turned_photograph_is_read_upright(tmp_path, number, ending):
    options = {"lossless": True} if ending == "webp" else {}
    path = with_orientation(tmp_path / f"a.{ending}", picture(), number, **options)
    assert np.array_equal(read_image(path), TURNED_BACK[number](picture()))


def test_a_turned_jpeg_is_read_upright_whatever_its_byte_order(tmp_path):
    for order, start in (("<", b"II*\0"), (">", b"MM\0*")):
        exif = start + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
        path = save(tmp_path / "a.jpg", smooth(), exif=b"Exif\0\0" + exif)
        assert read_image(path).shape == (48, 40, 3)


def test_broken_metadata_neither_warns_nor_hides_the_picture(tmp_path):
    truncated = b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 40, 0x011A, 5, 1)
    for number, exif in enumerate((truncated, b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff")):
        path = save(tmp_path / f"{number}.jpg", smooth(), exif=exif)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_image(path).shape == (40, 48, 3)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_name_and_reason(tmp_path, name, check):
    data, reason = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableImage, match=reason) as caught:
        check(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_no_file_is_refused_by_name_and_reason(tmp_path, check):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in {
        "link.png": "dead link",
        "folder.png": "is a folder",
        "gone.png": "is missing",
        "pipe.png": "is not a file",
    }.items():
        with pytest.raises(UnreadableImage, match=f"{name}: .*{reason}"):
            check(tmp_path / name)


@pytest.mark.parametrize("check", [read_image, check_image])
def test_one_flipped_bit_in_the_pixels_of_a_png_is_found(tmp_path, check):
    whole = encoded("png")
    for position in np.linspace(60, len(whole) - 20, 12).astype(int):
        data = bytearray(whole)
        data[position] ^= 4
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(UnreadableImage, match=r"a\.png: "):
            check(tmp_path / "a.png")


def test_a_flipped_bit_in_the_header_of_a_png_is_found_at_the_header(tmp_path):
    for position in range(33):
        data = bytearray(encoded("png"))
        data[position] ^= 1
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(UnreadableImage, match=r"a\.png: "):
            check_header(tmp_path / "a.png")


def test_the_header_check_accepts_what_can_be_read(tmp_path):
    for check in (check_header, check_image):
        assert check(save(tmp_path / "a.png", picture())) == (40, 48)
        assert check(save(tmp_path / "a.jpg", picture())) == (40, 48)
    (tmp_path / "b.png").write_bytes(encoded("png") + b"a remark after the end")
    assert check_header(tmp_path / "b.png") == (40, 48)
    assert np.array_equal(read_image(tmp_path / "b.png"), picture())


def test_the_limit_on_pixels_is_an_argument_and_never_warns(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_header_of(9500, 9500))  # above Pillow's own limit, below ours
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_header(path)
        with pytest.raises(UnreadableImage, match="cannot be decoded"):
            read_image(path)
    for check in CHECKS:
        with pytest.raises(UnreadableImage, match="above 90000000 pixels"):
            check(path, 90_000_000)


def test_no_setting_of_pillow_or_of_warnings_is_changed(tmp_path):
    filters = list(warnings.filters)
    good = [save(tmp_path / f"{i}.{e}", picture(seed=i)) for i, e in enumerate(["png", "tif"] * 8)]
    (tmp_path / "bad.jpg").write_bytes(BROKEN["truncated.jpg"][0])

    def read(path):
        try:
            return read_image(path)
        except UnreadableImage:
            return None

    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(read, [*good, tmp_path / "bad.jpg"] * 5))
    for i in range(16):
        assert np.array_equal(images[i], picture(seed=i))
    assert images[16] is None
    assert warnings.filters == filters
    assert Image.MAX_IMAGE_PIXELS == 89478485
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_no_file_stays_open(tmp_path):
    save(tmp_path / "a.png", picture())
    (tmp_path / "b.png").write_bytes(encoded("png")[:-100])
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [read_image(tmp_path / "a.png") for _ in range(5)]
    for _ in range(5):
        with pytest.raises(UnreadableImage):
            read_image(tmp_path / "b.png")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(kept) == 5


def test_shrinking_by_a_whole_factor_is_the_mean_of_each_block():
    blocks = picture(40, 48).reshape(10, 4, 12, 4, 3).mean((1, 3))
    assert np.abs(resize(picture(40, 48), (10, 12)) - blocks).max() <= 0.51


def test_growing_keeps_flat_colour_and_size_follows_height_then_width():
    flat = np.full((20, 30, 3), 77, np.uint8)
    grown = resize(flat, (40, 90))
    assert grown.shape == (40, 90, 3)
    assert (grown == 77).all()
    assert resize(flat, 64).shape == (64, 64, 3)


def test_growing_a_slope_keeps_the_slope():
    slope = np.repeat(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], 30, 0).repeat(3, 2)
    grown = resize(slope, 60)[30, 8:-8, 0].astype(int)
    assert np.abs(np.diff(grown) - 4).max() <= 1


def test_an_image_of_the_right_size_comes_back_as_it_is():
    image = picture(32, 32)
    assert resize(image, 32) is image


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="size must be 1 or more a side, got 0"):
        resize(picture(), 0)


def test_planes_are_the_channels_and_floats_their_values_over_255():
    image = picture()
    tensor, expected = planes(image), torch.tensor(image).permute(2, 0, 1)
    assert tensor.is_contiguous()
    assert torch.equal(tensor, expected)
    assert torch.equal(
        floats(tensor[None]), torch.tensor(image / np.float32(255)).permute(2, 0, 1)[None]
    )
    image[:] = 0
    assert tensor.max() > 0
