"""The face's skin under the light: colour zones, pores, sheen, hollows, moles."""

import numpy as np

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.geometry import Surface, nose_cover
from datamodules.drawing.light import SKIN_WRAP, column, diffuse, highlight, rim, squared
from datamodules.drawing.parts import Part
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Light, Photograph
from datamodules.drawing.shapes import Grain, Plane, blob, cover, ramp

PORES = 70.0  # lattice cells in half a picture


def hollows(at: Surface, person: Person, light: Light) -> Plane:
    """1 in the open, less where light from around does not reach, and in the nose's shadow."""
    u, v, s = at.u, at.v, np.abs(at.u)
    eyes, nose = person.eyes, person.nose
    dark = 0.30 * blob(s, v, (eyes.apart - 0.11, -0.02), (0.06, 0.07))
    dark += 0.16 * blob(s, v, (eyes.apart, -0.05), (0.13, 0.045))
    dark += 0.24 * blob(u, v, (0, nose.length + 0.035), (nose.width * 0.9, 0.028))
    dark += 0.15 * blob(s, v, (nose.width + 0.02, nose.length), (0.025, 0.05))
    dark += 0.22 * blob(u, v, (0, person.head.chin - 0.215), (0.13, 0.025))
    side = 1.0 if light.direction[0] < 0 else -1.0
    cast = abs(light.direction[0]) * 0.42
    place = (side * (nose.width * 0.8 + 0.02), nose.length - 0.03)
    dark += cast * blob(u, v, place, (0.055, 0.09))
    dark += 0.35 * ramp(at.radius, 0.86, 1.0)
    return 1.0 - np.minimum(dark, 0.75)


def colour_zones(at: Surface, person: Person, grain: Grain) -> Plane:
    """(3, h, w) linear colour of the skin before any light falls on it."""
    u, v, s = at.u, at.v, np.abs(at.u)
    nose = person.nose
    red = blob(s, v, (0.32, 0.17), (0.15, 0.12)) + 0.8 * blob(
        u, v, (0, nose.length - 0.04), (0.09, 0.07)
    )
    red += 0.35 * blob(u, v, (0, person.head.chin - 0.1), (0.12, 0.08))
    red *= person.ruddy * (0.05 + 0.09 * person.tone)
    red += 0.02 * grain(u * 7.0 + 9.0, v * 7.0)
    pale = 0.05 * blob(u, v, (0, -0.38), (0.35, 0.16))
    fine = 0.020 * grain(u * 22.0, v * 22.0 + 5.0)
    share = np.stack([1.0 + 0.35 * red + fine, 1.0 - 1.15 * red + fine + pale, 1.0 - red + fine])
    return share * squared(person.skin)


def pores(at: Surface, person: Person, grain: Grain) -> Plane:
    """The skin's micro-texture about 0, weaker where pixels are too large to show it."""
    u, v = at.u, at.v
    cells = np.abs(grain(u * PORES, v * PORES))
    finer = grain(u * (PORES * 2.1) + 3.0, v * (PORES * 2.1))
    seen = min(1.0, 0.6 / (at.pixel * PORES)) * (0.8 + 0.006 * person.age)
    zone = 0.55 + 0.6 * blob(np.abs(u), v, (0.16, 0.16), (0.22, 0.2))
    return (cells - 0.5 + 0.7 * finer) * zone * (0.075 * seen)


def paint_skin(canvas: Canvas, at: Surface, person: Person, shot: Photograph, grain: Grain) -> None:
    """Paint the bare face, with its moles, wherever the head is."""
    light = shot.light
    rough = pores(at, person, grain)
    shade = hollows(at, person, light)
    colour = colour_zones(at, person, grain) * diffuse(at.normal, light, shade, SKIN_WRAP)
    colour *= 1.0 + rough
    sheen = 0.55 * highlight(at.normal, light, 5) + 0.16 * highlight(at.normal, light, 3)
    zone = 0.45 + 0.55 * blob(np.abs(at.u), at.v, (0.0, -0.1), (0.3, 0.35))
    sheen *= zone * shade * (1.0 + 6.0 * rough) * (0.16 - 0.05 * person.tone)
    colour += sheen * column(light.key) + rim(at.normal, light) * column(light.sky)
    _moles(colour, at, person)
    canvas.paint(at.inside, colour)
    canvas.bare += at.inside * (1.0 - canvas.bare)
    canvas.name(at.inside, Part.SKIN)
    canvas.name(nose_cover(at, person) * at.inside, Part.NOSE)


def _moles(colour: Plane, at: Surface, person: Person) -> None:
    for u, v, radius in person.moles:
        window = at.window((u, v), (2.5 * radius, 2.5 * radius))
        part = at.crop(window)
        away = np.sqrt((part.u - u) * (part.u - u) + (part.v - v) * (part.v - v))
        alpha = 0.75 * cover(away - radius, max(at.pixel, radius * 0.7))
        colour[:, window[0], window[1]] *= 1.0 - alpha * column((0.62, 0.74, 0.80))
