"""What the camera does to the light: lens, white balance, tone curve, noise, quantisation."""

import numpy as np
from numpy.typing import NDArray

from datamodules.drawing.dice import Dice
from datamodules.drawing.geometry import grid
from datamodules.drawing.light import column
from datamodules.drawing.photograph import Camera
from datamodules.drawing.shapes import Plane


def display(linear: Plane) -> Plane:
    """Display values in [0, 1] of linear light: a square root with a soft shoulder."""
    over = np.maximum(linear - 0.55, 0.0)
    return np.sqrt(np.clip(linear - over * over * (0.45 / (over + 0.45)), 0.0, 1.0))


def expose(linear: Plane, camera: Camera) -> Plane:
    """Linear light (3, h, w) as the sensor sees it: vignette, white balance, exposure."""
    x, y = grid(linear.shape[-1])
    fall = 1.0 - camera.vignette * 0.5 * (x * x + y * y)
    return linear * fall * column(camera.gains)


def sensor_noise(side: int, camera: Camera) -> Plane:
    """(3, h, w) noise of the sensor, part of it common to the three channels."""
    dice = Dice(camera.texture)
    common = dice.normal(side, side)
    return (0.8 * common + 0.6 * dice.normal(3, side, side)) * np.float32(camera.noise)


def quantised(values: Plane) -> NDArray[np.uint8]:
    """(h, w, 3) bytes of display values (3, h, w)."""
    levels = np.floor(np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))
