"""Lips with teeth behind them, and the nostrils."""

import numpy as np

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.geometry import Surface, dip, mouth_line, mouth_width
from datamodules.drawing.light import column, diffuse, highlight, squared
from datamodules.drawing.parts import Part
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain, Plane, bell, blob, cover, ramp, stroke, wave


def paint_mouth(
    canvas: Canvas, at: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    """Paint the lips, and the teeth where the mouth is open."""
    width = mouth_width(person, shot.expression)
    middle = person.nose.length + 0.195
    window = at.window((0.0, middle), (width * 1.25, 0.17))
    part = at.crop(window)
    a = part.u * (1 / width)
    body = np.maximum(1 - a * a, -0.3)
    down = part.v - mouth_line(shot.expression, person, a)
    gap = 0.05 * max(0.0, shot.expression.open) * np.maximum(body, 0.0)
    lips, bottom = _lip_shape(a, body, down, person, gap, part.pixel)
    colour = _lip_colour(part, person, shot, grain, down)
    canvas.paint(lips * 0.86, colour, window)
    canvas.name(lips * (down < 0), Part.UPPER_LIP, window)
    canvas.name(lips * (down >= 0), Part.LOWER_LIP, window)
    inside = cover(np.maximum(-0.3 * gap - down, down - gap), part.pixel) * ramp(body, 0.0, 0.15)
    inside *= ramp(gap, 0.0, 0.012)
    canvas.paint(inside, _teeth(a, down, gap, shot), window)
    canvas.name(inside, Part.MOUTH, window)
    for line, strength in ((down + 0.3 * gap, 0.75), (down - gap, 0.4)):
        dark = stroke(line, 0.0045, part.pixel) * ramp(body, -0.06, 0.12) * strength
        canvas.tint(dark, squared(person.mouth.colour) * 0.12, window)
    corner = blob(np.abs(a), down, (1.0, 0.0), (0.07, 0.014))
    canvas.darken(corner * 0.5, window)
    canvas.darken(
        0.22 * bell(np.square((down - bottom - 0.018) * 70.0)) * ramp(body, 0.2, 0.8), window
    )


def _lip_shape(
    a: Plane, body: Plane, down: Plane, person: Person, gap: Plane, pixel: float
) -> tuple[Plane, Plane]:
    mouth = person.mouth
    fall = body * (1 + 0.15 * a * a)
    peaks = 1 - mouth.bow * dip(a)
    top = -mouth.upper * fall * peaks - 0.3 * gap
    bottom = mouth.lower * body * (1 - 0.25 * a * a) + gap
    edge = max(pixel, 0.014)
    return cover(np.maximum(top - down, down - bottom), edge), bottom


def _lip_colour(
    part: Surface, person: Person, shot: Photograph, grain: Grain, down: Plane
) -> Plane:
    light = diffuse(part.normal, shot.light, np.ones_like(part.u), (0.3, 0.22, 0.2))
    lines = grain(part.u * 70.0, down * 12.0 + 4.0)
    colour = squared(person.mouth.colour) * light * (1.0 + 0.13 * lines)
    shine = highlight(part.normal, shot.light, 5) * (0.22 * person.mouth.gloss)
    return colour + shine * (1.0 + 0.6 * lines) * column(shot.light.key)


def _teeth(a: Plane, down: Plane, gap: Plane, shot: Photograph) -> Plane:
    depth = (down + 0.3 * gap) / (1.3 * gap + 1e-3)
    between = np.square(np.square(wave(a * 3.6 + 0.25)))
    # Cosine-like: thin dark joints where the wave crosses its crest.
    shade = (1.0 - 0.22 * between * between) * (1.0 - 0.75 * ramp(np.abs(a), 0.45, 0.95))
    shade *= ramp(depth, -0.3, 0.25) * (1.0 - 0.85 * ramp(depth, 0.72, 0.92))
    bright = 0.35 + 0.55 * sum(shot.light.key) / 3
    return squared((0.90, 0.87, 0.81)) * (shade * bright) + column((0.02, 0.008, 0.007))


def paint_nostrils(canvas: Canvas, at: Surface, person: Person) -> None:
    """Paint the nostrils and the creases round the wings of the nose."""
    nose = person.nose
    window = at.window((0.0, nose.length), (nose.width * 1.7, 0.11))
    part = at.crop(window)
    s, v = np.abs(part.u), part.v
    x = (s - nose.width * 0.42) * (1 / (nose.width * 0.27))
    y = (v - nose.length + 0.004 + 0.10 * (s - nose.width * 0.4)) * (1 / 0.017)
    hole = ramp(np.sqrt(x * x + y * y), 1.2, 0.55)
    canvas.paint(hole * 0.82, squared(person.skin) * column((0.10, 0.05, 0.045)), window)
    x = (s - nose.width * 0.66) * (1 / (nose.width * 0.42))
    y = (v - nose.length + 0.025) * (1 / 0.052)
    ring = np.sqrt(x * x + y * y) - 1.0
    outer = ramp(x, -0.1, 0.7) * ramp(y, -1.1, -0.2)
    canvas.darken(bell(ring * ring * 26.0) * outer * 0.36, window)
