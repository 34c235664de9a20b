import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonargparse
import numpy as np
import pytest

from datamodules.degradations.base import Degradation, Image
from datamodules.degradations.camera import Gamma, Srgb
from datamodules.degradations.kernels import KernelBank, gaussian_by_deviation
from datamodules.degradations.nasfe import (
    CONDITIONS,
    TEST_SETS,
    Camera,
    Condition,
    NasfeDegradation,
    OfTestSet,
    Setting,
    apply,
    fixed_kernels,
)
from datamodules.degradations.sensor import MatlabNoise

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "nasfe.json"
HERE = "datamodules.degradations"
PLAIN = {
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}
HARD = Setting(gaussian_by_deviation(0.5, 2.5, 1.0), 0.3, 0.1, 0.05)


def picture(height: int = 33, width: int = 42, dtype: type = np.uint8) -> Image:
    y, x = np.mgrid[:height, :width]
    levels = np.stack([(37 * x + 11 * y + 5 * x * y + 50 * c) % 256 for c in range(3)], 2)
    return levels.astype(np.uint8) if dtype is np.uint8 else (levels / 255).astype(np.float32)


def checksum(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def found() -> dict[str, str]:
    """Checksums of a fixed picture under every condition and at the ends of every test set."""
    sums = {}
    for condition in CONDITIONS:
        degrade = NasfeDegradation(conditions=(condition,))
        image = degrade(picture(), np.random.default_rng(0)).image
        sums["+".join(condition)] = checksum(image)
    for name, fixed in TEST_SETS.items():
        images = [
            apply(picture(), setting, np.random.default_rng(0)).image
            for setting in (fixed.settings()[0], fixed.settings()[-1])
        ]
        sums[name] = checksum(np.stack(images))
    return sums


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(16, 17), (33, 20), (176, 144)])
@pytest.mark.parametrize("condition", CONDITIONS, ids="+".join)
def test_shape_dtype_and_range_are_kept_and_a_sample_repeats(
    dtype: type, shape: tuple[int, int], condition: Condition
):
    image = picture(*shape, dtype=dtype)
    before = image.copy()
    degrade = NasfeDegradation(conditions=(condition,))
    first, second = (degrade(image, np.random.default_rng(3)) for _ in range(2))
    assert first.image.shape == image.shape
    assert first.image.dtype == dtype
    assert 0 <= first.image.min() < first.image.max() <= (255 if dtype is np.uint8 else 1)
    assert np.array_equal(first.image, second.image)
    assert first.steps == second.steps
    assert not np.array_equal(first.image, image)
    assert np.array_equal(image, before)
    json.dumps([dict(step.parameters) for step in first.steps])


@pytest.mark.parametrize("condition", CONDITIONS, ids="+".join)
def test_the_label_says_what_the_condition_is_made_of(condition: Condition):
    degraded = NasfeDegradation(conditions=(condition,))(picture(), np.random.default_rng(0))
    expected = [part in condition for part in ("blur", "noise", "low light")]
    assert degraded.label.tolist() == expected


def test_conditions_and_parameters_are_drawn_evenly_over_their_ranges():
    degrade, generator = NasfeDegradation(), np.random.default_rng(1)
    labels, factors, sigmas = [], [], []
    for _ in range(1500):
        degraded = degrade(picture(4, 5), generator)
        labels.append(tuple(degraded.label.tolist()))
        drawn = {key: value for step in degraded.steps for key, value in step.parameters.items()}
        if "factor" in drawn:
            factors.append(drawn["factor"])
        if "sigma_s" in drawn:
            sigmas.append((drawn["sigma_s"], drawn["sigma_c"]))
    assert len(set(labels)) == 5
    assert all(240 < labels.count(label) < 360 for label in set(labels))
    for values, low, high in (
        (factors, 0.05, 0.5),
        ([pair[0] for pair in sigmas], 0.01, 0.16),
        ([pair[1] for pair in sigmas], 0.01, 0.06),
    ):
        assert low <= min(values) <= max(values) <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, rel=0.05)


def test_a_picture_to_which_nothing_is_done_stays_as_it_is():
    for dtype in (np.uint8, np.float32):
        degraded = apply(picture(dtype=dtype), Setting(), np.random.default_rng(0))
        assert degraded.image == pytest.approx(picture(dtype=dtype), abs=1e-6)
        assert degraded.steps == ()


def test_low_light_is_a_factor_on_the_light():
    image = picture(dtype=np.float32)
    dark = apply(image, Setting(r=0.2), np.random.default_rng(0)).image
    light = Srgb().to_light(image.astype(np.float64))
    assert Srgb().to_light(dark.astype(np.float64)) == pytest.approx(0.2 * light, abs=1e-6)


def test_blur_of_light_keeps_light_and_blur_of_display_keeps_display_values():
    image = np.zeros((40, 40, 3), np.float32)
    image[10:30, 10:30] = 1
    setting = Setting(HARD.kernel)
    for camera, measure in (
        (Camera(), Srgb().to_light),
        (Camera(blur_acts_on="display"), lambda display: display),
    ):
        seen = apply(image, setting, np.random.default_rng(0), camera).image.astype(np.float64)
        assert measure(seen).mean() == pytest.approx(0.25, abs=1e-5)
    brighter = apply(image, setting, np.random.default_rng(0)).image
    assert brighter.mean() > 0.26


def test_a_camera_without_response_blurs_light_and_display_alike():
    cameras = [Camera(response=Gamma(1.0), blur_acts_on=acts) for acts in ("light", "display")]
    one, other = (
        apply(picture(), Setting(HARD.kernel), np.random.default_rng(0), camera).image
        for camera in cameras
    )
    assert np.array_equal(one, other)


def test_the_noise_of_the_sensor_has_its_variance_in_light_where_a_colour_was_measured():
    image = np.full((200, 200, 3), 0.7, np.float32)
    light = float(Srgb().to_light(np.array(0.7)))
    for camera, variance in (
        (Camera(), 0.01 * light + 0.0025),
        (Camera(noise=MatlabNoise()), (0.1 * light) ** 2 + 0.0025),
    ):
        setting = Setting(sigma_s=0.1, sigma_c=0.05)
        seen = apply(image, setting, np.random.default_rng(0), camera).image
        red = Srgb().to_light(seen[::2, ::2, 0].astype(np.float64))
        assert red.var() == pytest.approx(variance, rel=0.05)
        assert red.mean() == pytest.approx(light, abs=0.005)


def test_noise_gives_no_colour_cast():
    image = np.full((200, 200, 3), 150, np.uint8)
    for camera in NasfeDegradation().possible_cameras:
        setting = Setting(r=0.3, sigma_s=0.1, sigma_c=0.05)
        seen = apply(image, setting, np.random.default_rng(0), camera).image
        red, green, blue = seen.mean((0, 1))
        assert red == pytest.approx(blue, abs=1.0)
        # Green is measured twice as often: weaker noise, which the response bends less.
        assert red == pytest.approx(green, abs=2.5)


@pytest.mark.parametrize("index", [0, 17, 39, 51])
def test_a_blurred_picture_does_not_move(index: int):
    y, x = np.mgrid[:81, :81] - 40
    disc = np.repeat((x**2 + y**2 < 100)[:, :, None], 3, 2).astype(np.float32)
    seen = apply(disc, Setting(fixed_kernels()[index]), np.random.default_rng(0)).image
    light = Srgb().to_light(seen[..., 1].astype(np.float64))
    assert (light * x).sum() / light.sum() == pytest.approx(0, abs=1e-4)
    assert (light * y).sum() / light.sum() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("Test-B", 5200),
        ("Test-N", 600),
        ("Test-L", 2400),
        ("Test-BN", 5200),
        ("Test-BNL", 10400),
    ],
)
def test_a_hundred_pictures_make_as_many_as_table_4_can_mean(name: str, count: int):
    settings = TEST_SETS[name].settings()
    assert 100 * len(settings) == count
    assert len({(id(s.kernel), s.r, s.sigma_s, s.sigma_c) for s in settings}) == len(settings)
    degraded = apply(picture(), settings[0], np.random.default_rng(0))
    told = [part in name.removeprefix("Test-") for part in "BNL"]
    told[1] = name != "Test-B"  # low light comes with noise
    assert degraded.label.tolist() == told


def test_the_fixed_kernels_are_those_of_table_4():
    kernels = fixed_kernels()
    motion = [kernel.values.shape[0] for kernel in kernels if kernel.name == "motion blur"]
    gaussians = [kernel.parameters for kernel in kernels if kernel.name == "Gaussian blur"]
    assert (len(motion), len(gaussians)) == (40, 12)
    assert set(motion) <= set(range(13, 28, 2))
    assert len(set(motion)) > 5
    assert all(1 <= told["sigma across"] < told["sigma"] <= 3 for told in gaussians)
    assert [kernel.values.sum() for kernel in kernels] == pytest.approx([1] * 52, abs=1e-12)


def test_every_picture_is_the_same_as_ever():
    assert found() == json.loads(GOLDEN.read_text())


def test_every_picture_is_the_same_without_the_wide_instructions():
    program = (
        "import runpy, json\n"
        f"print(json.dumps(runpy.run_path({str(Path(__file__).resolve())!r})['found']()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | PLAIN,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(GOLDEN.read_text())


def built(**arguments: object) -> NasfeDegradation:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--degrade", type=Degradation)
    told = {"class_path": f"{HERE}.nasfe.NasfeDegradation", "init_args": arguments}
    return parser.instantiate(parser.parse_object({"degrade": told})).degrade


def test_settings_in_yaml_make_the_degradation():
    camera = {
        "response": {"class_path": f"{HERE}.camera.Gamma", "init_args": {"exponent": 2.0}},
        "noise": {"class_path": f"{HERE}.sensor.MatlabNoise"},
        "pattern": "GBRG",
    }
    degrade = built(conditions=[["blur", "noise"]], cameras=[camera], bank={"seed": 3})
    assert degrade.cameras[0] == Camera(Gamma(2.0), "GBRG", MatlabNoise())
    assert degrade.bank == KernelBank(seed=3)
    degraded = degrade(picture(), np.random.default_rng(0))
    assert degraded.label.tolist() == [1, 1, 0]
    assert degraded.steps[1].parameters["convention"] == "MatlabNoise"


def test_settings_left_out_in_yaml_are_the_defaults():
    degrade, default = built(), NasfeDegradation()
    assert (degrade.bank, degrade.low_light) == (default.bank, default.low_light)
    assert tuple(degrade.possible_cameras) == tuple(default.possible_cameras)
    assert [tuple(condition) for condition in degrade.conditions] == list(CONDITIONS)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least one condition and one camera"):
        NasfeDegradation(conditions=())
    with pytest.raises(ValueError, match="at least one condition and one camera"):
        NasfeDegradation(cameras=())
    with pytest.raises(ValueError, match=re.escape("got ['fog']")):
        NasfeDegradation(conditions=(("fog",),))
    with pytest.raises(ValueError, match=re.escape("low_light must be in order in (0, 1]")):
        NasfeDegradation(low_light=(0.0, 0.5))
    with pytest.raises(ValueError, match=re.escape("factor must be in (0, 1], got 1.5")):
        apply(picture(), Setting(r=1.5), np.random.default_rng(0))
    with pytest.raises(ValueError, match="sigma_s and sigma_c must be 0 or more"):
        apply(picture(), Setting(sigma_s=-0.1), np.random.default_rng(0))
    with pytest.raises(ValueError, match=re.escape("must be (h, w, 3)")):
        apply(picture()[..., 0], Setting(), np.random.default_rng(0))


def test_a_picture_of_a_test_set_has_a_combination_of_table_4_and_no_kernel_of_training():
    generator, told = np.random.default_rng(0), []
    for _ in range(150):
        steps = OfTestSet("Test-BNL")(picture(), generator).steps
        told.append([dict(step.parameters) for step in steps])
    blurs = {str(blur) for blur, _, _ in told}
    fixed = {str(dict(kernel.parameters)) for kernel in fixed_kernels()}
    assert blurs <= fixed
    assert len(blurs) > 40  # of 52
    assert {light["factor"] for _, light, _ in told} == {0.15, 0.3}
    assert {(noise["sigma_s"], noise["sigma_c"]) for _, _, noise in told} == {(0.1, 0.05)}


def test_a_test_set_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"one of Test-B, Test-N, .* got 'Test-X'"):
        OfTestSet("Test-X")
