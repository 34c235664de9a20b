"""What every degradation of the package must do, whoever wrote it."""

import importlib
import inspect
import json
import pkgutil
from dataclasses import MISSING, fields

import numpy as np
import pytest

from datamodules import degradations
from datamodules.degradations.base import (
    AnyOrder,
    Degradation,
    InOrder,
    OneOf,
    Sometimes,
)
from datamodules.degradations.blur import CutGaussianBlur, GaussianBlur, MotionBlur
from datamodules.degradations.colour import ColourJitter, ColourShift
from datamodules.degradations.jpeg import CompressedJpeg, Jpeg
from datamodules.degradations.noise import GaussianNoise, LaplaceNoise, PoissonNoise
from datamodules.degradations.resampling import Downsampled, Mosaic, Resampled

TWO = (ColourShift(), GaussianNoise(0.1, 0.2))
WITH_ARGUMENTS = (
    InOrder(TWO),
    AnyOrder(TWO),
    OneOf(TWO),
    Sometimes(ColourJitter(), 0.5),
    GaussianBlur(1, 3),
    CutGaussianBlur(3, 8),
    MotionBlur(5, 12),
    GaussianNoise(0.05, 0.2),
    LaplaceNoise(0.05, 0.2),
    PoissonNoise(0.05, 0.2),
    Jpeg(10, 90),
    CompressedJpeg(50, 85),
    Downsampled(4),
    Resampled(1 / 8, 1 / 4),
    Mosaic(16),
)
DRAW_NOTHING = {"Downsampled", "Mosaic", "SuperResolution4", "Mosaic16", "Grey"}


def classes() -> list[type[Degradation]]:
    """All that can be built, of all modules of the package."""
    for module in pkgutil.iter_modules(degradations.__path__, f"{degradations.__name__}."):
        importlib.import_module(module.name)
    found, waiting = [], [Degradation]
    while waiting:
        waiting += (below := waiting.pop().__subclasses__())
        found += [each for each in below if not inspect.isabstract(each)]
    ours = [each for each in found if each.__module__.startswith(degradations.__name__)]
    return sorted(set(ours), key=lambda each: (each.__module__, each.__name__))


def needs_nothing(made: type[Degradation]) -> bool:
    return all(
        field.default is not MISSING or field.default_factory is not MISSING
        for field in fields(made)
    )


ALL = (*WITH_ARGUMENTS, *(made() for made in classes() if needs_nothing(made)))
NAMES = [type(each).__name__ for each in ALL]
SIZES = ((16, 17), (33, 64))


def picture(size: tuple[int, int], kind: type) -> np.ndarray:
    """Neither black nor white nor flat, so that whatever is drawn shows."""
    y, x, c = np.ogrid[: size[0], : size[1], :3]
    levels = (40 + (7 * x + 5 * y + 31 * c + 60 * ((x // 3 + y // 4) % 2)) % 176).astype(np.uint8)
    return levels if kind is np.uint8 else levels / np.float32(255)


def test_no_degradation_is_left_out():
    left_out = {made.__name__ for made in classes()} - set(NAMES)
    assert left_out == set(), "give them arguments in WITH_ARGUMENTS"
    assert len(NAMES) > 20


@pytest.mark.parametrize("degradation", ALL, ids=NAMES)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shape_kind_and_range_are_kept_and_the_input_too(
    degradation: Degradation, kind: type, size: tuple[int, int]
):
    for seed in range(3):
        image = picture(size, kind)
        image.setflags(write=False)
        result = degradation(image, np.random.default_rng(seed)).image
        assert result.shape == image.shape
        assert result.dtype == kind
        assert np.array_equal(image, picture(size, kind))
        if kind is np.float32:
            assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("degradation", ALL, ids=NAMES)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_one_generator_state_gives_the_same_bytes_and_another_gives_others(
    degradation: Degradation, kind: type
):
    def outcome(seed: int) -> tuple[bytes, tuple]:
        degraded = degradation(picture(SIZES[1], kind), np.random.default_rng(seed))
        return degraded.image.tobytes(), degraded.steps

    first = {seed: outcome(seed) for seed in range(6)}
    assert {seed: outcome(seed) for seed in range(6)} == first
    different = len({image for image, _ in first.values()})
    assert (different == 1) if type(degradation).__name__ in DRAW_NOTHING else (different > 1)


@pytest.mark.parametrize("degradation", ALL, ids=NAMES)
def test_the_steps_can_be_written_down_and_say_what_was_done(degradation: Degradation):
    for seed in range(6):
        image = picture(SIZES[1], np.uint8)
        degraded = degradation(image, np.random.default_rng(seed))
        for step in degraded.steps:
            told = dict(step.parameters)
            assert json.loads(json.dumps(told, allow_nan=False)) == told
            assert {type(value) for value in told.values()} <= {float, int, str}
            assert step.name
            assert step.kind in ("blur", "noise", "low light", "other")
        assert degraded.steps or np.array_equal(degraded.image, image)
        assert degraded.label.shape == (3,)


@pytest.mark.parametrize("degradation", ALL, ids=NAMES)
def test_pictures_that_are_not_contiguous_are_taken(degradation: Degradation):
    image = picture(SIZES[1], np.uint8)
    turned = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    results = [degradation(each, np.random.default_rng(0)).image for each in (image, turned)]
    assert np.array_equal(*results)


@pytest.mark.parametrize("degradation", ALL, ids=NAMES)
@pytest.mark.parametrize(
    "wrong", [np.zeros((16, 17), np.uint8), np.zeros((16, 17, 3)), np.zeros((16, 17, 4), np.uint8)]
)
def test_what_is_no_picture_is_refused(degradation: Degradation, wrong: np.ndarray):
    if isinstance(degradation, Sometimes):
        degradation = Sometimes(degradation.step, 1)
    with pytest.raises(ValueError, match="a picture must be"):
        degradation(wrong, np.random.default_rng(0))
