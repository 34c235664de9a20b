"""Soft shapes, waves and noise made of exact arithmetic.

Only + - * / sqrt, floor and comparisons are used: IEEE 754 fixes their results to the last bit,
while exp, sin and pow differ between processors. Lengths are in units of half the picture.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.drawing.dice import Dice

Plane = NDArray[Any]  # of float32, though numpy's stubs lose sight of it

LATTICE = 64


def bell(squared: Plane) -> Plane:
    """About exp(-squared), but exactly 0 where `squared` is 4 or more."""
    kept = np.maximum(1.0 - 0.25 * squared, 0.0)
    kept *= kept
    kept *= kept
    return kept


def blob(
    across: Plane, down: Plane, centre: tuple[float, float], reach: tuple[float, float]
) -> Plane:
    """A soft hill of height 1 at `centre`, which falls to 0 at twice `reach`."""
    a = (across - centre[0]) * (1.0 / reach[0])
    b = (down - centre[1]) * (1.0 / reach[1])
    a *= a
    b *= b
    a += b
    return bell(a)


def ramp(value: Plane, low: float, high: float) -> Plane:
    """0 at `low`, 1 at `high`, smooth between; `low` may be the larger."""
    t = np.clip((value - low) * (1.0 / (high - low)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def cover(distance: Plane, pixel: float) -> Plane:
    """The share of a pixel that a shape covers, from the signed distance (negative inside)."""
    return np.clip(0.5 - distance * (1.0 / pixel), 0.0, 1.0)


def stroke(distance: Plane, half: float | Plane, pixel: float) -> Plane:
    """The share of a pixel that a line covers; right for lines thinner than a pixel too."""
    upper = np.clip((distance + half) * (1.0 / pixel) + 0.5, 0.0, 1.0)
    lower = np.clip((distance - half) * (1.0 / pixel) + 0.5, 0.0, 1.0)
    return upper - lower


def wave(turns: Plane) -> Plane:
    """About sin(2 pi turns), made of parabolas."""
    f = turns - np.floor(turns) - 0.5
    return -16.0 * f * (0.5 - np.abs(f))


def sine(angle: float) -> float:
    """The sine of a small angle in radians (|angle| < 1), the same to the last bit everywhere."""
    square = angle * angle
    return angle * (1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72))))


def cosine(angle: float) -> float:
    """The cosine of a small angle in radians (|angle| < 1), the same to the last bit everywhere."""
    square = angle * angle
    return 1 - square / 2 * (1 - square / 12 * (1 - square / 30 * (1 - square / 56)))


def bearing(across: Plane, down: Plane) -> Plane:
    """A number that grows with the angle from straight down: 0 down, 1 right, -1 left, 2 up."""
    turn = across / (np.abs(across) + np.abs(down) + 1e-4)
    return np.where(down >= 0, turn, np.where(across >= 0, 2.0 - turn, -2.0 - turn))


class Grain:
    """Value noise in [-1, 1]: random numbers on a lattice that repeats, joined smoothly."""

    def __init__(self, dice: Dice) -> None:
        table = dice.even(LATTICE, LATTICE)
        # One row and column more, so that the next neighbour never needs a wrap of its own.
        self._table = np.pad(table, ((0, 1), (0, 1)), mode="wrap").ravel()

    def __call__(self, across: Plane, down: Plane) -> Plane:
        """The noise at lattice coordinates; one unit is one cell."""
        left, top = np.floor(across), np.floor(down)
        a, b = across - left, down - top
        a *= a * (3.0 - 2.0 * a)
        b *= b * (3.0 - 2.0 * b)
        start = (top.astype(np.int32) & (LATTICE - 1)) * (LATTICE + 1)
        start += left.astype(np.int32) & (LATTICE - 1)
        upper = self._table.take(start)
        upper += a * (self._table.take(start + 1) - upper)
        start += LATTICE + 1
        lower = self._table.take(start)
        lower += a * (self._table.take(start + 1) - lower)
        return upper + b * (lower - upper)


def blurred(planes: Plane, side: float) -> Plane:
    """`planes` (..., h, w) under the separable kernel (side, 1, side), made to sum to 1.

    A plane of one value may change in its last bit; two planes that are equal around a pixel stay
    equal there, which is what the drawn pairs need.
    """
    rows = np.pad(planes, [(0, 0)] * (planes.ndim - 2) + [(1, 1), (0, 0)], mode="edge")
    planes = (planes + side * (rows[..., :-2, :] + rows[..., 2:, :])) * (1.0 / (1.0 + 2.0 * side))
    cols = np.pad(planes, [(0, 0)] * (planes.ndim - 1) + [(1, 1)], mode="edge")
    return (planes + side * (cols[..., :-2] + cols[..., 2:])) * (1.0 / (1.0 + 2.0 * side))


def averaged(planes: Plane, factor: int) -> Plane:
    """`planes` (..., h, w) with every square of `factor` pixels replaced by its mean."""
    if factor == 1:
        return planes
    h, w = planes.shape[-2] // factor, planes.shape[-1] // factor
    total = np.zeros((*planes.shape[:-2], h, w), np.float32)
    for row, col in itertools.product(range(factor), repeat=2):
        total += planes[..., row::factor, col::factor]
    return total * (1.0 / (factor * factor))


def unit(right: Plane, down: Plane, out: Plane) -> Plane:
    """(3, h, w) vectors of length 1 in the direction of the given parts."""
    scale = 1.0 / np.sqrt(right * right + down * down + out * out)
    return np.stack([right * scale, down * scale, out * scale])
