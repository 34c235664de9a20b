import io
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.JpegImagePlugin import get_sampling

from datamodules.images import UnreadableImage, read_image
from datamodules.original import (
    eight_bits,
    largest,
    read_original,
    set_upright,
    upright,
)
from datamodules.original import (
    encoded as written,
)
from datamodules.tiff_tags import Tags
from tests.datamodules.broken import write_broken
from tests.datamodules.pictures import encoded, picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation=1):
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "A camera", orientation
    tags.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    return tags


def deep(channels=3):
    shape = (40, 48, channels) if channels > 1 else (40, 48)
    return np.random.default_rng(3).integers(0, 65536, shape, np.uint16)


def put(path, data):
    path.write_bytes(data)
    return path


def opened(path):
    return Image.open(io.BytesIO(path.read_bytes()))


def again(tmp_path, original, colours=None):
    data = written(original, original.colours if colours is None else colours)
    return put(tmp_path / "again", data)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_lossless_kinds_come_back_to_the_bit_with_their_metadata(tmp_path, kind):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(kind, exif=exif(), icc_profile=PROFILE, **lossless)
    original = read_original(put(tmp_path / "a", data))
    back = again(tmp_path, original)
    np.testing.assert_array_equal(read_image(back), picture())
    image = opened(back)
    assert image.format == kind
    assert image.info["icc_profile"] == PROFILE
    assert image.getexif()[0x010F] == "A camera"
    if kind != "TIFF":  # into which Pillow writes no such directory
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_a_jpeg_keeps_its_sampling_profile_and_exif(tmp_path, sampling):
    data = encoded("JPEG", subsampling=sampling, exif=exif(), icc_profile=PROFILE, dpi=(300, 300))
    back = opened(again(tmp_path, read_original(put(tmp_path / "a", data))))
    assert back.format == "JPEG"
    assert get_sampling(back) == sampling
    assert back.info["icc_profile"] == PROFILE
    assert back.info["dpi"] == (300, 300)
    assert back.getexif()[0x010F] == "A camera"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_comes_back_upright_once(tmp_path, kind, orientation):
    data = encoded(kind, exif=exif(orientation))
    path = put(tmp_path / "a", data)
    original = read_original(path)
    np.testing.assert_array_equal(original.colours, read_image(path))
    back = again(tmp_path, original)
    assert opened(back).getexif().get(0x0112, 1) == 1
    assert read_image(back).shape == original.colours.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_as_pillow_turns(orientation):
    image = Image.open(io.BytesIO(encoded("PNG", exif=exif(orientation))))
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(picture(), orientation), expected)


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_sixteen_bits(tmp_path, ending, channels):
    path = put(tmp_path / "a", cv2.imencode(ending, deep(channels))[1].tobytes())
    original = read_original(path)
    assert original.colours.dtype == np.uint16
    np.testing.assert_array_equal(eight_bits(original.colours).shape, read_image(path).shape)
    back = cv2.imread(str(again(tmp_path, original)), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(back, deep(channels))


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bits_keep_exif_and_profile(tmp_path, ending):
    plain = read_original(put(tmp_path / "a", cv2.imencode(ending, deep())[1].tobytes()))
    below = {0x8769: Tags("<", {0x9003: (2, b"2026:01:02 03:04:05\0")})}
    tags = Tags("<", {0x010F: (2, b"A camera\0")}, below)
    tags = tags if ending == ".tiff" else exif().tobytes()
    marked = again(tmp_path, replace(plain, exif=tags, profile=PROFILE))
    original = read_original(marked)
    image = opened(again(tmp_path, original))
    assert image.info["icc_profile"] == PROFILE
    assert image.getexif()[0x010F] == "A camera"
    assert image.getexif().get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"


def test_opacity_and_the_colours_behind_it_are_kept(tmp_path):
    clear = picture(channels=4)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        original = read_original(put(tmp_path / "a", encoded(kind, clear, **options)))
        np.testing.assert_array_equal(np.asarray(opened(again(tmp_path, original))), clear)


def test_a_grey_photograph_stays_grey(tmp_path):
    original = read_original(put(tmp_path / "a", encoded("JPEG", picture()[..., 0])))
    assert original.grey
    assert opened(again(tmp_path, original)).mode == "L"


def test_what_is_lost_is_told(tmp_path):
    cmyk, data = Image.fromarray(picture()).convert("CMYK"), io.BytesIO()
    cmyk.save(data, "JPEG")
    assert read_original(put(tmp_path / "a", data.getvalue())).note == "CMYK became RGB"
    film, data = Image.fromarray(picture()), io.BytesIO()
    film.save(data, "WEBP", save_all=True, append_images=[Image.fromarray(picture(seed=1))])
    assert read_original(put(tmp_path / "b", data.getvalue())).note == "the first of 2 frames"


def test_broken_files_are_refused_with_the_reason(tmp_path):
    for name, reason in write_broken(tmp_path).items():
        if reason.startswith(("unknown", "folder", "no plain")):
            continue  # told without opening them
        with pytest.raises(UnreadableImage, match=reason):
            read_original(tmp_path / name)


def test_an_exif_block_that_is_none_is_left_alone():
    assert set_upright(b"") == (b"", 1)
    assert set_upright(b"Exif\0\0nonsense!") == (b"Exif\0\0nonsense!", 1)


@pytest.mark.parametrize("order", "<>")
def test_only_the_entries_of_the_first_directory_are_looked_at(order):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    other = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)  # text that looks like an orientation
    none = mark + struct.pack(f"{order}IH", 8, 0) + other
    assert set_upright(none) == (none, 1)
    turned = mark + struct.pack(f"{order}IH", 8, 1) + other
    assert set_upright(turned)[1] == 6
    assert set_upright(set_upright(turned)[0])[1] == 1
    cut = mark + struct.pack(f"{order}I", 999) + other
    assert set_upright(cut) == (cut, 1)
    claims_more = mark + struct.pack(f"{order}IH", 8, 9) + other
    assert set_upright(claims_more)[1] == 6


@pytest.mark.parametrize("order", "<>")
def test_what_a_tiff_says_of_its_photograph_comes_back_as_it_was(tmp_path, order):
    said = {
        270: (2, "Zoë\0".encode()),
        33723: (4, b"\x1c\x02\x00\x00\x02\x00\x04\x1c"),  # IPTC as LONG, as Photoshop has it
        282: (5, struct.pack(f"{order}II", 7200001, 100000)),
    }
    taken = Tags(
        order, {37500: (7, b"a maker's own\xff\0")}, {40965: Tags(order, {1: (2, b"R98\0")})}
    )
    plain = read_original(put(tmp_path / "a", encoded("TIFF")))
    first = replace(plain, exif=Tags(order, said, {34665: taken}))
    found = read_original(again(tmp_path, first))
    back = read_original(again(tmp_path, found))
    assert back.exif == first.exif
    assert opened(tmp_path / "again").tag_v2.tagtype[33723] == 4
    np.testing.assert_array_equal(read_image(tmp_path / "again"), picture())
    assert back.note == ""


def test_tags_of_a_tiff_that_are_left_out_are_told_of(tmp_path):
    data = encoded("TIFF", tiffinfo={65000: "private", 270: "said"})
    original = read_original(put(tmp_path / "a", data))
    assert original.note == "lost: TIFF tag 65000"
    assert opened(again(tmp_path, original)).tag_v2[270] == "said"


def test_other_colours_must_be_of_the_same_kind(tmp_path):
    original = read_original(put(tmp_path / "a", encoded("PNG")))
    with pytest.raises(ValueError, match="must be uint8"):
        written(original, original.colours.astype(np.uint16))
    assert largest(original.colours) == 255
