"""The shapes of imperfections: spots with a halo, lines with a lit edge, shadows, freckles.

A mark gives two things over a window: its opacity, exactly 0 outside its shape, and the factor by
which it changes the light that the skin sends back, exactly 1 outside.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from datamodules.drawing.geometry import Surface
from datamodules.drawing.light import column
from datamodules.drawing.person import Colour
from datamodules.drawing.shapes import Grain, Plane, bell, ramp


class Mark(Protocol):
    """One imperfection in the frontal view of the face."""

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Centre and half sides of a box that holds it."""

    @property
    def area(self) -> float:
        """About how much of the face it changes visibly, in squares of half the picture."""

    def drawn(self, at: Surface, grain: Grain) -> tuple[Plane, Plane]:
        """Opacity (h, w) and factor (3, h, w)."""


@dataclass(frozen=True)
class Spot:
    """A round or ragged spot: a core, a paler halo about it, and a glint on top if it is raised."""

    place: tuple[float, float]
    radius: float
    halo: float
    factor: Colour
    faint: float
    ragged: float
    glint: float

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Centre and half sides of a box that holds it."""
        return self.place, (1.5 * self.halo, 1.5 * self.halo)

    @property
    def area(self) -> float:
        """About how much of the face it changes visibly, in squares of half the picture."""
        reach = 0.82 * self.halo if self.faint > 0.2 else self.radius
        return 3.1 * reach * reach

    def drawn(self, at: Surface, grain: Grain) -> tuple[Plane, Plane]:
        """Opacity (h, w) and factor (3, h, w)."""
        a, b = at.u - self.place[0], at.v - self.place[1]
        lumps = 1.7 / self.halo
        wobble = 1.0 + self.ragged * grain(at.u * lumps, at.v * lumps)
        away = np.sqrt(a * a + b * b) * wobble
        core = ramp(away, 1.15 * self.radius, 0.6 * self.radius)
        halo = self.faint * ramp(away, self.halo, 0.5 * self.radius)
        alpha = core + halo * (1.0 - core)
        factor = 1.0 - alpha * (1.0 - column(self.factor))
        if self.glint != 0.0:
            a, b = a + 0.25 * self.radius, b + 0.3 * self.radius
            top = bell((a * a + b * b) * (4.5 / (self.radius * self.radius)))
            factor += self.glint * top * core
        return alpha, factor


@dataclass(frozen=True)
class Line:
    """A wrinkle or a scar: a bent groove, `turn` = (cos, sin) of its direction, with a lit lip."""

    place: tuple[float, float]
    half: float
    bend: float
    turn: tuple[float, float]
    width: float
    factor: Colour
    lip: float

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Centre and half sides of a box that holds it."""
        extra = 5.0 * self.width + abs(self.bend) * self.half * self.half
        c, s = abs(self.turn[0]), abs(self.turn[1])
        return self.place, (1.15 * self.half * c + extra, 1.15 * self.half * s + extra)

    @property
    def area(self) -> float:
        """About how much of the face it changes visibly, in squares of half the picture."""
        return 5.0 * self.half * self.width

    def drawn(self, at: Surface, grain: Grain) -> tuple[Plane, Plane]:
        """Opacity (h, w) and factor (3, h, w)."""
        x, y = at.u - self.place[0], at.v - self.place[1]
        along = x * self.turn[0] + y * self.turn[1]
        off = y * self.turn[0] - x * self.turn[1] - self.bend * along * along
        off = off + 0.5 * self.width * grain(along * 16.0, at.v * 5.0)
        t = np.abs(along) * (1 / self.half)
        ends = ramp(t, 1.1, 0.35) * (0.8 + 0.2 * grain(along * 30.0 + 9.0, at.v * 3.0))
        groove = bell(np.square(off * (1 / self.width))) * ends
        lip = bell(np.square((off - 1.7 * self.width) * (1 / self.width))) * ends
        factor = 1.0 - groove * (1.0 - column(self.factor)) + self.lip * lip
        return np.maximum(groove, lip * min(1.0, 4.0 * self.lip)), factor


@dataclass(frozen=True)
class Shadow:
    """A dark circle: a crescent under an eye, mirrored by `side`."""

    place: tuple[float, float]
    reach: tuple[float, float]
    side: int
    factor: Colour

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Centre and half sides of a box that holds it."""
        return self.place, (1.9 * self.reach[0], 3.0 * self.reach[1])

    @property
    def area(self) -> float:
        """About how much of the face it changes visibly, in squares of half the picture."""
        return 3.4 * self.reach[0] * self.reach[1]

    def drawn(self, at: Surface, grain: Grain) -> tuple[Plane, Plane]:
        """Opacity (h, w) and factor (3, h, w)."""
        a = (at.u - self.place[0]) * (self.side / self.reach[0])
        b = (at.v - self.place[1]) * (1 / self.reach[1]) + 0.9 * a * a - 0.35
        fade = ramp(b, 1.4, 0.1) * ramp(b, -1.3, -0.4) * ramp(np.abs(a), 1.25, 0.35)
        alpha = fade * (0.9 + 0.1 * grain(at.u * 25.0, at.v * 25.0))
        return alpha, 1.0 - alpha * (1.0 - column(self.factor))


@dataclass(frozen=True)
class Freckles:
    """Many small brown dots over nose and cheeks, one at most in each cell of a lattice."""

    place: tuple[float, float]
    reach: tuple[float, float]
    density: float
    factor: Colour
    cell: float = 0.042

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Centre and half sides of a box that holds it."""
        return self.place, self.reach

    @property
    def area(self) -> float:
        """About how much of the face it changes visibly, in squares of half the picture."""
        return 0.13 * self.reach[0] * self.reach[1] * self.density

    def drawn(self, at: Surface, grain: Grain) -> tuple[Plane, Plane]:
        """Opacity (h, w) and factor (3, h, w)."""
        x, y = at.u * (1 / self.cell), at.v * (1 / self.cell)
        left, top = np.floor(x), np.floor(y)
        # The lattice noise at whole numbers is the random number of that cell.
        dx = x - left - 0.5 - 0.22 * grain(left + 17.0, top)
        dy = y - top - 0.5 - 0.22 * grain(left, top + 29.0)
        chance, size = grain(left + 5.0, top + 41.0), grain(left + 51.0, top + 3.0)
        radius = 0.17 + 0.09 * size
        away = np.sqrt(dx * dx + dy * dy)
        zone = bell(
            np.square((at.u - self.place[0]) / (0.55 * self.reach[0]))
            + np.square((at.v - self.place[1]) / (0.55 * self.reach[1]))
        )
        present = ramp(0.5 + 0.5 * chance, 1.0 - self.density * 0.9, 1.06 - self.density * 0.9)
        alpha = ramp(away / radius, 1.25, 0.5) * present * np.minimum(2.0 * zone, 1.0)
        return alpha, 1.0 - alpha * (1.0 - column(self.factor))
