import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from datamodules.degradations.camera import (
    PATTERNS,
    Curve,
    Gamma,
    MeasuredResponse,
    Pattern,
    Response,
    Srgb,
    demosaic,
    mosaic,
    read_curves,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "camera.json"
LEVELS = np.linspace(0, 1, 1001)
POINTS = np.linspace(0, 1, 64)
RESPONSES = [Srgb(), Gamma(), Gamma(1.0), Curve(POINTS, POINTS**0.45)]


def told(name: str, light: np.ndarray, display: np.ndarray) -> str:
    rows = (" ".join(f"{value:.9g}" for value in values) for values in (light, display))
    first, second = rows
    return f"{name}\ncolor\nI =\n{first}\nB =\n{second}\n"


def smooth_picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [0.5 + 0.3 * np.sin(x / (9 + c) + c) * np.cos(y / (11 - c)) for c in range(3)]
    return np.stack(waves, 2)


@pytest.mark.parametrize("response", RESPONSES, ids=repr)
def test_a_response_and_its_inverse_undo_each_other_and_rise(
    response: Response,
):
    display = response.to_display(LEVELS)
    assert np.abs(response.to_light(display) - LEVELS).max() < 1e-6
    assert display[[0, -1]] == pytest.approx([0, 1], abs=1e-12)
    assert (np.diff(display) > 0).all()


def test_srgb_has_the_values_of_its_standard():
    assert Srgb().to_light(np.array([0.04045, 0.5, 1])) == pytest.approx(
        [0.0031308, 0.2140411, 1], abs=1e-6
    )


def test_a_measured_curve_is_linear_between_its_points():
    curve = Curve(np.array([0, 0.5, 1]), np.array([0, 0.8, 1]))
    assert curve.to_display(np.array([0.25, 0.75])) == pytest.approx([0.4, 0.9])
    assert curve.to_light(np.array([0.4, 0.9])) == pytest.approx([0.25, 0.75])


def test_a_curve_with_a_flat_part_still_has_an_inverse():
    curve = Curve(np.array([0, 0.4, 0.6, 1]), np.array([0, 0.5, 0.5, 1]))
    assert 0.4 <= float(curve.to_light(np.array(0.5))) <= 0.6
    assert curve.to_display(curve.to_light(LEVELS)) == pytest.approx(LEVELS)


def test_curves_are_read_from_a_file_by_name(tmp_path: Path):
    file = tmp_path / "curves.txt"
    file.write_text(told("one", POINTS, POINTS**0.5) + "\n" + told("two", POINTS, POINTS**0.4))
    assert list(read_curves(str(file))) == ["one", "two"]
    response = MeasuredResponse(str(file), "two")
    assert response.to_display(POINTS) == pytest.approx(POINTS**0.4, abs=1e-6)
    assert response.to_light(response.to_display(LEVELS)) == pytest.approx(LEVELS, abs=1e-6)
    with pytest.raises(ValueError, match="has no curve 'three'; it has 2, the first are"):
        MeasuredResponse(str(file), "three")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "six lines for each curve, it has 0"),
        ("name\ncolor\nI =\n0 1\n", "it has 4"),
        ("a\nb\nX =\n0 1\nB =\n0 1", "must be 'I =' and 'B ='"),
        ("a\nb\nI =\n0 x\nB =\n0 1", "curve 'a': could not convert"),
        ("a\nb\nI =\n0 0.5 1\nB =\n0 1", "as many display values as light values"),
        ("a\nb\nI =\n0 1 0.5\nB =\n0 1 1", "must rise"),
        ("a\nb\nI =\n0 0.5\nB =\n0 1", "from (0, 0) to (1, 1)"),
        (2 * told("a", POINTS, POINTS), "the curve 'a' twice"),
    ],
)
def test_a_file_that_holds_no_curves_is_refused(tmp_path: Path, text: str, message: str):
    file = tmp_path / "curves.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_curves(str(file))


def test_a_missing_file_and_a_wrong_exponent_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no\.txt"):
        MeasuredResponse(str(tmp_path / "no.txt"), "one")
    with pytest.raises(ValueError, match="exponent must be above 0, got 0"):
        Gamma(0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_has_one_colour_a_pixel_in_the_order_of_its_pattern(pattern: Pattern):
    light = np.broadcast_to([1.0, 2.0, 3.0], (5, 7, 3))
    corner = mosaic(light, pattern)[:2, :2]
    assert ["RGB"[int(value) - 1] for value in corner.ravel()] == list(pattern)
    assert np.array_equal(mosaic(light, pattern)[2:4, 4:6], corner)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(16, 17), (5, 6), (176, 144)])
def test_a_picture_of_one_colour_comes_back_exactly(pattern: Pattern, shape: tuple[int, int]):
    light = np.broadcast_to([0.2, 0.5, 0.9], (*shape, 3))
    assert np.abs(demosaic(mosaic(light, pattern), pattern) - light).max() < 1e-15


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_smooth_picture_comes_back_nearly_and_measured_colours_exactly(pattern: Pattern):
    light = smooth_picture(60, 51)
    plane = mosaic(light, pattern)
    again = demosaic(plane, pattern)
    assert np.abs(again - light)[2:-2, 2:-2].max() < 0.006
    assert np.abs(again - light).max() < 0.05  # at the border, where a wave is mirrored
    assert np.array_equal(mosaic(again, pattern), plane)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_grey_slope_comes_back_exactly_away_from_the_border(pattern: Pattern):
    y, x = np.mgrid[:20, :21] / 40.0
    light = np.repeat((0.3 * x + 0.7 * y)[:, :, None], 3, axis=2)
    again = demosaic(mosaic(light, pattern), pattern)
    assert np.abs(again - light)[2:-2, 2:-2].max() < 1e-14


def test_demosaicing_is_linear_and_leaves_its_input():
    one, other = np.random.default_rng(0).random((2, 12, 13))
    before = one.copy()
    both = demosaic(one + 3 * other)
    assert np.abs(both - demosaic(one) - 3 * demosaic(other)).max() < 1e-13
    assert np.array_equal(one, before)


def test_mosaic_and_demosaicing_are_the_same_as_ever():
    light = np.rint(smooth_picture(33, 30) * 256) / 256
    expected = json.loads(GOLDEN.read_text())
    for pattern in PATTERNS:
        again = np.rint(demosaic(mosaic(light, pattern), pattern) * 2**16).astype("<i4")
        assert hashlib.sha256(again.tobytes()).hexdigest() == expected[pattern]
