import cmath
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.degradations.trajectory import (
    HandShake,
    Paths,
    motion_kernels,
    point_spreads,
    shaken_paths,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "trajectory.json"
LAW = HandShake()
FRACTIONS = (1 / 100, 1 / 10, 1 / 2, 1.0)  # as DeblurGAN takes them
WHOLE = replace(LAW, sides=(63, 63))
PLAIN = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}


def checksum(kernels: np.ndarray) -> str:
    return hashlib.sha256(np.rint(kernels * 2**30).astype("<i8").tobytes()).hexdigest()


def slow_path(dice: random.Random) -> list[complex]:
    """One path of the law, step by step and in complex numbers."""
    anxiety, step = dice.choice(LAW.anxieties), 60 / 1999
    pull, shakes, tremble = (dice.uniform(0, most) for most in (0.7, 0.2, 10))
    velocity, points = anxiety * cmath.rect(1, dice.uniform(0, 2 * cmath.pi)), [0j]
    for _ in range(1999):
        noise = complex(dice.gauss(0, 1), dice.gauss(0, 1))
        change = anxiety * step * (tremble * noise - pull * points[-1])
        if dice.random() < shakes * anxiety:
            change -= 2 * velocity * cmath.rect(1, dice.uniform(-0.5, 0.5))
        velocity += change
        velocity *= step / abs(velocity)
        points.append(points[-1] + velocity)
    return points


def slow_kernel(points: list[complex]) -> Counter[tuple[int, int]]:
    """The share of each pixel, wherever the path lies."""
    kernel: Counter[tuple[int, int]] = Counter()
    for point in points:
        left, top = int(point.real // 1), int(point.imag // 1)
        x, y = point.real - left, point.imag - top
        for dx, dy, share in (
            (0, 0, (1 - x) * (1 - y)),
            (1, 0, x * (1 - y)),
            (0, 1, (1 - x) * y),
            (1, 1, x * y),
        ):
            kernel[left + dx, top + dy] += share / len(points)
    return kernel


def width_and_entropy(points: np.ndarray, kernel: np.ndarray) -> tuple[float, float]:
    width = np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean())
    shares = kernel[kernel > 0]
    return width, -(shares * np.log(shares)).sum()


def moments(kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = kernels.shape[1] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return (kernels * x).sum((1, 2)), (kernels * y).sum((1, 2))


def test_width_and_entropy_are_those_of_the_law_written_out_step_by_step():
    dice = random.Random(1)
    slow = []
    for _ in range(250):
        path = slow_path(dice)
        points = np.array([(point.real, point.imag) for point in path])
        slow.append(width_and_entropy(points, np.array(list(slow_kernel(path).values()))))
    paths = shaken_paths(WHOLE, 2, range(1000))
    kernels, _ = point_spreads(paths, WHOLE.sides)
    fast = [width_and_entropy(paths.points[:, :, i], kernels[i]) for i in range(1000)]
    for one, other in zip(np.array(slow).T, np.array(fast).T, strict=True):
        error = np.hypot(one.std() / np.sqrt(250), other.std() / np.sqrt(1000))
        assert abs(one.mean() - other.mean()) < 4 * error
        assert error < 0.04 * other.mean()


def test_a_path_has_its_length_and_begins_at_the_origin():
    points = shaken_paths(LAW, 0, range(8)).points
    assert points.shape == (2000, 2, 8)
    assert (points[0] == 0).all()
    assert np.hypot(*np.diff(points, axis=0).transpose(1, 0, 2)) == pytest.approx(60 / 1999)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_kernels_sum_to_1_about_their_centre_at_every_fraction(fraction: float):
    kernels, _ = motion_kernels(replace(LAW, fractions=(fraction,)), 3, range(60))
    assert kernels.sum((1, 2)) == pytest.approx(1, abs=1e-12)
    assert kernels.min() >= 0
    for mean in moments(kernels):
        assert np.abs(mean).max() < 1e-10


def test_a_hundredth_of_the_exposure_is_nearly_a_point():
    kernels, sides = motion_kernels(replace(LAW, fractions=(1 / 100,)), 3, range(60))
    assert (kernels[:, 12:15, 12:15].sum((1, 2)) > 1 - 1e-9).all()
    assert kernels[:, 13, 13].min() > 0.6
    assert set(sides.tolist()) == {13}


def test_a_longer_exposure_spreads_farther():
    spreads = [
        (motion_kernels(replace(LAW, fractions=(fraction,)), 3, range(60))[0] ** 2).sum((1, 2))
        for fraction in FRACTIONS
    ]
    assert (np.diff([spread.mean() for spread in spreads]) < 0).all()


def test_sides_are_odd_in_their_range_and_nothing_lies_outside_them():
    kernels, sides = motion_kernels(LAW, 4, range(300))
    assert set(sides.tolist()) == set(range(13, 28, 2))
    for kernel, side in zip(kernels, sides, strict=True):
        edge = (27 - side) // 2
        inside = kernel[edge : edge + side, edge : edge + side]
        assert inside.sum() == pytest.approx(1, abs=1e-12)
        ring = inside.sum() - inside[1:-1, 1:-1].sum()
        assert ring > 0 or side == 13


def test_a_path_too_large_for_the_largest_side_is_shrunk_and_not_cut():
    line = np.stack([np.linspace(0, 60, 2001), np.zeros(2001)], axis=1)[:, :, None]
    kernels, sides = point_spreads(Paths(line, np.ones(1)), (13, 27))
    assert sides.tolist() == [27]
    row = kernels[0, 13]
    assert row.sum() == pytest.approx(1)
    # Even over 26 pixels' length; half of the share on the two ends.
    assert row[1:-1] == pytest.approx(1 / 26, rel=2e-3)
    assert row[[0, -1]] == pytest.approx(0.5 / 26, rel=2e-2)


def test_no_sample_is_farther_than_half_the_length_from_the_mean():
    points = shaken_paths(LAW, 5, range(300)).points
    assert np.abs(points - points.mean(0)).max() <= 30


def test_more_anxiety_makes_a_rougher_path():
    roughness = []
    for anxiety in (0.003, 0.01):
        points = shaken_paths(replace(LAW, anxieties=(anxiety,)), 6, range(100)).points
        roughness.append(np.abs(np.diff(points, n=2, axis=0)).mean())
    assert roughness[1] > 2 * roughness[0]


def test_a_big_shake_turns_the_path_round():
    law = replace(LAW, anxieties=(1.0,), pull=(0, 0), tremble=(0, 0), big_shakes=(0.01, 0.01))
    steps = np.diff(shaken_paths(law, 7, range(20)).points, axis=0) / (60 / 1999)
    cosines = (steps[1:] * steps[:-1]).sum(1)
    turned = cosines < 0.99
    assert turned.mean() == pytest.approx(0.01, rel=0.2)
    assert cosines[turned].max() < -0.3


def test_a_kernel_is_the_same_in_any_batch():
    kernels, sides = motion_kernels(LAW, 8, range(60))
    some, some_sides = motion_kernels(LAW, 8, [57, 3, 11])
    assert np.array_equal(some, kernels[[57, 3, 11]])
    assert np.array_equal(some_sides, sides[[57, 3, 11]])


def test_other_seeds_and_indices_give_other_kernels():
    kernels, _ = motion_kernels(LAW, 0, range(20))
    others, _ = motion_kernels(LAW, 1, range(20))
    assert len({checksum(kernel) for kernel in (*kernels, *others)}) == 40


def test_kernels_are_the_same_as_ever():
    expected = json.loads(GOLDEN.read_text())
    assert checksum(motion_kernels(LAW, 0, range(20))[0]) == expected["20 kernels of seed 0"]
    law = replace(LAW, fractions=FRACTIONS)
    assert checksum(motion_kernels(law, 1, range(20))[0]) == expected["all fractions"]


def test_kernels_are_the_same_without_the_wide_instructions():
    program = (
        "import numpy as np, hashlib\n"
        "from datamodules.degradations.trajectory import HandShake, motion_kernels\n"
        "kernels = np.rint(motion_kernels(HandShake(), 0, range(20))[0] * 2**30)\n"
        "print(hashlib.sha256(kernels.astype('<i8').tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | PLAIN,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == json.loads(GOLDEN.read_text())["20 kernels of seed 0"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sides": (12, 27)}, "sides must be odd, 3 or more and in order, got (12, 27)"),
        ({"sides": (27, 13)}, "sides must be odd"),
        ({"fractions": (0.5, 1.5)}, "fractions must be in (0, 1]"),
        ({"fractions": ()}, "one at least"),
        ({"anxieties": (0.0,)}, "anxieties must be above 0"),
        ({"length": 0.0}, "length must be above 0"),
        ({"samples": 1}, "samples 2 or more"),
    ],
)
def test_a_law_that_cannot_be_is_refused(wrong: dict[str, object], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        HandShake(**wrong)


def test_negative_numbers_of_kernels_are_refused():
    with pytest.raises(ValueError, match="seed and indices must be 0 or more"):
        motion_kernels(LAW, 0, [-1])
    with pytest.raises(ValueError, match="seed and indices must be 0 or more"):
        motion_kernels(LAW, -1, [0])
