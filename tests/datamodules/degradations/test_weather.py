import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules.degradations.weather import (
    Rain,
    RainAndHaze,
    draw_depth,
    haze,
    rain_streaks,
    streak,
    transmission,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "weather.json"


def picture(height: int = 48, width: int = 65) -> np.ndarray:
    y, x, c = np.ogrid[:height, :width, :3]
    return ((3 * x + 5 * y + 40 * c + 90 * ((x // 12 + y // 9) % 2)) % 256).astype(np.uint8)


def rain(**changed: float) -> Rain:
    usual = {"density": 4, "length": 24, "width": 2, "angle": 0.3, "brightness": 0.3, "layers": 2}
    return Rain(**{**usual, **changed})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lean(light: np.ndarray) -> float:
    """Direction along which `light` changes least, from the vertical, by its structure tensor."""
    down, right = np.gradient(light)
    tensor = np.array(
        [[(right * right).sum(), (right * down).sum()], [(right * down).sum(), (down * down).sum()]]
    )
    x, y = np.linalg.eigh(tensor)[1][:, 0]
    return float(np.arctan(x / y))


@pytest.mark.parametrize("angle", [-1.0, -0.4, 0.0, 0.25, 0.8])
def test_streaks_lean_by_their_angle(angle: float):
    # Wide ones: differences of neighbouring pixels tell the direction of thin lines badly.
    assert lean(streak(61, 6, angle)) == pytest.approx(angle, abs=0.02)
    wide = rain(angle=angle, length=60, width=6, layers=1)
    assert lean(wide.streaks(200, 200, rng())) == pytest.approx(angle, abs=0.03)


def test_a_streak_has_its_length_and_width_and_is_brightest_in_the_middle():
    upright = streak(40, 6, 0)
    middle = len(upright) // 2
    assert upright[middle, middle] == upright.max() == 1
    assert (upright[:, middle] > 1e-9).sum() == 39
    assert (upright[middle] >= 0.5).sum() == 7
    assert upright[middle, middle + 3] == pytest.approx(0.5)
    assert upright == pytest.approx(upright[::-1, ::-1])


def test_the_light_of_rain_is_what_its_streaks_add_on_average():
    shower = rain(density=40, brightness=0.02, layers=1)
    expected = 40e-4 * 0.75 * 0.02 * streak(24, 2, 0.3).sum()
    seen = [shower.streaks(150, 160, rng(k)).mean() for k in range(40)]
    assert np.mean(seen) == pytest.approx(expected, rel=0.05)


def test_streaks_are_as_dense_at_the_border_as_inside():
    shower = rain(density=60, brightness=0.02)
    light = sum(shower.streaks(60, 60, rng(k)) for k in range(60))
    inside = light[20:40, 20:40].mean()
    for border in (light[:4], light[-4:], light[:, :4], light[:, -4:]):
        assert border.mean() == pytest.approx(inside, rel=0.15)


def test_more_density_brightness_length_or_layers_give_more_light():
    for name, rising in (
        ("density", (0, 1, 4, 12)),
        ("brightness", (0, 0.1, 0.3)),
        ("length", (5, 20, 60)),
        ("layers", (1, 2, 3)),
    ):
        light = [
            np.mean([rain(**{name: value}).streaks(80, 80, rng(k)).mean() for k in range(8)])
            for value in rising
        ]
        assert (np.diff(light) > 0).all(), name


def test_the_streaks_of_a_far_layer_are_shorter_and_dimmer():
    near = rain(layers=1, density=2, angle=0).streaks(200, 200, rng())
    both = rain(layers=2, density=2, angle=0).streaks(200, 200, rng())
    far = both - near
    assert far.max() < near.max()
    assert likeness(far, 9) < likeness(near, 9) - 0.1


def likeness(light: np.ndarray, shift: int) -> float:
    """Of the light with itself so many pixels further down."""
    return float(np.corrcoef(light[shift:].ravel(), light[:-shift].ravel())[0, 1])


def test_rain_only_adds_light_the_same_to_all_channels():
    image = picture() // 2
    wet = rain_streaks(image, rain(), rng())
    added = wet.astype(int) - image
    assert added.min() == 0
    assert added.max() > 20
    assert (added == added[..., :1]).all()
    assert np.array_equal(rain_streaks(image, rain(density=0), rng()), image)


def test_no_haze_keeps_the_picture_and_thick_haze_is_the_airlight():
    depth = np.linspace(0.5, 1, 48 * 65).reshape(48, 65)
    for image in (picture(), picture().astype(np.float32) / 255):
        levels = 255 if image.dtype == np.uint8 else 1
        assert haze(image, 0.8, transmission(0, depth)) == pytest.approx(image, abs=1e-6)
        thick = haze(image, 0.8, transmission(1e3, depth))
        assert thick == pytest.approx(0.8 * levels, abs=1e-6)
        assert thick.dtype == image.dtype


def test_haze_is_koschmieders_law():
    depth = draw_depth(48, 65, 4, rng())
    image = picture().astype(np.float32) / 255
    through = np.exp(-1.5 * depth)[..., None]
    expected = image * through + 0.7 * (1 - through)
    assert haze(image, 0.7, transmission(1.5, depth)) == pytest.approx(expected, abs=1e-5)
    levels = haze(picture(), 0.7, transmission(1.5, depth))
    assert np.abs(levels - 255 * expected).max() < 0.51


def test_transmission_multiplies_over_distances():
    depth = draw_depth(20, 30, 4, rng())
    product = transmission(0.5, depth) * transmission(1.0, depth)
    assert transmission(1.5, depth) == pytest.approx(product, abs=3e-5)
    assert transmission(0.5, depth) == pytest.approx(np.exp(-0.5 * depth), abs=1e-5)


def test_depth_is_smooth_from_0_to_1_and_farther_at_the_top():
    maps = [draw_depth(120, 100, 4, rng(k)) for k in range(30)]
    for depth in maps:
        assert (depth.min(), depth.max()) == (0, 1)
        assert max(np.abs(np.diff(depth, axis=axis)).max() for axis in (0, 1)) < 0.05
    mean = np.mean(maps, axis=0).mean(axis=1)
    assert mean[:20].mean() > mean[50:70].mean() > mean[-20:].mean()
    assert np.array_equal(draw_depth(1, 1, 4, rng()), np.zeros((1, 1)))


def test_more_intensity_takes_a_picture_farther_from_itself():
    image = np.full((96, 96, 3), 80, np.uint8)
    distances = []
    for intensity in (0.0, 0.3, 0.6, 1.0):
        weather = RainAndHaze((intensity, intensity))
        each = [np.abs(weather(image, rng(k)).image - 80.0).mean() for k in range(6)]
        distances.append(np.mean(each))
    assert distances[0] == 0
    assert (np.diff(distances) > 5).all()


def test_the_steps_tell_what_was_drawn_and_intensity_ties_rain_to_haze():
    drawn = [RainAndHaze()(picture(4, 4), rng(k)).steps for k in range(300)]
    density = np.array([rain.parameters["density"] for rain, _ in drawn])
    beta = np.array([haze.parameters["beta"] for _, haze in drawn])
    assert density / 12 == pytest.approx(beta / 2)
    assert 0.2 <= (density / 12).min() < 0.25 < 0.95 < (density / 12).max() <= 1
    assert json.loads(json.dumps([dict(step.parameters) for step in drawn[0]]))


def test_rain_comes_without_haze_and_haze_without_rain():
    wet, veiled = (RainAndHaze(**{which: 0.0}) for which in ("beta", "density"))
    clean = picture()
    added = wet(clean, rng()).image.astype(int) - clean
    assert added.min() == 0
    assert added.max() > 20
    seen = veiled(clean, rng())
    air = 255 * float(seen.steps[1].parameters["airlight"])
    before, after = (np.abs(shown.astype(int) - air) for shown in (clean, seen.image))
    assert (after <= before + 1).all()
    assert (before - after).max() > 20


def test_the_same_generator_state_gives_the_same_weather_and_the_input_stays():
    image = picture()
    first, second = (RainAndHaze()(image, rng(3)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.steps == second.steps
    assert np.array_equal(image, picture())
    floats = RainAndHaze()(image.astype(np.float32) / 255, rng(3)).image
    assert np.abs(first.image - 255 * floats).max() < 1.1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: streak(0, 1, 0), "length and width must be positive"),
        (lambda: rain(width=0), "length and width must be positive"),
        (lambda: rain(layers=0), "layers 1 or more"),
        (lambda: rain(density=-1), "density must ascend"),
        (lambda: rain(brightness=2), "brightness must ascend"),
        (lambda: rain_streaks(picture()[..., 0], rain(), rng()), "a picture must be"),
        (lambda: haze(picture(), 2, transmission(1, np.ones((48, 65)))), "airlight must ascend"),
        (lambda: haze(picture(), 1, transmission(1, np.ones((4, 5)))), "of the picture's size"),
        (lambda: transmission(-1, np.ones((2, 2))), "beta must be 0 or more"),
        (lambda: draw_depth(9, 9, 1, rng()), "needs 2 cells"),
        (lambda: RainAndHaze(intensity=(0, 2)), "intensity must ascend"),
        (lambda: RainAndHaze(beta=-1), "beta must ascend"),
        (lambda: RainAndHaze(length=(0, 9)), "length must ascend"),
        (lambda: RainAndHaze()(picture()[..., 0], rng()), "a picture must be"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said: str):
    with pytest.raises(ValueError, match=said):
        wrong()


def checksums() -> dict[str, str]:
    images = {
        "8 bits": RainAndHaze()(picture(96, 101), rng(0)).image,
        "float": RainAndHaze()(picture(96, 101).astype(np.float32) / 255, rng(1)).image,
    }
    return {name: hashlib.sha256(image.tobytes()).hexdigest() for name, image in images.items()}


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
