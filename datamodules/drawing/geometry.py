"""From pixels to places on a head: outline, depth, normals and the frontal coordinates u, v."""

from dataclasses import dataclass

import numpy as np

from datamodules.drawing.person import Head, Person
from datamodules.drawing.photograph import Expression, Photograph, Pose
from datamodules.drawing.shapes import Plane, bell, blob, cosine, cover, ramp, sine, unit

MIDDLE = -0.06  # where the head is widest and deepest
CROWN = 0.80
DEPTH = 0.50


@dataclass(frozen=True)
class Surface:
    """Every pixel's place on the head, as planes (h, w) over one window of the picture.

    Attributes:
        pixel: the side of a pixel.
        x: to the right in the head's own upright frame.
        y: downwards in that frame.
        u: place in the frontal view, to the right.
        v: place in the frontal view, downwards.
        radius: 0 in the middle of the head, 1 on its outline.
        inside: share of the pixel that the head covers.
        normal: (3, h, w), right, down, towards the camera.
    """

    pixel: float
    x: Plane
    y: Plane
    u: Plane
    v: Plane
    radius: Plane
    inside: Plane
    normal: Plane

    def crop(self, window: tuple[slice, slice]) -> "Surface":
        """The same over a smaller window."""
        r, c = window
        return Surface(
            self.pixel,
            self.x[r, c],
            self.y[r, c],
            self.u[r, c],
            self.v[r, c],
            self.radius[r, c],
            self.inside[r, c],
            self.normal[:, r, c],
        )

    def window(
        self, centre: tuple[float, float], reach: tuple[float, float]
    ) -> tuple[slice, slice]:
        """The smallest window that holds the box `centre` +- `reach` of the frontal view."""
        held = np.abs(self.u - centre[0]) < reach[0]
        held &= np.abs(self.v - centre[1]) < reach[1]
        rows, cols = np.flatnonzero(held.any(1)), np.flatnonzero(held.any(0))
        if rows.size == 0:
            return slice(0, 1), slice(0, 1)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def grid(side: int) -> tuple[Plane, Plane]:
    """The centres of the pixels (across, down), from -1 to 1 over the picture."""
    line = ((np.arange(side, dtype=np.float32) * 2 + 1) * np.float32(1 / side)) - 1
    across = np.broadcast_to(line[None, :], (side, side))
    return across, np.broadcast_to(line[:, None], (side, side))


def upright(side: int, pose: Pose) -> tuple[Plane, Plane]:
    """The head's own upright frame: shift, scale and roll of the pose undone."""
    across, down = grid(side)
    # The face turns about the ears, so a turned face is carried sideways; we carry it back.
    across = across - (pose.right - 0.55 * DEPTH * sine(pose.yaw))
    down = down - (pose.down - 0.03 + 0.5 * DEPTH * sine(pose.pitch))
    c, s = cosine(pose.roll) / pose.scale, sine(pose.roll) / pose.scale
    return across * c + down * s, down * c - across * s


def outline(x: Plane, y: Plane, head: Head, grown: float | Plane = 0.0) -> Plane:
    """0 in the middle of the head, 1 on its outline grown outwards by `grown`, and beyond."""
    down = y - MIDDLE
    below = down > 0
    chin = head.chin - MIDDLE + grown * 0.4
    width = head.width * (1 - head.taper * ramp(down, 0.0, head.chin - MIDDLE)) + grown
    width += head.cheek * bell((down - 0.16) * (down - 0.16) * 40.0)
    a = (x - head.lean * down) / width
    b = down * np.where(below, 1 / chin, 1 / (CROWN + grown)).astype(np.float32)
    a *= a
    b *= b
    round_ = np.sqrt(a + b)
    square = np.sqrt(np.sqrt(a * a + b * b))
    return round_ + np.where(below, np.float32(head.jaw), np.float32(0.3)) * (square - round_)


def nose_ridge(u: Plane, v: Plane, person: Person) -> Plane:
    """The height of the nose above the face."""
    nose = person.nose
    rise = np.clip((v + 0.17) * (1.0 / (nose.length + 0.12)), 0.0, 1.0)
    height = nose.bridge + (nose.tip - nose.bridge) * rise * rise
    height *= ramp(v, -0.26, -0.06) * ramp(v, nose.length + 0.015, nose.length - 0.06)
    wide = 0.055 + 0.022 * rise
    ridge = height * bell(u * u / (wide * wide))
    tip = blob(u, v, (0, nose.length - 0.05), (0.062 + 0.02 * nose.bulb, 0.055))
    return ridge + (0.025 + 0.02 * nose.bulb) * tip


def nose_cover(at: Surface, person: Person) -> Plane:
    """The share of each pixel that is nose: from between the eyes down to the wings and the tip."""
    nose = person.nose
    down = (at.v + 0.10) * (1 / (nose.length + 0.10))
    half = 0.055 + (1.1 * nose.width - 0.055) * ramp(down, 0.35, 0.95)
    edge = np.maximum(np.abs(at.u) - half, np.maximum(-0.10 - at.v, at.v - nose.length - 0.015))
    return cover(edge, at.pixel)


def relief(u: Plane, v: Plane, person: Person, expression: Expression) -> Plane:
    """The height of nose, sockets, cheeks, lips and chin above the smooth head."""
    s = np.abs(u)
    eyes, nose, head = person.eyes, person.nose, person.head
    smile = max(0.0, expression.smile)
    old = max(0.0, person.age - 30) / 50
    height = nose_ridge(u, v, person)
    wing = (nose.width * 0.72, nose.length - 0.02)
    height += 0.046 * blob(s, v, wing, (nose.width * 0.40, 0.040))
    height -= 0.055 * blob(s, v, (eyes.apart - 0.05, -0.01), (0.15, 0.085))
    height += 0.022 * blob(s, v, (eyes.apart, 0.0), (0.10, 0.055))
    ridge = 0.010 + 0.020 * head.brow_ridge
    height += ridge * blob(s, v, (0.2, -0.17), (0.17, 0.055))
    height += (0.8 * ridge + 0.012) * blob(u, v, (0, -0.15), (0.075, 0.09))
    height += (0.035 + 0.02 * smile) * blob(s, v, (0.33, 0.17 - 0.02 * smile), (0.13, 0.12))
    height -= (0.012 + 0.02 * old) * blob(s, v, (0.36, 0.42), (0.09, 0.13))
    height += 0.03 * blob(u, v, (0, 0.42), (0.22, 0.16))
    height += 0.045 * blob(u, v, (0, head.chin - 0.12), (0.13, 0.075))
    height -= 0.020 * blob(u, v, (0, head.chin - 0.22), (0.12, 0.03))
    height -= 0.006 * blob(u, v, (0, nose.length + 0.07), (0.018, 0.05))
    fold = s - (nose.width + 0.03 + 0.36 * (v - nose.length + 0.03))
    crease = ramp(v, nose.length - 0.06, nose.length + 0.02) * ramp(v, 0.47, 0.36)
    height -= (0.004 + 0.008 * old + 0.010 * smile) * bell(fold * fold * 1100.0) * crease
    return height + _lips(u, v, person, expression)


def mouth_line(expression: Expression, person: Person, a: Plane) -> Plane:
    """How far down the line between the lips runs; `a` is 0 in the middle, 1 in the corner."""
    lift = 0.045 * expression.smile
    return person.nose.length + 0.195 - lift * (a * a - 0.35) + 0.004 * dip(a)


def dip(a: Plane) -> Plane:
    """The soft dip in the middle of the upper lip's edge."""
    return bell(a * a * 12.0)


def mouth_width(person: Person, expression: Expression) -> float:
    """The half width of the mouth; a smile widens it."""
    return person.mouth.width * (1 + 0.16 * max(0.0, expression.smile))


def _lips(u: Plane, v: Plane, person: Person, expression: Expression) -> Plane:
    width = mouth_width(person, expression)
    a = u * (1 / width)
    body = np.maximum(1 - a * a, 0.0)
    down = v - mouth_line(expression, person, a)
    mouth = person.mouth
    gap = 0.05 * max(0.0, expression.open)
    upper = (down + mouth.upper * 0.55 + gap * 0.3) * (1 / (mouth.upper * 0.75))
    lower = (down - mouth.lower * 0.55 - gap) * (1 / (mouth.lower * 0.65))
    line = down * (1 / 0.010)
    return body * (
        0.016 * bell(upper * upper) + 0.024 * bell(lower * lower) - 0.010 * bell(line * line)
    )


def normals(height: Plane, pixel: float) -> Plane:
    """(3, h, w) unit normals of a height field: right, down, towards the camera."""
    right, down = np.zeros_like(height), np.zeros_like(height)
    scale = -0.5 / pixel
    right[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * scale
    down[1:-1, :] = (height[2:, :] - height[:-2, :]) * scale
    return unit(right, down, np.ones_like(height))


def head_surface(side: int, person: Person, shot: Photograph) -> Surface:
    """The head of `person` as `shot` sees it, on a picture of `side` pixels."""
    pose = shot.pose
    x, y = upright(side, pose)
    pixel = 2.0 / side / pose.scale
    radius = outline(x, y, person.head)
    base = DEPTH * np.sqrt(np.maximum(1.0 - radius * radius * np.sqrt(radius), 0.0))
    u, v = _turned(x, y, base, pose)
    u, v = _turned(x, y, base + nose_ridge(u, v, person), pose)
    height = base + relief(u, v, person, shot.expression)
    reach = 0.5 * (person.head.width + person.head.chin)
    inside = cover((radius - 1.0) * reach, pixel)
    return Surface(pixel, x, y, u, v, radius, inside, normals(height, pixel))


def _turned(x: Plane, y: Plane, z: Plane, pose: Pose) -> tuple[Plane, Plane]:
    c, s = cosine(pose.yaw), sine(pose.yaw)
    u, depth = x * c - z * s, x * s + z * c
    # The middle of the face stays level when the head nods: only what stands out of it moves.
    return u, y * cosine(pose.pitch) - (depth - 0.35 * DEPTH) * sine(pose.pitch)
