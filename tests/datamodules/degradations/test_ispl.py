import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from datamodules.degradations.base import LABELLED, Degradation
from datamodules.degradations.ispl import TASKS

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "degradations" / "ispl.json"
NAMES = {
    "super_resolution": "SuperResolution4",
    "mosaic": "Mosaic16",
    "noise": "Noise",
    "blur": "Blur",
    "jpeg": "JpegArtifacts",
    "full": "Full",
}
HASHES = """
import hashlib, json
import cv2, numpy as np
from datamodules.degradations.ispl import TASKS
cv2.setNumThreads(0)
image = (np.arange(64 * 48 * 3) * 37 % 256).astype(np.uint8).reshape(64, 48, 3)
image[:32] = image[:32] // 4 + 90
digest = {name: hashlib.sha256() for name in TASKS}
for name, work in TASKS.items():
    for seed in range(12):
        for picture in (image, image.astype(np.float32) / 255):
            digest[name].update(work(picture, np.random.default_rng(seed)).image.tobytes())
found = {name: made.hexdigest() for name, made in digest.items()}
print(json.dumps(found))
"""
OLD_PROCESSOR = {
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3,AVX,FP16,SSE4.2,SSE4.1,SSSE3",
    "OPENCV_IPP": "disabled",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "JSIMD_FORCENONE": "1",
}


def ramp(height=16, width=17):
    return (np.arange(height * width * 3) * 37 % 256).astype(np.uint8).reshape(height, width, 3)


def steps_of(task, count=300):
    tiny, generator = ramp(8, 9), np.random.default_rng(0)
    return [TASKS[task](tiny, generator).steps for _ in range(count)]


def hashes_here():
    names = {}
    exec(HASHES, names)
    return names["found"]


def hashes_with(**settings):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HASHES],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_the_six_tasks_of_the_paper():
    assert {task: type(work).__name__ for task, work in TASKS.items()} == NAMES


@pytest.mark.parametrize("task", TASKS)
def test_each_can_be_named_in_yaml_without_arguments(task):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--degradation", type=Degradation)
    path = f"datamodules.degradations.ispl.{NAMES[task]}"
    settings = parser.parse_args([f"--degradation={path}"])
    assert parser.instantiate(settings).degradation == TASKS[task]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("task", TASKS)
def test_each_keeps_shape_type_range_and_input_and_replays(task, dtype):
    image = ramp() if dtype == np.uint8 else ramp().astype(np.float32) / 255
    before = image.copy()
    for seed in range(6):
        first, second = (TASKS[task](image, np.random.default_rng(seed)) for _ in range(2))
        assert (first.image.shape, first.image.dtype) == (image.shape, image.dtype)
        assert np.array_equal(first.image, second.image)
        assert first.steps == second.steps
        assert first.image.min() >= 0
        assert first.image.max() <= (255 if dtype == np.uint8 else 1)
        assert json.loads(json.dumps([dict(s.parameters) for s in first.steps]))
    assert np.array_equal(image, before)


def test_noise_is_a_third_of_each_kind_at_the_released_strengths():
    drawn = [step for (step,) in steps_of("noise", 900)]
    assert Counter(s.name for s in drawn).keys() == {
        "Gaussian noise",
        "Laplace noise",
        "Poisson noise",
    }
    ranges = {"Gaussian noise": (20, 40), "Laplace noise": (20, 40), "Poisson noise": (15, 30)}
    for name, (low, high) in ranges.items():
        levels = [255 * v for s in drawn if s.name == name for v in s.parameters.values()]
        assert len(levels) / 900 == pytest.approx(1 / 3, abs=0.06)
        assert low <= min(levels) < low + 1
        assert high - 1 < max(levels) <= high


def test_blur_is_half_motion_and_half_gaussian():
    drawn = [step for (step,) in steps_of("blur", 600)]
    lines = [s.parameters["size"] for s in drawn if s.name == "motion blur"]
    sigmas = [s.parameters["sigma"] for s in drawn if s.name == "Gaussian blur"]
    assert len(lines) / 600 == pytest.approx(0.5, abs=0.07)
    assert (min(lines), max(lines)) == (11, 21)
    assert 3 <= min(sigmas) < 3.1
    assert 7.9 < max(sigmas) <= 8


def test_jpeg_has_the_qualities_that_the_released_compressions_mean():
    qualities = {step.parameters["quality"] for (step,) in steps_of("jpeg", 600)}
    assert (min(qualities), max(qualities)) == (17, 51)


def test_full_is_all_four_in_all_24_orders():
    drawn = steps_of("full", 600)
    kinds = {"motion blur": "blur", "Gaussian blur": "blur"}
    kinds |= {f"{law} noise": "noise" for law in ("Gaussian", "Laplace", "Poisson")}
    orders = Counter(tuple(kinds.get(s.name, s.name) for s in steps) for steps in drawn)
    assert len(orders) == 24
    assert all(set(order) == {"blur", "noise", "JPEG", "resampling"} for order in orders)
    scales = [s.parameters["scale"] for steps in drawn for s in steps if s.name == "resampling"]
    assert 1 / 8 <= min(scales) < 0.13
    assert 0.245 < max(scales) <= 1 / 4


def test_full_is_labelled_as_blurred_and_noisy():
    degraded = TASKS["full"](ramp(), np.random.default_rng(0))
    assert dict(zip(LABELLED, degraded.label.tolist(), strict=True)) == {
        "blur": 1,
        "noise": 1,
        "low light": 0,
    }


def test_super_resolution_and_mosaic_have_the_published_factors():
    assert [str(s) for s in steps_of("super_resolution", 1)[0]] == ["resampling scale 0.25"]
    assert [str(s) for s in steps_of("mosaic", 1)[0]] == ["mosaic block 16"]


def test_the_bytes_are_the_same_without_the_newer_instructions_of_the_processor():
    assert hashes_with(**OLD_PROCESSOR) == hashes_here()


@pytest.mark.parametrize("task", TASKS)
def test_the_bytes_are_those_of_the_golden_file(task):
    degraded = TASKS[task](ramp(96, 80), np.random.default_rng(0))
    found = hashlib.sha256(degraded.image.tobytes()).hexdigest()
    assert found == json.loads(GOLDEN.read_text())[task]
