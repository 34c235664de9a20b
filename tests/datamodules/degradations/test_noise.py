import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from datamodules.degradations.noise import (
    ENTRIES,
    GaussianNoise,
    LaplaceNoise,
    PoissonNoise,
    gaussian_noise,
    gaussian_table,
    laplace_noise,
    laplace_table,
    poisson_noise,
    poisson_table,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "noise.json"
NOISES = {"Gaussian": gaussian_noise, "Laplace": laplace_noise, "Poisson": poisson_noise}
TABLES = {"Gaussian": gaussian_table, "Laplace": laplace_table, "Poisson": poisson_table}
OBJECTS = [GaussianNoise, LaplaceNoise, PoissonNoise]
GREY = np.full((256, 256, 3), 128, np.uint8)


def levels(noise, strength, image=GREY, seed=0):
    noisy = noise(image, strength / 255, np.random.default_rng(seed))
    return noisy.astype(int) - image


def ramp(height=16, width=17):
    return (np.arange(height * width * 3) * 37 % 256).astype(np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("scale", [20, 33.3, 40])
@pytest.mark.parametrize(
    ("table", "law"), [(gaussian_table, stats.norm), (laplace_table, stats.laplace)]
)
def test_a_table_holds_the_quantiles_of_its_law(table, law, scale):
    p = (np.arange(ENTRIES) + 0.5) / ENTRIES
    np.testing.assert_allclose(255 * table(scale / 255), law.ppf(p, scale=scale), atol=1e-5)


@pytest.mark.parametrize("rate", [0.5, 15, 22.7, 30, 255])
def test_the_poisson_table_has_the_probabilities_of_a_count_of_random_sign(rate):
    values, counts = np.unique(np.rint(255 * poisson_table(rate / 255)), return_counts=True)
    expected = stats.poisson.pmf(np.abs(values), rate) * np.where(values == 0, 1, 0.5)
    assert np.abs(counts / ENTRIES - expected).max() < 1 / ENTRIES
    assert counts.sum() == ENTRIES


@pytest.mark.parametrize("strength", [20, 30])
@pytest.mark.parametrize("name", ["Gaussian", "Laplace"])
def test_rounded_noise_is_distributed_as_scipy_says(name, strength):
    found = levels(NOISES[name], strength)
    law = {"Gaussian": stats.norm, "Laplace": stats.laplace}[name]
    steps = np.arange(-120, 120)
    empirical = np.searchsorted(np.sort(found, axis=None), steps, side="right") / found.size
    # 1.95 / sqrt(n) is exceeded by chance once in a thousand.
    assert np.abs(empirical - law.cdf(steps + 0.5, scale=strength)).max() < 1.95 / found.size**0.5


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("Gaussian", lambda sigma: sigma**2),
        ("Laplace", lambda scale: 2 * scale**2),
        ("Poisson", lambda rate: rate + rate**2),
    ],
)
def test_mean_and_variance_are_those_of_the_law(name, variance):
    found = levels(NOISES[name], 15)
    expected = variance(15)
    assert abs(found.mean()) < 4 * (expected / found.size) ** 0.5
    assert found.var() == pytest.approx(expected + (name != "Poisson") / 12, rel=0.03)


def test_half_of_the_poisson_counts_are_taken_away():
    found = levels(poisson_noise, 20)
    assert (found < 0).mean() == pytest.approx(0.5, abs=0.005)
    counts = np.bincount(np.abs(found).ravel(), minlength=80)[:80]
    expected = found.size * stats.poisson.pmf(np.arange(80), 20)
    common = expected > 20
    assert ((counts - expected) ** 2 / expected)[common].sum() < stats.chi2.ppf(0.999, common.sum())


@pytest.mark.parametrize("name", NOISES)
def test_channels_and_neighbours_are_independent(name):
    found = levels(NOISES[name], 20).astype(float)
    shifted = [found[..., 0], found[..., 1], found[..., 2], np.roll(found, 1, 0)[..., 0]]
    correlations = np.corrcoef([plane.ravel() for plane in shifted])
    assert np.abs(correlations - np.eye(4)).max() < 0.02


@pytest.mark.parametrize("name", NOISES)
def test_noise_saturates_and_never_wraps_around(name):
    for value in (0, 255):
        image = np.full((64, 64, 3), value, np.uint8)
        change = levels(NOISES[name], 40, image)
        assert (change * (1 if value == 0 else -1) >= 0).all()
        assert (change == 0).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", NOISES)
def test_float_pictures_get_the_same_noise_unrounded(name):
    image = ramp()
    exact = NOISES[name](image.astype(np.float32) / 255, 20 / 255, np.random.default_rng(3))
    rounded = NOISES[name](image, 20 / 255, np.random.default_rng(3))
    assert exact.dtype == np.float32
    assert exact.min() >= 0
    assert exact.max() <= 1
    assert np.abs(255 * exact - rounded).max() <= 0.5001


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(16, 17), (1, 1), (3, 1)])
@pytest.mark.parametrize("name", NOISES)
def test_shape_and_type_stay_and_the_input_is_left_alone(name, shape, dtype):
    image = ramp(*shape) if dtype == np.uint8 else ramp(*shape).astype(np.float32) / 255
    before = image.copy()
    noisy = NOISES[name](image, 0.1, np.random.default_rng(0))
    assert (noisy.shape, noisy.dtype) == (image.shape, image.dtype)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", NOISES)
def test_no_strength_is_no_noise(name):
    assert np.array_equal(NOISES[name](ramp(), 0, np.random.default_rng(0)), ramp())


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_drawn_strength_is_told_and_replays_the_picture(kind):
    first = kind(0.05, 0.15)(ramp(), np.random.default_rng(5))
    (step,) = first.steps
    ((name, strength),) = step.parameters.items()
    generator = np.random.default_rng(5)
    assert strength == generator.uniform(0.05, 0.15)
    assert type(strength) is float
    assert step.kind == "noise"
    noise = NOISES[step.name.removesuffix(" noise")]
    assert np.array_equal(first.image, noise(ramp(), strength, generator))
    assert name in noise.__code__.co_varnames


@pytest.mark.parametrize("name", NOISES)
def test_strengths_outside_0_to_1_are_refused(name):
    for wrong in (-0.1, 20, float("nan")):
        with pytest.raises(ValueError, match=re.escape("must be in [0, 1], 1 being white, got")):
            TABLES[name](wrong)
        with pytest.raises(ValueError, match=re.escape("must be in [0, 1]")):
            NOISES[name](GREY, wrong, np.random.default_rng(0))


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("wrong", [(0.2, 0.1), (-0.1, 0.1), (20, 40)])
def test_ranges_that_make_no_sense_are_refused(kind, wrong):
    with pytest.raises(ValueError, match="must ascend and lie in"):
        kind(*wrong)


@pytest.mark.parametrize("name", NOISES)
def test_what_is_no_picture_is_refused(name):
    with pytest.raises(ValueError, match="a picture must be"):
        NOISES[name](GREY.astype(np.float64), 0.1, np.random.default_rng(0))


@pytest.mark.parametrize("name", NOISES)
def test_the_bytes_are_those_of_the_golden_file(name):
    noisy = NOISES[name](ramp(), 0.1, np.random.default_rng(0))
    assert hashlib.sha256(noisy.tobytes()).hexdigest() == json.loads(GOLDEN.read_text())[name]
