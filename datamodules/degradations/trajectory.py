"""Kernels of motion blur by a shaking hand, many at once (Boracchi and Foi 2012).

A point moves through the plane at constant speed. At every sample its direction is disturbed by a
Gaussian tremble, by a pull back to where it began, and now and then by a big shake that turns it
round. The kernel is how long the point stayed over each pixel. All paths of a batch take a sample
together; each draws from a generator of its own, so that it is the same in any batch. Sums and
roots are exactly rounded, which keeps a kernel the same to about 1e-12 on every machine.

Deviation: four things differ from the public code of DeblurGAN, whose law this is otherwise.
Kernels sum to 1 at every fraction of the exposure, where its sum to the fraction. Their centre of
mass is the central pixel, where its lies anywhere and so displaces the picture. Nothing is lost at
the border, where it counts what leaves the canvas at its last row. And the side is the smallest odd
number that holds the path: the canvas of 64 would hold any, at the full length of 60, since no
sample is farther than half the length from the mean. NASFE gives only the sides, 13 to 27; a path
that needs more (1 in 7 does) is drawn to a smaller scale rather than cut.
`test_trajectory.py` has a test of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64, Int64

from datamodules.degradations.ranges import Range, check_range

Points = Float64[np.ndarray, "samples 2 paths"]
Canvases = Float64[np.ndarray, "kernels side side"]
Sides = Int64[np.ndarray, " kernels"]


@dataclass(frozen=True)
class HandShake:
    """The law of the paths; what has a range is drawn uniformly from it, once for each path.

    Attributes:
        anxieties: how restless the hand is; one is drawn.
        pull: strength of the pull towards the beginning.
        big_shakes: times the anxiety, the probability of a big shake at a sample.
        tremble: strength of the Gaussian tremble.
        fractions: of the path that the exposure takes; one is drawn. DeblurGAN takes 1 / 100,
            which is nearly a point, 1 / 10, 1 / 2 and 1; NASFE's kernels have sides of 13 and
            more, which only the full exposure gives.
        sides: smallest and largest side of a kernel, odd, in pixels.
        length: of the path, in pixels.
        samples: of the path.

    Raises:
        ValueError: if a number cannot be.
    """

    anxieties: tuple[float, ...] = (0.01, 0.009, 0.008, 0.007, 0.005, 0.003)
    pull: Range = (0.0, 0.7)
    big_shakes: Range = (0.0, 0.2)
    tremble: Range = (0.0, 10.0)
    fractions: tuple[float, ...] = (1.0,)
    sides: tuple[int, int] = (13, 27)
    length: float = 60.0
    samples: int = 2000

    def __post_init__(self) -> None:
        small, large = self.sides
        if not (3 <= small <= large and small % 2 and large % 2):
            raise ValueError(f"sides must be odd, 3 or more and in order, got {self.sides}")
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ValueError(f"fractions must be in (0, 1] and one at least, got {self.fractions}")
        if not self.anxieties or min(self.anxieties) <= 0:
            raise ValueError(f"anxieties must be above 0 and one at least, got {self.anxieties}")
        check_range("pull", self.pull, 0)
        check_range("big_shakes", self.big_shakes, 0, 1)
        check_range("tremble", self.tremble, 0)
        if self.length <= 0 or self.samples < 2:
            raise ValueError(
                "length must be above 0 and samples 2 or more, "
                f"got {self.length} and {self.samples}"
            )


@final
@dataclass(frozen=True, eq=False)
class Paths:
    """Paths of one batch, and the fraction of each that is exposed."""

    points: Points
    fractions: Float64[np.ndarray, " paths"]


@final
@dataclass(frozen=True, eq=False)
class _Dice:
    """What one path is drawn from; `turns` are samples and angles of the big shakes."""

    anxiety: float
    pull: float
    tremble: float
    angle: float
    fraction: float
    noise: Float64[np.ndarray, "steps 2"]
    turns: tuple[tuple[int, float], ...]


def motion_kernels(law: HandShake, seed: int, indices: Sequence[int]) -> tuple[Canvases, Sides]:
    """Kernels on a canvas of the largest side, each summing to 1 about its centre, and their sides.

    Outside the middle `side` by `side` pixels a kernel is 0. Kernel i is a function of (seed, i).

    Raises:
        ValueError: if `seed` or an index is negative.
    """
    return point_spreads(shaken_paths(law, seed, indices), law.sides)


def shaken_paths(law: HandShake, seed: int, indices: Sequence[int]) -> Paths:
    """The paths of that seed and those indices, each beginning at (0, 0); x comes before y.

    Raises:
        ValueError: if `seed` or an index is negative.
    """
    if min(seed, *indices, 0) < 0:
        raise ValueError(f"seed and indices must be 0 or more, got {seed} and {min(indices)}")
    dice = [_dice(law, seed, index) for index in indices]
    step = law.length / (law.samples - 1)
    points = _walked(dice, law.samples, step)
    return Paths(points, np.array([drawn.fraction for drawn in dice]))


def point_spreads(paths: Paths, sides: tuple[int, int]) -> tuple[Canvases, Sides]:
    """The share of the exposure that each path spends over each pixel, centred, and the sides.

    A sample counts for the four pixels about it, bilinearly, which keeps the mean where it is.
    """
    count = paths.points.shape[2]
    parts = [
        _spread(paths.points[:, :, first : first + _GROUP], paths.fractions[first:][:_GROUP], sides)
        for first in range(0, count, _GROUP)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


_GROUP = 50  # what stays in the cache; three times as fast as 256 at once


def _spread(
    points: Points, fractions: Float64[np.ndarray, " paths"], sides: tuple[int, int]
) -> tuple[Canvases, Sides]:
    samples, _, count = points.shape
    exposed = np.clip(fractions * samples - np.arange(samples)[:, None], 0.0, 1.0)
    exposed /= exposed.sum(0)
    points = points - (points * exposed[:, None]).sum(0)
    reach = (np.abs(points) * (exposed > 0)[:, None]).max((0, 1))
    smallest, largest = sides
    radius = largest // 2
    points *= np.minimum(1.0, radius / np.maximum(reach, 1e-9))
    # A sample on the last pixel counts for it as the neighbour of the one before, with weight 1.
    corner = np.clip(np.floor(points), -radius, radius - 1)
    right, down = (points - corner).transpose(1, 0, 2)
    column, row = (corner + radius).astype(np.int64).transpose(1, 0, 2)
    first = (np.arange(count) * largest + row) * largest + column
    canvas = np.zeros(count * largest * largest)
    for offset, weight in (
        (0, (1 - right) * (1 - down)),
        (1, right * (1 - down)),
        (largest, (1 - right) * down),
        (largest + 1, right * down),
    ):
        places = (first + offset).ravel()
        canvas += np.bincount(places, (weight * exposed).ravel(), canvas.size)
    needed = 2 * np.ceil(np.minimum(reach, radius) - 1e-9).astype(np.int64) + 1
    return canvas.reshape(count, largest, largest), np.maximum(needed, smallest)


def _dice(law: HandShake, seed: int, index: int) -> _Dice:
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
    anxiety = law.anxieties[int(generator.integers(len(law.anxieties)))]
    fraction = law.fractions[int(generator.integers(len(law.fractions)))]
    pull, shakes, tremble, angle = (
        float(generator.uniform(*bounds))
        for bounds in (law.pull, law.big_shakes, law.tremble, (0.0, 2 * np.pi))
    )
    noise = generator.standard_normal((law.samples - 1, 2))
    shaken = np.flatnonzero(generator.random(law.samples - 1) < shakes * anxiety)
    turns = np.pi + generator.uniform(-0.5, 0.5, shaken.size)
    pairs = tuple(zip(shaken.tolist(), turns.tolist(), strict=True))
    return _Dice(anxiety, pull, tremble, angle, fraction, noise, pairs)


def _walked(dice: Sequence[_Dice], samples: int, step: float) -> Points:
    """All paths, sample by sample."""
    anxiety = np.array([drawn.anxiety for drawn in dice])
    pull = anxiety * np.array([drawn.pull for drawn in dice]) * step
    forces, turns = _forces(dice, samples, step), _turns(dice)
    angle = np.array([drawn.angle for drawn in dice])
    velocity = np.stack([np.cos(angle), np.sin(angle)]) * anxiety
    position = np.zeros_like(velocity)
    points = np.zeros((samples, *velocity.shape))
    change, speed = np.empty_like(velocity), np.empty_like(angle)
    for t in range(samples - 1):
        np.multiply(position, pull, out=change)
        np.subtract(forces[t], change, out=change)
        for path, cosine, sine in turns.get(t, ()):
            x, y = velocity[:, path].tolist()
            change[:, path] += (2 * (cosine * x - sine * y), 2 * (sine * x + cosine * y))
        velocity += change
        np.multiply(velocity, velocity, out=change)
        np.add(change[0], change[1], out=speed)
        np.sqrt(speed, out=speed)
        np.divide(step, speed, out=speed)
        velocity *= speed
        position += velocity
        points[t + 1] = position
    return points


def _forces(
    dice: Sequence[_Dice], samples: int, step: float
) -> Float64[np.ndarray, "steps 2 paths"]:
    forces = np.empty((samples - 1, 2, len(dice)))
    for path, drawn in enumerate(dice):
        np.multiply(drawn.noise, drawn.anxiety * drawn.tremble * step, out=forces[:, :, path])
    return forces


def _turns(dice: Sequence[_Dice]) -> dict[int, list[tuple[int, float, float]]]:
    """For each sample with a big shake: the paths shaken, cosine and sine of their turns."""
    turns: dict[int, list[tuple[int, float, float]]] = {}
    for path, drawn in enumerate(dice):
        for t, angle in drawn.turns:
            turns.setdefault(t, []).append((path, float(np.cos(angle)), float(np.sin(angle))))
    return turns
