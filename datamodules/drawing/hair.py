"""Hair of the head and of the face, made of strands that flow from the parting."""

from dataclasses import dataclass

import numpy as np

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.geometry import CROWN, MIDDLE, Surface, outline
from datamodules.drawing.light import column, diffuse, squared
from datamodules.drawing.parts import Part
from datamodules.drawing.person import Hair, Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain, Plane, bearing, bell, blob, cover, ramp, unit, wave


@dataclass(frozen=True)
class Strands:
    """Strand noise in [-1, 1], coarse locks and fine hairs, and the way along a strand."""

    locks: Plane
    hairs: Plane
    along: Plane


def strands(at: Surface, hair: Hair, grain: Grain) -> Strands:
    """The strands of a style at every pixel; curls break them up."""
    x, y = at.x - hair.part, at.y + CROWN + 0.32 + hair.volume
    along = np.sqrt(x * x + y * y)
    across = bearing(x, y) + 0.03 * grain(at.x * 3.0 + 5.0, at.y * 3.0)
    loose = max(0.0, hair.curl - 0.2)
    across = across + 0.10 * loose * wave(
        along * (1.0 + 1.5 * hair.curl) + 0.4 * grain(x * 2.0, y * 2.0)
    )
    if 0.0 < hair.density < 1.0:
        # Cropped hair shows its tips: dots instead of strands.
        dots = grain(at.u * 62.0 + at.v * 38.0, at.v * 62.0 - at.u * 38.0)
        return Strands(0.3 * grain(at.u * 6.0, at.v * 6.0), dots, along)
    locks = grain(across * 19.0, along * 1.3)
    hairs = grain(across * 62.0 + 11.0, along * 2.2)
    if hair.curl > 0.7:
        size = 15.0
        ball = grain(at.x * size, at.y * size + 3.0)
        twist = grain(at.x * size * 2.2 + 2.0 * ball, at.y * size * 2.2)
        return Strands(0.75 * ball + 0.2 * locks, twist, along)
    return Strands(locks, hairs, along)


def _shaded(at: Surface, person: Person, shot: Photograph, flow: Strands, deep: float) -> Plane:
    hair = person.hair
    nx = at.x * (1 / (person.head.width + hair.volume))
    ny = (at.y - MIDDLE) * 1.0
    normal = unit(nx * 0.9, np.minimum(ny * 0.9, 0.2), np.full_like(nx, 0.55))
    light = diffuse(normal, shot.light, np.full_like(nx, 0.85))
    value = np.maximum(0.72 + 0.42 * flow.locks + 0.32 * flow.hairs, 0.12)
    band = flow.along - 0.66 - 0.05 * flow.locks
    gloss = bell(band * band * 38.0) * (0.5 + 0.5 * flow.hairs) * (1.0 - 0.7 * (hair.curl > 0.7))
    base = squared(hair.colour)
    lit = base * light * value * deep
    return lit + gloss * deep * (0.035 + 0.25 * base) * column(shot.light.key)


def paint_back_hair(
    canvas: Canvas, at: Surface, person: Person, shot: Photograph, flow: Strands
) -> None:
    """Paint the hair behind the head and the neck, and a bun."""
    hair = person.hair
    if hair.density < 1.0:
        return
    rough = (0.012 + 0.035 * (hair.curl > 0.7)) * (flow.locks + 0.6 * flow.hairs)
    big = outline(at.x, at.y, person.head, _depth(at, hair)) - 1.0
    wide = person.head.width + hair.volume + 0.05 * ramp(at.y, 0.0, 0.9)
    edge = np.maximum(big * 0.55, at.y - hair.length) + rough
    if hair.length > 0.4:
        fall = np.maximum(np.abs(at.x) - wide, at.y - hair.length)
        edge = np.minimum(edge, np.maximum(fall, -0.1 - at.y) + rough)
    if hair.bun > 0:
        dx, dy = at.x, at.y + 0.86 + hair.bun * 0.45
        edge = np.minimum(edge, np.sqrt(dx * dx + dy * dy) - hair.bun + rough)
    alpha = cover(edge, max(at.pixel, 0.02))
    canvas.paint(alpha, _shaded(at, person, shot, flow, 0.5))
    canvas.name(alpha, Part.HAIR)


def _opening(at: Surface, hair: Hair, head_width: float, flow: Strands) -> Plane:
    """Below 1 where the face shows, above 1 where hair may lie."""
    u, v = at.u, at.v
    top = hair.hairline + hair.fringe + 0.02 * flow.locks * (1 + 3 * (hair.fringe > 0))
    middle = 0.12
    long = hair.length > 0.4
    half = head_width * (0.86 if long else 0.90 + 0.13 * ramp(v, -0.25, 0.06))
    a = u * (1 / half)
    b = (v - middle) / np.where(v < middle, middle - top, np.float32(3.0 if long else 1.6))
    a, b = a * a, b * b
    round_ = np.sqrt(a + b)
    square = np.sqrt(np.sqrt(a * a + b * b))
    corner = 0.75 if hair.fringe > 0 else 0.45
    return round_ + corner * (square - round_)


def _depth(at: Surface, hair: Hair) -> Plane:
    """How far the hair stands off the head; short hair lies close above the ears."""
    if hair.length > 0.4:
        return np.full_like(at.y, hair.volume)
    return hair.volume * ramp(at.y, -0.02, -0.42)


def paint_hair(
    canvas: Canvas, at: Surface, person: Person, shot: Photograph, flow: Strands
) -> None:
    """Paint the hair in front of the head, with the shadow it throws on the face."""
    hair = person.hair
    if hair.density <= 0.0:
        return
    rough = 0.012 * (flow.locks + 0.8 * flow.hairs)
    if hair.curl > 0.7:
        rough = rough + hair.volume * 0.16 * (flow.locks + 0.5 * flow.hairs)
    big = (outline(at.x, at.y, person.head, _depth(at, hair)) - 1.0) * 0.6 + rough
    opening = _opening(at, hair, person.head.width, flow) - 1.0
    edge = np.maximum(big, -opening * 0.45 + rough)
    low = min(hair.length, 1.5)
    edge = np.maximum(edge, at.y - low + 2.0 * rough)
    soft = max(at.pixel, 0.018 if hair.density == 1.0 else 0.06)
    alpha = cover(edge, soft)
    canvas.name(alpha, Part.HAIR)
    if hair.density == 1.0:
        shadow = ramp(edge, 0.075, 0.0) * ramp(at.y, low + 0.1, low - 0.1)
        canvas.darken(shadow * 0.38 * at.inside)
    else:
        alpha = alpha * (hair.density + 0.22 * flow.hairs)
    canvas.paint(np.clip(alpha, 0.0, 1.0), _shaded(at, person, shot, flow, 1.0))


def paint_beard(
    canvas: Canvas, at: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    """Paint stubble, moustache and beard."""
    beard = person.beard
    if beard.density <= 0.0:
        return
    u, v, s = at.u, at.v, np.abs(at.u)
    nose = person.nose.length
    mouth = nose + 0.195
    top = 0.36 - beard.cheeks - 0.9 * np.maximum(s - 0.28, 0.0) + 0.12 * ramp(s, 0.22, 0.0)
    region = ramp(v - top, 0.0, 0.12)
    lip = blob(u, v, (0.0, nose + 0.09), (0.17, 0.045))
    lip = np.minimum(lip * 1.8, 1.0) * ramp(v, nose + 0.025, nose + 0.05)
    region = np.maximum(region, lip)
    bare = blob(s, v, (0.11, mouth), (0.075, 0.030))
    bare += blob(s, v, (0.0, mouth + 0.01), (0.10, 0.036))
    region *= 1.0 - np.minimum(1.3 * bare, 1.0) * ramp(v, mouth - 0.035, mouth - 0.01)
    side = np.clip(u * 12.0, -1.0, 1.0)
    hairs = grain(u * 150.0 + 22.0 * v * side, v * 34.0)
    dots = grain(u * 92.0 + v * 58.0, v * 92.0 - u * 58.0)
    amount = np.maximum(region * beard.density, beard.moustache * lip)
    full = beard.density > 0.8
    texture = 0.97 + 0.28 * hairs if full else 0.8 + 0.55 * dots
    alpha = np.clip(amount * texture, 0.0, 1.0) * at.inside
    light = diffuse(at.normal, shot.light, np.full_like(u, 0.8))
    colour = squared(person.hair.colour) * light * (0.85 + 0.5 * hairs)
    canvas.paint(alpha, colour)
