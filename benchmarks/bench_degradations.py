"""The degradations of ISPL at 512 x 512 x 3, 8 bits, against the same laws in plain OpenCV.

The baselines draw their noise with numpy's generator and filter with whole kernels. Every case
goes through a fixed number of drawn faces, its random draws going on from call to call; times
are for one picture. IMGAUG_PYTHON may name a python with imgaug (numpy below 2); then its pipeline
is timed before and after ours, each time in a process of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.timing import Row, Work, compare
from datamodules.degradations.base import Degradation, Image
from datamodules.degradations.blur import CutGaussianBlur, MotionBlur, line_kernel, released_radius
from datamodules.degradations.ispl import Full, JpegArtifacts, Mosaic16
from datamodules.degradations.jpeg import quality_of
from datamodules.degradations.noise import GaussianNoise, LaplaceNoise, PoissonNoise
from datamodules.degradations.resampling import Resampled
from datamodules.synthetic import draw_face

Plain = Callable[[Image, np.random.Generator], Image]
FACES, ROUNDS = 4, 9
PICTURES = {"Full": 48}  # of one call; the order and kind of its steps vary, so it takes more
USUAL = 12

IMGAUG = """
import json, statistics, sys, time
import cv2, numpy
numpy.bool = bool  # which imgaug still calls it by
import imgaug.augmenters as iaa
cv2.setNumThreads(0)
images = numpy.load(sys.argv[1])
down = [iaa.Resize((0.125, 0.25), cv2.INTER_AREA),
        iaa.Resize({"height": 512, "width": 512}, cv2.INTER_CUBIC)]
noise = [iaa.AdditiveGaussianNoise(scale=(20, 40), per_channel=True),
         iaa.AdditiveLaplaceNoise(scale=(20, 40), per_channel=True),
         iaa.AdditivePoissonNoise(lam=(15, 30), per_channel=True)]
blur = [iaa.MotionBlur(k=(10, 20)), iaa.GaussianBlur((3.0, 8.0))]
full = iaa.Sequential([iaa.OneOf(blur), iaa.OneOf(noise),
                       iaa.JpegCompression((50, 85)), iaa.Sequential(down)], random_order=True)
full.augment_image(images[0])
taken = []
for _ in range(int(sys.argv[2])):
    start = time.process_time()
    for image in images:
        full.augment_image(image)
    taken.append((time.process_time() - start) / len(images))
print(json.dumps(taken))
"""


def plain_gaussian(image: Image, generator: np.random.Generator) -> Image:
    return _levels(image + generator.normal(0, generator.uniform(20, 40), image.shape))


def plain_laplace(image: Image, generator: np.random.Generator) -> Image:
    return _levels(image + generator.laplace(0, generator.uniform(20, 40), image.shape))


def plain_poisson(image: Image, generator: np.random.Generator) -> Image:
    counts = generator.poisson(generator.uniform(15, 30), image.shape)
    return _levels(image + counts * (1 - 2 * generator.integers(0, 2, image.shape)))


def plain_motion(image: Image, generator: np.random.Generator) -> Image:
    size = int(generator.integers(10, 20, endpoint=True)) | 1
    kernel = line_kernel(size, generator.uniform(0, 2 * np.pi), generator.uniform(-1, 1))
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def plain_blur(image: Image, generator: np.random.Generator) -> Image:
    sigma = generator.uniform(3, 8)
    side = 2 * released_radius(sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)


def plain_jpeg(image: Image, generator: np.random.Generator) -> Image:
    quality = quality_of(int(generator.integers(50, 85, endpoint=True)))
    swapped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    file = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def plain_down(image: Image, generator: np.random.Generator) -> Image:
    side = round(len(image) * generator.uniform(1 / 8, 1 / 4))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def plain_mosaic(image: Image, _: np.random.Generator) -> Image:
    out = image.astype(np.float64)
    for y in range(0, image.shape[0], 16):
        for x in range(0, image.shape[1], 16):
            block = out[y : y + 16, x : x + 16]
            block[:] = block.mean(axis=(0, 1))
    return out.astype(np.uint8)


def plain_full(image: Image, generator: np.random.Generator) -> Image:
    noises, blurs = (plain_gaussian, plain_laplace, plain_poisson), (plain_motion, plain_blur)
    noise, blur = noises[generator.integers(3)], blurs[generator.integers(2)]
    steps = (noise, blur, plain_jpeg, plain_down)
    for i in generator.permutation(4):
        image = steps[i](image, generator)
    return image


PAIRS: dict[str, tuple[Degradation, Plain]] = {
    "Full": (Full(), plain_full),
    "Gaussian noise": (GaussianNoise(20 / 255, 40 / 255), plain_gaussian),
    "Laplace noise": (LaplaceNoise(20 / 255, 40 / 255), plain_laplace),
    "Poisson noise": (PoissonNoise(15 / 255, 30 / 255), plain_poisson),
    "motion blur": (MotionBlur(10, 20), plain_motion),
    "Gaussian blur": (CutGaussianBlur(3, 8), plain_blur),
    "JPEG": (JpegArtifacts(), plain_jpeg),
    "resampling": (Resampled(1 / 8, 1 / 4), plain_down),
    "mosaic": (Mosaic16(), plain_mosaic),
}


def cases(small: bool = False) -> dict[str, Work]:
    """Ours and plain OpenCV for the whole and for each stage."""
    cv2.setNumThreads(0)
    images = _faces(64 if small else 512)
    found: dict[str, Work] = {}
    for name, (ours, plain) in PAIRS.items():
        count = PICTURES.get(name, USUAL)
        found[f"{name}, plain OpenCV"] = _through(plain, images, count)
        found[f"{name}, ours"] = _through(ours, images, count)
    return found


def run() -> list[Row]:
    """Each stage against its baseline, then imgaug where there is one."""
    before = _imgaug_seconds()
    rows: list[Row] = []
    made = cases()
    for name in PAIRS:
        pair = {key: made[key] for key in (f"{name}, plain OpenCV", f"{name}, ours")}
        found = compare(
            "benchmarks.bench_degradations", pair, ROUNDS, f"{name}, plain OpenCV", memory=False
        )
        rows += [_each(row, PICTURES.get(name, USUAL)) for row in found]
    return rows + _imgaug_rows(before + _imgaug_seconds(), rows)


def _imgaug_rows(seconds: list[float], rows: list[Row]) -> list[Row]:
    if not seconds:
        print("imgaug was not measured: IMGAUG_PYTHON is not set", file=sys.stderr)
        return []
    ours = next(row for row in rows if row.name == "Full, ours").median_s
    median = statistics.median(seconds)
    speed: dict[str, object] = {"pictures per second": round(1 / median, 1)}
    name = f"Full, imgaug (ours is {median / ours:.2f} times as fast)"
    return [Row(name, median, max(seconds) - min(seconds), extras=speed)]


def _imgaug_seconds(rounds: int = 3) -> list[float]:
    """Seconds for a picture in each round; none without IMGAUG_PYTHON."""
    python = os.environ.get("IMGAUG_PYTHON")
    if not python:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.npy"
        np.save(path, np.stack(_faces(512) * 8))
        command = [python, "-W", "ignore", "-c", IMGAUG, str(path), str(rounds)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"imgaug failed in {python}:\n{done.stderr}")
    return [float(x) for x in json.loads(done.stdout)]


def _each(row: Row, count: int) -> Row:
    seconds, spread = row.median_s / count, (row.spread_s or 0) / count
    speed: dict[str, object] = {"pictures per second": round(1 / seconds, 1)}
    return replace(row, median_s=seconds, spread_s=spread, extras=speed)


def _faces(size: int) -> list[Image]:
    return [draw_face(identity, 0, size).raw for identity in range(FACES)]


def _through(work: Degradation | Plain, images: list[Image], count: int) -> Work:
    generator = np.random.default_rng(0)

    def call() -> None:
        for i in range(count):
            work(images[i % len(images)], generator)

    return call


def _levels(values: np.ndarray) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
