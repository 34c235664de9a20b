"""How light falls on a surface: soft diffuse light, a highlight, and light from all around."""

import math

import numpy as np

from datamodules.drawing.photograph import Light
from datamodules.drawing.shapes import Plane

# Red light travels further under the skin, so the border of the shadow is red.
SKIN_WRAP = (0.42, 0.26, 0.20)
PLAIN_WRAP = (0.2, 0.2, 0.2)


def column(colour: tuple[float, float, float]) -> Plane:
    """A colour as (3, 1, 1), ready to be multiplied with planes."""
    return np.array(colour, np.float32).reshape(3, 1, 1)


def squared(colour: tuple[float, float, float]) -> Plane:
    """A display colour as linear light (3, 1, 1): displays are taken to square their input."""
    line = column(colour)
    return line * line


def facing(normal: Plane, light: Light) -> Plane:
    """The cosine between the normal and the key light."""
    d = light.direction
    return normal[0] * d[0] + normal[1] * d[1] + normal[2] * d[2]


def diffuse(
    normal: Plane, light: Light, shade: Plane, wrap: tuple[float, float, float] = PLAIN_WRAP
) -> Plane:
    """(3, h, w) light that a matt surface sends back; `shade` is 1 in the open, 0 in a hollow."""
    lit = facing(normal, light)
    soft = column(wrap)
    key = np.maximum(lit + soft, 0.0) * (1.0 / (1.0 + soft))
    key *= column(light.key) * (0.35 + 0.65 * shade)
    up = 0.5 - 0.5 * normal[1]
    ground = column(light.ground)
    return key + (ground + up * (column(light.sky) - ground)) * shade


def highlight(normal: Plane, light: Light, sharpness: int) -> Plane:
    """The mirror-like part of the key light; `sharpness` times the power doubles."""
    x, y, z = light.direction
    size = math.sqrt(x * x + y * y + (z + 1) * (z + 1))
    value = (normal[0] * x + normal[1] * y + normal[2] * (z + 1.0)) * (1.0 / size)
    value = np.maximum(value, 0.0)
    for _ in range(sharpness):
        value *= value
    return value


def rim(normal: Plane, light: Light) -> Plane:
    """Light from behind, on the edge that turns away from the key light."""
    side = -1.0 if light.direction[0] > 0 else 1.0
    edge = 1.0 - normal[2]
    return light.rim * edge * edge * np.maximum(normal[0] * side, 0.0)
