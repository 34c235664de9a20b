"""How fast motion kernels are made, against the same law step by step in plain Python."""

import cmath
import math
import random
import statistics
from functools import partial

import numpy as np

from benchmarks.timing import Row, Work, interleaved, summary
from datamodules.degradations.trajectory import HandShake, motion_kernels

LAW = HandShake()
BASELINE = "one kernel, step by step in plain Python"
BATCHES = (1, 64, 250)
SLOW, ROUNDS = 4, 9


def run() -> list[Row]:
    """Median seconds a kernel, and kernels a second."""
    counts = {f"kernels in batches of {count}": count for count in BATCHES} | {BASELINE: SLOW}
    cases: dict[str, Work] = {name: partial(_fast, count) for name, count in counts.items()}
    times = interleaved(cases | {BASELINE: _all_slow}, ROUNDS)
    slow = statistics.median(times[BASELINE]) / SLOW
    return [_row(name, [t / counts[name] for t in times[name]], slow) for name in counts]


def _row(name: str, seconds: list[float], slow: float) -> Row:
    told = summary(name, seconds)
    speed: dict[str, object] = {"kernels per second": round(1 / told.median_s, 1)}
    ratio = slow / told.median_s
    return Row(name, told.median_s, told.spread_s, None, ratio, BASELINE, speed)


def _fast(count: int) -> object:
    return motion_kernels(LAW, 0, range(count))


def _all_slow() -> object:
    return [_slow(random.Random(seed)) for seed in range(SLOW)]


def _slow(dice: random.Random) -> np.ndarray:
    """A kernel on a canvas of 64, from a path that is walked a step at a time."""
    points = _path(dice)
    mean = sum(points) / len(points)
    canvas = np.zeros((64, 64))
    for point in points:
        x, y = point.real - mean.real + 31, point.imag - mean.imag + 31
        left, top = math.floor(x), math.floor(y)
        for column in (left, left + 1):
            for row in (top, top + 1):
                canvas[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    return canvas / len(points)


def _path(dice: random.Random) -> list[complex]:
    anxiety, step = dice.choice(LAW.anxieties), LAW.length / (LAW.samples - 1)
    pull, shakes, tremble = (dice.uniform(*r) for r in (LAW.pull, LAW.big_shakes, LAW.tremble))
    velocity, points = cmath.rect(anxiety, dice.uniform(0, 2 * cmath.pi)), [0j]
    for _ in range(LAW.samples - 1):
        noise = complex(dice.gauss(0, 1), dice.gauss(0, 1))
        change = anxiety * step * (tremble * noise - pull * points[-1])
        if dice.random() < shakes * anxiety:
            change -= 2 * velocity * cmath.rect(1, dice.uniform(-0.5, 0.5))
        velocity += change
        velocity *= step / abs(velocity)
        points.append(points[-1] + velocity)
    return points
