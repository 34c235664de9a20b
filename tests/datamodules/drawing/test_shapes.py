import math

import numpy as np
import pytest

from datamodules.drawing.dice import Dice
from datamodules.drawing.shapes import (
    Grain,
    averaged,
    bearing,
    bell,
    blob,
    blurred,
    cosine,
    cover,
    ramp,
    sine,
    stroke,
    unit,
    wave,
)

LINE = np.linspace(-2, 2, 401, dtype=np.float32)


def test_a_bell_is_near_the_exponential_and_ends_at_four() -> None:
    square = np.linspace(0, 6, 100, dtype=np.float32)
    assert np.abs(bell(square) - np.exp(-square)).max() < 0.09
    assert np.all(bell(square)[square >= 4] == 0)


def test_a_blob_is_one_at_its_centre_and_zero_at_twice_its_reach() -> None:
    u = np.array([0.3, 0.5, 0.3], np.float32)
    v = np.array([0.1, 0.1, 0.3], np.float32)
    assert blob(u, v, (0.3, 0.1), (0.1, 0.1)) == pytest.approx([1, 0, 0], abs=1e-6)


def test_a_ramp_rises_or_falls_from_its_first_end_to_its_second() -> None:
    value = np.array([0.0, 1.0, 1.5, 2.0, 3.0], np.float32)
    assert ramp(value, 1, 2) == pytest.approx([0, 0, 0.5, 1, 1])
    assert ramp(value, 2, 1) == pytest.approx([1, 1, 0.5, 0, 0])


def test_a_shape_covers_half_of_the_pixel_on_its_edge() -> None:
    distance = np.array([-1.0, 0.0, 1.0], np.float32)
    assert cover(distance, 0.5) == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize("pixel", [0.01, 0.1, 0.3])
def test_a_line_keeps_its_ink_at_every_pixel_size(pixel: float) -> None:
    ink = float(stroke(LINE, 0.05, pixel).sum()) * 0.01
    assert ink == pytest.approx(0.1, rel=0.05)


def test_a_wave_is_near_the_sine() -> None:
    assert np.abs(wave(LINE) - np.sin(2 * np.pi * LINE)).max() < 0.06


@pytest.mark.parametrize("angle", [-0.35, -0.1, 0.0, 0.2, 0.35])
def test_sine_and_cosine_are_right(angle: float) -> None:
    assert sine(angle) == pytest.approx(math.sin(angle), abs=1e-8)
    assert cosine(angle) == pytest.approx(math.cos(angle), abs=1e-8)


def test_bearing_grows_from_left_over_down_to_right() -> None:
    x, y = np.array([-1.0, 0, 1], np.float32), np.array([0.0, 1, 0], np.float32)
    assert bearing(x, y) == pytest.approx([-1, 0, 1], abs=1e-3)


def test_noise_is_bounded_smooth_and_repeats(grain: Grain) -> None:
    x = np.linspace(0, 64, 6401, dtype=np.float32)
    values = grain(x, np.full_like(x, 3.5))
    assert np.abs(values).max() <= 1
    assert np.abs(np.diff(values)).max() < 0.05
    assert values[0] == pytest.approx(values[-1], abs=1e-5)


def test_noise_of_another_seed_is_other_noise() -> None:
    x = np.linspace(0, 9, 50, dtype=np.float32)
    assert not np.allclose(Grain(Dice(1))(x, x), Grain(Dice(2))(x, x))


def test_a_blur_keeps_a_plain_picture_and_spreads_a_point() -> None:
    assert blurred(np.ones((2, 5, 5), np.float32), 0.2) == pytest.approx(np.ones((2, 5, 5)))
    point = np.zeros((1, 5, 5), np.float32)
    point[0, 2, 2] = 1
    spread = blurred(point, 0.25)
    assert spread.sum() == pytest.approx(1, abs=1e-6)
    assert spread[0, 2, 2] == pytest.approx(1 / 2.25, abs=1e-6)


def test_averaging_gives_the_mean_of_every_square() -> None:
    planes = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    assert averaged(planes, 1) is planes
    assert np.array_equal(averaged(planes, 2), planes.reshape(2, 2, 2, 2, 2).mean((2, 4)))


def test_unit_vectors_have_length_one() -> None:
    vectors = unit(LINE, LINE * 0.5, np.ones_like(LINE))
    assert (vectors**2).sum(0) == pytest.approx(np.ones(401), abs=1e-5)
