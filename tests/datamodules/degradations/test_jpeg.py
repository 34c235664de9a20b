import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.degradations.jpeg import CompressedJpeg, Jpeg, encode, jpeg, quality_of

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "jpeg.json"
# Annex K of the standard, luminance, the first row.
BRIGHTNESS = np.array([16, 11, 10, 16, 24, 40, 51, 61])


def ramp(height=16, width=17):
    return (np.arange(height * width * 3) * 37 % 256).astype(np.uint8).reshape(height, width, 3)


def smooth(height=64, width=80):
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * y, 3 * x, 255 - 2 * y], -1).clip(0, 255).astype(np.uint8)


def by_pillow(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [1, 17, 50, 51, 100])
def test_the_quantisation_tables_are_those_of_the_quality(quality):
    tables = Image.open(io.BytesIO(encode(smooth(), quality))).quantization
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    expected = np.clip((BRIGHTNESS * scale + 50) // 100, 1, 255)
    assert np.array_equal(tables[0][:8], expected)
    assert tables == Image.open(io.BytesIO(by_pillow(smooth(), quality))).quantization


@pytest.mark.parametrize("image", [ramp(), smooth(), ramp(33, 50)], ids=["ramp", "smooth", "odd"])
@pytest.mark.parametrize("quality", [17, 51, 95])
def test_pillow_reads_and_writes_the_same_pixels(image, quality):
    with Image.open(io.BytesIO(by_pillow(image, quality))) as file:
        assert np.array_equal(jpeg(image, quality), np.asarray(file))
    with Image.open(io.BytesIO(encode(image, quality))) as file:
        assert np.array_equal(jpeg(image, quality), np.asarray(file))
        assert [component[1:3] for component in file.layer] == [(2, 2), (1, 1), (1, 1)]


def test_red_stays_red():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(jpeg(red, 80).astype(int) - red).max() < 4


def test_less_quality_is_further_from_the_picture_and_a_smaller_file():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    errors = [np.abs(jpeg(image, q).astype(int) - image).mean() for q in (10, 40, 70, 100)]
    assert errors == sorted(errors, reverse=True)
    sizes = [len(encode(image, q)) for q in (10, 40, 70, 100)]
    assert sizes == sorted(sizes)


def test_the_map_from_imgaugs_compression_is_the_measured_one():
    assert (quality_of(50), quality_of(85)) == (51, 17)
    assert (quality_of(0), quality_of(100)) == (100, 2)
    expected = [np.clip(np.round(1 + 99 * (1 - c / 101)), 1, 100) for c in range(101)]
    assert [quality_of(c) for c in range(101)] == expected


def test_float_pictures_are_rounded_to_8_bits_first():
    image = smooth()
    nearly = (image.astype(np.float32) + np.float32(0.3)).clip(0, 255) / np.float32(255)
    found = jpeg(nearly, 40)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.rint(255 * found), jpeg(image, 40))
    assert found.max() <= 1


@pytest.mark.parametrize("shape", [(16, 17), (1, 1), (3, 40)])
def test_shape_and_type_stay_and_the_input_is_left_alone(shape):
    for image in (ramp(*shape), ramp(*shape).astype(np.float32) / 255):
        before = image.copy()
        found = jpeg(image, 30)
        assert (found.shape, found.dtype) == (image.shape, image.dtype)
        assert np.array_equal(image, before)


@pytest.mark.parametrize("work", [Jpeg(17, 51), CompressedJpeg(50, 85)])
def test_the_quality_is_told_and_replays_the_picture(work):
    degraded = work(smooth(), np.random.default_rng(1))
    (step,) = degraded.steps
    assert (step.kind, step.name, type(step.parameters["quality"])) == ("other", "JPEG", int)
    assert np.array_equal(degraded.image, jpeg(smooth(), **step.parameters))
    again = work(smooth(), np.random.default_rng(1))
    assert np.array_equal(degraded.image, again.image)


@pytest.mark.parametrize(
    ("work", "qualities"),
    [
        (Jpeg(17, 51), set(range(17, 52))),
        (CompressedJpeg(50, 85), {quality_of(c) for c in range(50, 86)}),
    ],
)
def test_all_qualities_of_the_range_are_drawn_and_no_others(work, qualities):
    tiny, generator = ramp(1, 1), np.random.default_rng(0)
    drawn = [work(tiny, generator).steps[0].parameters["quality"] for _ in range(1000)]
    assert set(drawn) == qualities
    assert (min(drawn), max(drawn)) == (17, 51)


@pytest.mark.parametrize("wrong", [0, 101, -3])
def test_qualities_outside_1_to_100_are_refused(wrong):
    for work in (encode, jpeg):
        with pytest.raises(ValueError, match=re.escape(f"in 1 ... 100, got {wrong}")):
            work(ramp(), wrong)


@pytest.mark.parametrize("wrong", [-1, 100.5])
def test_compressions_outside_0_to_100_are_refused(wrong):
    with pytest.raises(ValueError, match=re.escape(f"in [0, 100], got {wrong}")):
        quality_of(wrong)


@pytest.mark.parametrize(
    ("kind", "low", "high"), [(Jpeg, 0, 50), (Jpeg, 50, 40), (CompressedJpeg, 50, 101)]
)
def test_ranges_that_make_no_sense_are_refused(kind, low, high):
    with pytest.raises(ValueError, match="must ascend and lie in"):
        kind(low, high)


def test_pictures_that_no_jpeg_can_hold_are_refused():
    for shape in ((1, 65501, 3), (0, 4, 3)):
        with pytest.raises(ValueError, match="a JPEG has 1 to 65500 pixels a side"):
            jpeg(np.zeros(shape, np.uint8), 50)
    with pytest.raises(ValueError, match="a picture must be"):
        jpeg(ramp().astype(np.float64), 50)


def test_the_bytes_are_those_of_the_golden_file():
    pixels = jpeg(ramp(48, 49), 30).tobytes()
    assert hashlib.sha256(pixels).hexdigest() == json.loads(GOLDEN.read_text())["quality 30"]
