"""What is behind and below the face: background, neck, clothes, ears."""

import numpy as np

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.dice import Dice
from datamodules.drawing.geometry import DEPTH, Surface, grid
from datamodules.drawing.light import SKIN_WRAP, column, diffuse, squared
from datamodules.drawing.parts import Part
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain, Plane, bell, blob, cosine, cover, ramp, sine, unit

NECK_ROLL = 0.4


def paint_background(canvas: Canvas, shot: Photograph) -> None:
    """Paint a background that is out of focus."""
    back = shot.backdrop
    dice = Dice(back.texture)
    x, y = grid(canvas.bare.shape[0])
    grain = Grain(dice)
    near, far = column(back.near), column(back.far)
    slope = (dice.uniform(-0.5, 0.5), dice.uniform(0.2, 0.7))
    share = np.clip(0.5 + slope[0] * x + slope[1] * y, 0.0, 1.0)
    soft = 0.1 if back.kind == "studio" else 0.42
    share = np.clip(
        share + soft * grain(x * 2.3, y * 2.3) + 0.4 * soft * grain(x * 5.0, y * 5.0), 0, 1
    )
    canvas.colour += far + share * (near - far)
    if back.kind in ("street", "room"):
        _panels(canvas, x, y, dice)
    if back.kind in ("street", "garden"):
        _lights(canvas, x, y, dice)


def _panels(canvas: Canvas, x: Plane, y: Plane, dice: Dice) -> None:
    for _ in range(4):
        centre, half = dice.uniform(-1, 1), dice.uniform(0.08, 0.35)
        low, soft = dice.uniform(-0.6, 0.9), dice.uniform(0.05, 0.14)
        alpha = ramp(np.abs(x - centre), half + soft, half - soft) * ramp(y, low + soft, low - soft)
        value = dice.uniform(0.03, 0.6)
        tone = (value * dice.uniform(0.8, 1.2), value, value * dice.uniform(0.7, 1.1))
        canvas.tint(alpha * dice.uniform(0.35, 0.8), column(tone))


def _lights(canvas: Canvas, x: Plane, y: Plane, dice: Dice) -> None:
    for _ in range(9):
        place = (dice.uniform(-1, 1), dice.uniform(-1, 0.6))
        radius, edge = dice.uniform(0.05, 0.15), 0.03
        dx, dy = x - place[0], y - place[1]
        disc = ramp(np.sqrt(dx * dx + dy * dy), radius + edge, radius - edge)
        glow = column((dice.uniform(0.5, 1), dice.uniform(0.5, 1), dice.uniform(0.3, 0.9)))
        canvas.tint(disc * dice.uniform(0.1, 0.4), glow)


class Body:
    """The upright frame of neck and shoulders, which follow the head only in part."""

    def __init__(self, side: int, person: Person, shot: Photograph) -> None:
        pose = shot.pose
        x, y = grid(side)
        c, s = cosine(NECK_ROLL * pose.roll), sine(NECK_ROLL * pose.roll)
        x, y = x - pose.right, y - pose.down
        self.x, self.y = x * c + y * s + 0.20 * DEPTH * sine(pose.yaw), y * c - x * s
        self.pixel = 2.0 / side
        self.chin = person.head.chin - 0.03
        self.neck = 0.58 * person.head.width + 0.045 * person.masculine


def paint_neck(canvas: Canvas, body: Body, person: Person, shot: Photograph) -> None:
    """Paint the neck with the shadow of the chin."""
    x, y = body.x, body.y
    flare = 0.30 * ramp(y, body.chin + 0.02, 1.15)
    across = np.abs(x) / (body.neck + flare)
    nx = np.clip(x / (body.neck + flare), -1.0, 1.0)
    normal = unit(nx * 0.9, np.full_like(nx, 0.12), np.sqrt(np.maximum(1.02 - nx * nx, 0.05)))
    shade = 1.0 - 0.72 * ramp(y, body.chin + 0.26, body.chin - 0.02)
    tendon = np.abs(x) - (0.10 + 0.16 * (1.0 - (y - body.chin) * 1.6))
    shade -= 0.12 * bell(tendon * tendon * 500.0) * ramp(y, body.chin, body.chin + 0.15)
    colour = (
        squared(person.skin)
        * column((0.98, 0.93, 0.9))
        * diffuse(normal, shot.light, shade, SKIN_WRAP)
    )
    alpha = cover((across - 1.0) * body.neck, body.pixel) * ramp(y, 0.2, 0.3)
    canvas.paint(alpha, colour * (1.0 - 0.45 * (1 - shade)))
    canvas.name(alpha, Part.NECK)


def paint_clothes(canvas: Canvas, body: Body, shot: Photograph, grain: Grain) -> None:
    """Paint the shoulders and the collar."""
    x, y = body.x, body.y
    s = np.abs(x)
    shoulder = body.chin + 0.13 + 0.24 * np.maximum(s - body.neck, 0.0) * (1.0 + 0.6 * s)
    collar = _collar(s, body, shot.backdrop.collar)
    edge = np.maximum(shoulder - y, collar - y)
    folds = 0.20 * grain(x * 4.0 + y * 2.0, y * 3.0) + 0.10 * grain(x * 11.0, y * 5.0 + x * 6.0)
    weave = 0.05 * grain(x * 60.0, y * 60.0) * min(1.0, 0.012 / body.pixel)
    side = shot.light.direction[0] * x
    bright = (0.55 + 0.25 * side + folds + weave) * (0.6 + 0.4 * ramp(y - shoulder, 0.0, 0.1))
    bright *= 1.0 + 0.12 * bell(np.square((y - collar - 0.02) * 45.0))
    colour = column(shot.backdrop.clothes) * np.maximum(bright, 0.05)
    colour *= column(shot.light.key)
    shadow = ramp(collar - y, 0.05, 0.0) * ramp(s - body.neck, 0.06, -0.02)
    canvas.darken(shadow * 0.35 * ramp(y, body.chin, body.chin + 0.1))
    canvas.paint(cover(edge, body.pixel), colour)
    canvas.name(cover(edge, body.pixel), Part.CLOTHES)


def _collar(s: Plane, body: Body, kind: str) -> Plane:
    chin, neck = body.chin, body.neck
    if kind == "high":
        return chin + 0.13 + 0.04 * (1 - s * s / (neck * neck))
    if kind == "v":
        return chin + 0.12 + np.maximum(0.42 - 1.25 * s, 0.0)
    if kind == "shirt":
        return chin + 0.09 + np.maximum(0.26 - 0.95 * s, 0.0)
    return chin + 0.10 + 0.20 * np.maximum(1 - s * s / (neck * neck * 1.1), 0.0)


def paint_ears(canvas: Canvas, at: Surface, person: Person, shot: Photograph) -> None:
    """Paint both ears; the head covers the part that lies behind it."""
    pose, head = shot.pose, person.head
    for side in (-1, 1):
        # Ears sit behind the widest part of the head: the far one hides as the head turns.
        place = side * (head.width + 0.015) - 0.10 * sine(pose.yaw)
        x, y = (at.x - place) * side, at.y - 0.02
        x = x - 0.22 * (-y) * 0.5
        wide, high = 0.075, 0.165 + 0.0006 * person.age
        x, y = x / wide, y / (high * (1 - 0.15 * ramp(y, 0.0, 0.2)))
        away = np.sqrt(x * x + y * y)
        alpha = cover((away - 1.0) * wide, at.pixel)
        bend = ramp(away, 0.3, 0.75) - 0.8 * ramp(away, 0.82, 1.05)
        normal = unit(side * (0.55 - 0.5 * bend) * x, y * 0.3, np.full_like(x, 0.75))
        shade = 0.45 + 0.5 * bend - 0.45 * blob(x, y, (-0.25, 0.1), (0.32, 0.4))
        tint = column((1.06, 0.88, 0.84))
        colour = (
            squared(person.skin)
            * tint
            * diffuse(normal, shot.light, np.maximum(shade, 0.1), SKIN_WRAP)
        )
        canvas.paint(alpha, colour)
        canvas.name(alpha, Part.LEFT_EAR if side < 0 else Part.RIGHT_EAR)
