"""Eyes with lids, lashes, iris and highlight, and eyebrows made of strokes."""

import numpy as np

from datamodules.drawing.canvas import Canvas, Window
from datamodules.drawing.geometry import Surface
from datamodules.drawing.light import column, squared
from datamodules.drawing.parts import Part
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain, Plane, bell, cover, ramp, stroke, wave

IRIS_RADIUS = 0.055


class Lids:
    """One eye's frame: a from -1 (nose) to 1 (temple), b downwards, and its two lid lines."""

    def __init__(self, at: Surface, person: Person, shot: Photograph, side: int) -> None:
        eyes = person.eyes
        a = (at.u * side - eyes.apart) * (1 / eyes.width)
        b = at.v * (1 / eyes.width)
        self.a, self.b = a, b + eyes.slant * a
        self.pixel = at.pixel / eyes.width
        arc = np.maximum(1 - a * a, -0.6)
        opening = max(0.12, eyes.opening * shot.expression.eyes)
        self.upper = -0.70 * opening * arc * (1 - 0.12 * a) * (1 + 0.12 * a * a)
        self.lower = 0.40 * opening * arc * (1 + 0.18 * a)
        self.open = cover(np.maximum(self.upper - self.b, self.b - self.lower), self.pixel)
        self.along = ramp(np.abs(a), 1.12, 0.85)


def paint_eyes(canvas: Canvas, at: Surface, person: Person, shot: Photograph, grain: Grain) -> None:
    """Paint both eyes with their lids."""
    eyes = person.eyes
    for side in (-1, 1):
        window = at.window((side * eyes.apart, -0.01), (eyes.width * 1.6, eyes.width * 1.15))
        part = at.crop(window)
        lids = Lids(part, person, shot, side)
        _lid_skin(canvas, lids, person, window)
        canvas.paint(lids.open, _eyeball(lids, person, shot, (grain, side)), window)
        canvas.name(lids.open, Part.LEFT_EYE if side < 0 else Part.RIGHT_EYE, window)
        _lashes(canvas, lids, person, window)


def _lid_skin(canvas: Canvas, lids: Lids, person: Person, window: Window) -> None:
    eyes = person.eyes
    above = lids.b - lids.upper
    lid = ramp(above, -0.50, -0.12) * ramp(above, 0.1, -0.02) * lids.along
    made_up = squared((0.36, 0.22, 0.24))
    canvas.tint(lid * (0.75 * eyes.shadow), made_up, window)
    fold = above + 0.20 + 0.13 * eyes.crease
    crease = bell(fold * fold * 220.0) * lids.along * (0.25 + 0.4 * eyes.crease)
    canvas.darken(crease * 0.75, window)
    pouch = lids.b - lids.lower - 0.33
    old = 0.05 + 0.16 * max(0.0, person.age - 35) / 40
    canvas.darken(bell(pouch * pouch * 50.0) * lids.along * old, window)
    rim = lids.b - lids.lower
    wet = bell((rim - 0.05) * (rim - 0.05) * 500.0) * lids.along
    canvas.tint(wet * 0.30, squared(person.skin) * column((1.15, 0.9, 0.88)), window)


def _eyeball(lids: Lids, person: Person, shot: Photograph, noise: tuple[Grain, int]) -> Plane:
    grain, side = noise
    a, b, pixel = lids.a, lids.b, lids.pixel
    gaze = shot.expression.gaze
    x = a - side * gaze[0] * 1.6 - 0.02
    y = b + 0.12 - gaze[1]
    away = np.sqrt(x * x + y * y)
    size = IRIS_RADIUS / person.eyes.width
    white = squared((0.80, 0.775, 0.76)) * (1.0 - 0.45 * bell(np.square(np.abs(a) - 1.0) * 9.0))
    corner = bell((a + 1.0) * (a + 1.0) * 18.0)
    white += corner * (squared((0.66, 0.40, 0.38)) - white)
    rays = grain(
        x / (np.abs(x) + np.abs(y) + 0.05) * 7.0 + 20.0, y / (np.abs(x) + np.abs(y) + 0.05) * 7.0
    )
    t = away * (1 / size)
    shade = (0.62 + 0.55 * ramp(t, 0.35, 0.8)) * (1 + 0.30 * rays)
    shade *= 1.0 - 0.72 * ramp(t, 0.74, 1.0)
    iris = squared(person.eyes.iris) * (1.35 * shade * (1.0 + 0.5 * ramp(y, -0.1, 0.35)))
    white += cover(away - size, max(pixel, 0.07)) * (iris - white)
    white += cover(away - size * 0.40, max(pixel, 0.05)) * (column((0.003, 0.003, 0.003)) - white)
    lid_shadow = 0.68 * ramp(b - lids.upper, 0.24, -0.02)
    light = shot.light
    bright = 0.30 + 0.62 * sum(light.key) / 3
    white *= (1.0 - lid_shadow) * bright
    return _glints(white, x, y, shot, pixel)


def _glints(white: Plane, x: Plane, y: Plane, shot: Photograph, pixel: float) -> Plane:
    direction = shot.light.direction
    for place, radius, strength in (
        ((0.30 * direction[0], 0.30 * direction[1] - 0.02), 0.085, 0.95),
        ((-0.22 * direction[0], -0.28 * direction[1]), 0.06, 0.22),
    ):
        # x is mirrored for the left eye, the light is not; the difference is a hair's breadth.
        dx, dy = x - place[0], y - place[1]
        white += (
            strength * cover(np.sqrt(dx * dx + dy * dy) - radius, max(pixel, 0.05)) * (1 - white)
        )
    return white


def _lashes(canvas: Canvas, lids: Lids, person: Person, window: Window) -> None:
    a, pixel = lids.a, lids.pixel
    strength = person.eyes.lashes
    above = lids.b - lids.upper
    thick = (0.034 + 0.05 * strength) * (0.6 + 0.4 * ramp(a, -0.8, 0.6))
    dark = squared((0.10, 0.07, 0.06))
    canvas.paint(stroke(above + 0.01, thick, pixel) * lids.along * 0.92, dark, window)
    reach = (0.10 + 0.22 * ramp(a, -0.6, 0.9)) * (0.35 + 0.65 * strength)
    height = -above / reach
    hairs = 0.5 + 0.5 * wave(a * 7.0 - above * (1.5 + 2.5 * a))
    fan = hairs * hairs * ramp(height, 1.0, 0.1) * ramp(height, -0.05, 0.05)
    canvas.paint(fan * ramp(np.abs(a - 0.1), 1.1, 0.8) * (0.25 + 0.6 * strength), dark, window)
    below = lids.b - lids.lower
    canvas.paint(stroke(below, 0.022, pixel) * lids.along * (0.25 + 0.3 * strength), dark, window)


def paint_brows(
    canvas: Canvas, at: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    """Paint both eyebrows, stroke by stroke."""
    brows, eyes = person.brows, person.eyes
    middle = -brows.height - shot.expression.brows
    inner, length = eyes.apart - 0.145, 0.30
    for side in (-1, 1):
        window = at.window((side * (inner + 0.5 * length), middle), (0.24, 0.10))
        part = at.crop(window)
        s = part.u * side
        t = (s - inner) * (1 / length)
        line = middle - brows.arch * (1 - (t - 0.55) * (t - 0.55) * 2.6)
        away = part.v - line
        thick = (
            brows.thickness
            * (0.55 + 0.45 * ramp(t, -0.05, 0.2))
            * (1.15 - 0.85 * ramp(t, 0.35, 1.02))
        )
        region = _soft(away, thick)
        lean = away * (1.0 - 1.6 * t)
        hairs = grain(s * 85.0 + lean * 110.0 + 7.0, away * 30.0 + t * 6.0)
        alpha = np.clip(region * (1.15 + 0.5 * hairs) - 0.08, 0.0, 1.0)
        ends = ramp(t, 1.06, 0.96) * ramp(t, -0.06, 0.12)
        alpha *= ends * brows.density
        colour = squared(brows.colour) * (0.75 + 0.5 * sum(shot.light.key) / 3)
        canvas.paint(alpha, colour * (1.0 + 0.3 * hairs), window)
        canvas.name(region * ends, Part.LEFT_BROW if side < 0 else Part.RIGHT_BROW, window)


def _soft(away: Plane, thick: Plane) -> Plane:
    return ramp(np.abs(away) / (thick + 1e-3), 1.25, 0.45)
