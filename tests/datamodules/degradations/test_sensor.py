import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from datamodules.degradations.sensor import (
    MatlabNoise,
    Noise,
    PaperNoise,
    PythonNoise,
    darkened,
    noisy,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "sensor.json"
NOISES: list[Noise] = [PaperNoise(), MatlabNoise(), PythonNoise()]


def two_noises(noise: Noise, level: float, count: int) -> np.ndarray:
    """The convention written as two noises, with sigma_s 0.1 and sigma_c 0.05."""
    photons, rest = np.random.default_rng(5).standard_normal((2, count))
    if isinstance(noise, PaperNoise):
        return level + 0.1 * np.sqrt(level) * photons + 0.05 * rest
    if isinstance(noise, MatlabNoise):
        return level + 0.1 * level * photons + 0.05 * rest
    return level + np.sqrt(0.1 * level) * photons + np.sqrt(0.05) * rest


@pytest.mark.parametrize("noise", NOISES, ids=repr)
@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 1.0])
def test_the_variance_at_each_level_is_that_of_the_convention(noise: Noise, level: float):
    seen = noisy(np.full(200_000, level), noise, (0.1, 0.05), np.random.default_rng(1))
    expected = two_noises(noise, level, 200_000)
    assert seen.var() == pytest.approx(expected.var(), rel=0.02)
    assert seen.mean() == pytest.approx(level, abs=5 * np.sqrt(expected.var() / 200_000))


def test_the_printed_variance_is_sigma_s_squared_times_the_light_plus_sigma_c_squared():
    light = np.array([0.0, 0.25, 1.0])
    assert PaperNoise().variance(light, 0.2, 0.1) == pytest.approx([0.01, 0.02, 0.05])
    assert MatlabNoise().variance(light, 0.2, 0.1) == pytest.approx([0.01, 0.0125, 0.05])
    assert PythonNoise().variance(light, 0.2, 0.1) == pytest.approx([0.1, 0.15, 0.3])


def test_the_noise_is_gaussian_and_independent_from_pixel_to_pixel():
    seen = noisy(np.full((400, 500), 0.5), PaperNoise(), (0.1, 0.05), np.random.default_rng(2))
    normal = (seen - 0.5) / np.sqrt(0.01 * 0.5 + 0.0025)
    for bound, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert (np.abs(normal) < bound).mean() == pytest.approx(share, abs=0.005)
    assert abs((normal[:, 1:] * normal[:, :-1]).mean()) < 0.01
    assert abs((normal[1:] * normal[:-1]).mean()) < 0.01


@pytest.mark.parametrize(
    ("noise", "ranges"),
    [
        (PaperNoise(), [(0.01, 0.16), (0.01, 0.06)]),
        (MatlabNoise(), [(0, 0.16), (0, 0.06)]),
    ],
)
def test_sigmas_are_drawn_uniformly_from_their_ranges(
    noise: Noise, ranges: list[tuple[float, float]]
):
    generator = np.random.default_rng(3)
    drawn = np.array([noise.draw(generator) for _ in range(3000)])
    for values, (low, high) in zip(drawn.T, ranges, strict=True):
        assert low <= values.min() < values.max() <= high
        assert np.quantile(values, 0.25) == pytest.approx(low + (high - low) / 4, rel=0.1)
        assert np.quantile(values, 0.75) == pytest.approx(low + 3 * (high - low) / 4, rel=0.1)


def test_pythons_sigmas_are_drawn_evenly_in_the_logarithm():
    generator = np.random.default_rng(4)
    drawn = np.array([PythonNoise().draw(generator) for _ in range(3000)])
    for values, high in zip(drawn.T, (0.16, 0.06), strict=True):
        assert 1e-4 <= values.min() < values.max() <= high
        assert np.median(values) == pytest.approx(np.sqrt(1e-4 * high), rel=0.15)
    most = PythonNoise().variance(np.array(1.0), 0.16, 0.06)
    assert np.sqrt(most) == pytest.approx(0.47, abs=0.005)


def test_low_light_is_a_factor():
    light = np.array([0.0, 0.5, 1.0])
    assert darkened(light, 0.1) == pytest.approx([0, 0.05, 0.1])
    assert np.array_equal(darkened(light, 1), light)


def test_the_same_generator_state_gives_the_same_noise_and_the_input_stays():
    light = np.full((16, 17), 0.5)
    first, second = (
        noisy(light, PaperNoise(), (0.1, 0.05), np.random.default_rng(6)) for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert (light == 0.5).all()


def test_noise_is_the_same_as_ever():
    light = np.arange(16 * 17).reshape(16, 17) / 272
    for noise in NOISES:
        seen = noisy(light, noise, (0.1, 0.05), np.random.default_rng(0))
        found = hashlib.sha256(np.rint(seen * 2**24).astype("<i8").tobytes()).hexdigest()
        assert found == json.loads(GOLDEN.read_text())[type(noise).__name__]


def test_numbers_that_cannot_be_are_refused():
    light = np.zeros(3)
    with pytest.raises(ValueError, match=re.escape("factor must be in (0, 1], got 0")):
        darkened(light, 0)
    with pytest.raises(ValueError, match=re.escape("must be 0 or more, got (-0.1, 0)")):
        noisy(light, PaperNoise(), (-0.1, 0), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"must ascend and lie in \[0, 1\], got \(0\.2, 0\.1\)"):
        PaperNoise(sigma_s=(0.2, 0.1))
    with pytest.raises(ValueError, match=r"must ascend and lie in \[0, 1\], got \(0\.2, 0\.1\)"):
        MatlabNoise(rest_deviation=(0.2, 0.1))
    with pytest.raises(ValueError, match=re.escape("got (0.0, 0.1)")):
        PythonNoise(rest_variance=(0.0, 0.1))
