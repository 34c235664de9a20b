import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from jsonargparse import ArgumentParser

from datamodules.degradations.base import Degradation
from datamodules.degradations.convolution import convolve
from datamodules.degradations.kernels import gaussian_kernel
from datamodules.degradations.presets import (
    Codeformer,
    Gfpgan,
    Gpen,
    LowQuality,
    Restoreformer,
    resize,
    shrink,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "presets.json"
RECIPES = (LowQuality(), Gfpgan(), Codeformer(), Gpen(), Restoreformer())
EVERY_COLOUR = Gfpgan(shift=1, grey=1, jitter=1)


def picture(height: int = 48, width: int = 65) -> np.ndarray:
    """Smooth, with edges, by whole numbers."""
    y, x, c = np.ogrid[:height, :width, :3]
    return ((3 * x + 5 * y + 40 * c + 90 * ((x // 12 + y // 9) % 2)) % 256).astype(np.uint8)


def told(recipe: Degradation, count: int = 800) -> dict[str, np.ndarray]:
    """What was drawn, by names; nan where something was not drawn."""
    image, generator = picture(2, 2), np.random.default_rng(0)
    names = ("sigma", "sigma across", "angle", "radius", "scale", "quality", "noise")
    rows = []
    for _ in range(count):
        blur, shrunk, noise, jpeg, *_ = recipe(image, generator).steps
        drawn = {**blur.parameters, **shrunk.parameters, **jpeg.parameters}
        rows.append([{**drawn, "noise": noise.parameters["sigma"]}.get(n, np.nan) for n in names])
    return dict(zip(names, np.array(rows, float).T, strict=True))


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    values = values[~np.isnan(values)]
    assert low <= values.min() < values.max() <= high
    for share in (0.1, 0.5, 0.9):
        expected = low + share * (high - low)
        assert np.quantile(values, share) == pytest.approx(expected, abs=0.07 * (high - low))


@pytest.mark.parametrize(
    ("recipe", "sigma", "scale", "quality"),
    [
        (LowQuality(), (0.1, 10), (0.8, 8), (60, 100)),
        (Gfpgan(), (0.1, 10), (0.8, 8), (60, 100)),
        (Restoreformer(), (0.1, 10), (0.8, 8), (60, 100)),
        (Codeformer(), (1, 15), (4, 30), (30, 80)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Degradation) else "",
)
def test_numbers_are_drawn_from_the_ranges_that_were_released(recipe, sigma, scale, quality):
    drawn = told(recipe)
    assert_uniform(drawn["sigma"], *sigma)
    assert_uniform(drawn["sigma across"], *sigma)
    assert_uniform(drawn["angle"], -np.pi, np.pi)
    assert_uniform(drawn["scale"], *scale)
    assert_uniform(drawn["noise"], 0, 20 / 255)
    assert_uniform(drawn["quality"], quality[0], quality[1] - 1)
    assert np.isnan(drawn["angle"]).mean() == pytest.approx(0.5, abs=0.06)
    assert set(drawn["radius"]) == ({19, 20} if isinstance(recipe, Restoreformer) else {20})


def test_what_is_drawn_together_is_independent():
    drawn = told(LowQuality())
    both = ~np.isnan(drawn["angle"])
    rows = [values[both] for name, values in drawn.items() if name != "radius"]
    assert np.abs(np.corrcoef(rows)[np.triu_indices(len(rows), 1)]).max() < 0.15


@pytest.mark.parametrize("isotropic", [True, False])
def test_the_chain_is_blur_then_bilinear_points_then_jpeg_then_bilinear(isotropic: bool):
    recipe = LowQuality((2.0, 2.0), (3.0, 3.0), (0.0, 0.0), (100.0, 100.0), (20, 20))
    if not isotropic:
        recipe = LowQuality((1.0, 4.0), (3.0, 3.0), (0.0, 0.0), (100.0, 100.0), (20, 20))
    image = np.repeat(picture(96, 99)[..., :1], 3, axis=2)  # grey: JPEG halves colours
    seeds = (k for k in range(20) if is_isotropic(recipe(image, rng(k))) == isotropic)
    result = recipe(image, rng(next(seeds)))
    blur = result.steps[0].parameters
    kernel = rotated(blur["sigma"], blur.get("sigma across", blur["sigma"]), blur.get("angle", 0.0))
    small = cv2.resize(cv2.filter2D(image / 255, -1, kernel), (33, 32))
    expected = 255 * cv2.resize(small, (99, 96))
    assert np.abs(result.image - expected).mean() < 0.8
    assert np.abs(image - expected).mean() > 10


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_isotropic(result) -> bool:
    return "angle" not in result.steps[0].parameters


def rotated(along: float, across: float, angle: float) -> np.ndarray:
    """The kernel by its covariance, as the authors write it."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([along**2, across**2]) @ turn.T)
    places = np.stack(np.meshgrid(np.arange(-20, 21), np.arange(-20, 21)), axis=-1)
    values = np.exp(-0.5 * np.einsum("...i,ij,...j", places, inverse, places))
    return values / values.sum()


def test_rounding_after_each_step_moves_a_picture_by_less_than_one_level():
    for scale in (0.8, 2.3, 7.7):
        kernel = gaussian_kernel(41, 0.4, 9.0, 2.0)
        steps = shrink(convolve(picture(), kernel), scale)
        exact = 255 * shrink(convolve(picture().astype(np.float32) / 255, kernel), scale)
        assert np.abs(steps - exact).max() <= 1.001
        assert np.abs(steps - exact).mean() < 0.5


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: type(recipe).__name__)
def test_both_kinds_of_picture_are_degraded_alike(recipe: Degradation):
    image = picture(64, 63)
    for seed in range(4):
        levels = recipe(image, rng(seed))
        floats = recipe(image.astype(np.float32) / 255, rng(seed))
        assert levels.steps == floats.steps
        assert floats.image.dtype == np.float32
        # A level of rounding more or less can move a JPEG's coefficient by a whole step.
        assert np.abs(levels.image - 255 * floats.image).mean() < 5


def test_gfpgan_changes_colours_after_the_chain_and_gpen_before_it():
    degraded = EVERY_COLOUR(picture(), rng(0))
    assert [step.name for step in degraded.steps[4:]] == ["colour shift", "grey", "colour jitter"]
    plain = Gfpgan(shift=0, grey=0, jitter=0)(picture(), rng(0))
    assert np.array_equal(plain.image, LowQuality()(picture(), rng(0)).image)
    grey = Gfpgan(shift=0, grey=1, jitter=0)(picture(), rng(0)).image
    assert (grey == grey[..., :1]).all()
    before = Gpen(noise=(0.05, 0.05), grey=1)(picture(), rng(0))
    assert before.steps[0].name == "grey"
    assert (before.image != before.image[..., :1]).any()  # noise has colours, the picture none


def test_colours_change_as_often_as_released():
    for recipe, expected in (
        (Gfpgan(), {"colour shift": 0.3, "grey": 0.01, "colour jitter": 0.3}),
        (Gpen(), {"grey": 0.2}),
        (Codeformer(), {}),
        (Restoreformer(), {}),
    ):
        generator = rng(1)
        steps = [recipe(picture(2, 2), generator).steps for _ in range(500)]
        names = [step.name for each in steps for step in each]
        for name in ("colour shift", "grey", "colour jitter"):
            assert names.count(name) / 500 == pytest.approx(expected.get(name, 0), abs=0.04)


@pytest.mark.parametrize("size", [(1, 1), (16, 17), (33, 64)])
def test_pictures_smaller_than_the_scale_keep_a_pixel(size: tuple[int, int]):
    assert shrink(picture(*size), 30).shape == (1, max(1, size[1] // 30), 3)
    assert Codeformer()(picture(*size), rng(0)).image.shape == (*size, 3)


def test_sides_are_rounded_down_when_they_shrink():
    assert shrink(picture(48, 65), 3.3).shape == (14, 19, 3)
    assert shrink(picture(48, 65), 0.75).shape == (64, 86, 3)


def test_a_resize_is_linear_between_pixels():
    for kind in (np.uint8, np.float32):
        ramp = np.repeat(np.arange(0, 80, 10), 3).reshape(1, 8, 3).astype(kind)
        ramp = ramp if kind == np.uint8 else ramp / np.float32(255)
        wide = resize(ramp, 1, 16)[0, 1:-1, 0]
        steps = np.diff(wide.astype(float)) * (1 if kind == np.uint8 else 255)
        assert steps == pytest.approx(5, abs=1.01 if kind == np.uint8 else 1e-4)


@pytest.mark.parametrize("name", [type(recipe).__name__ for recipe in RECIPES])
def test_recipes_are_named_in_settings_with_and_without_numbers(name: str):
    parser = ArgumentParser()
    parser.add_argument("--degradation", type=Degradation)
    path = f"datamodules.degradations.presets.{name}"
    plain = parser.parse_object({"degradation": {"class_path": path}})
    assert parser.instantiate(plain).degradation in RECIPES
    chosen = {"class_path": path, "init_args": {"sigma": [0.2, 3], "noise": [0, 0.1]}}
    built = parser.instantiate(parser.parse_object({"degradation": chosen})).degradation
    assert (built.sigma, built.noise) == ((0.2, 3), (0, 0.1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: LowQuality(sigma=(0, 1)), "sigma must ascend"),
        (lambda: Gfpgan(sigma=(2, 1)), "sigma must ascend"),
        (lambda: Codeformer(scale=(0, 1)), "scale must ascend"),
        (lambda: Gpen(noise=(0, 2)), "noise must ascend"),
        (lambda: Restoreformer(quality=(0, 50)), "quality must ascend"),
        (lambda: LowQuality(radius=(-1, 5)), "radius must ascend"),
        (lambda: Gfpgan(shift=2), "probability must be in"),
        (lambda: Gfpgan(jitter=-1), "probability must be in"),
        (lambda: Gpen(grey=1.5), "probability must be in"),
        (lambda: shrink(picture(), 0), "scale must be positive"),
        (lambda: resize(picture()[..., 0], 2, 2), "a picture must be"),
        (lambda: Gfpgan()(picture()[..., 0], rng(0)), "a picture must be"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said: str):
    with pytest.raises(ValueError, match=said):
        wrong()


def checksums() -> dict[str, str]:
    """Of what each recipe makes of one picture, a blur of either kind among them."""
    sums = {}
    for recipe in (*RECIPES, EVERY_COLOUR):
        for seed in (0, 1, 2):
            image = recipe(picture(96, 101), rng(seed)).image
            name = f"{'every colour' if recipe is EVERY_COLOUR else type(recipe).__name__} {seed}"
            sums[name] = hashlib.sha256(image.tobytes()).hexdigest()
    return sums


def test_the_bytes_are_those_that_were_recorded():
    assert checksums() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_an_older_processor_gives_the_same_bytes():
    older = {
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1",
        "OPENCV_IPP": "disabled",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3",
        "PYTHONWARNINGS": "ignore",
    }
    code = "import json, runpy; print(json.dumps(runpy.run_path('{}')['checksums']()))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(__file__)],
        env={**os.environ, **older},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == checksums()
