"""One drawn face whose blemishes are known: a portrait made of arithmetic alone.

No photograph and no network is behind it. The raw picture is the clean one with imperfections
under the same light, pores and noise, so the two are equal to the last bit wherever the mask is 0.
The bytes are the same on every machine.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from datamodules.drawing.camera import display, expose, quantised, sensor_noise
from datamodules.drawing.identity import draw_person
from datamodules.drawing.imperfections import Preview, choose_marks, drawn_marks, marks_grain
from datamodules.drawing.photograph import Camera, draw_photograph
from datamodules.drawing.portrait import paint_portrait
from datamodules.drawing.shapes import averaged, blurred

SMALLEST, LARGEST = 32, 512
FINEST = 96  # smaller pictures are drawn at least this large and averaged down
PREVIEW = 64
FAINTEST = np.float32(1 / 255)  # a weaker opacity could not change a byte


@dataclass(frozen=True)
class DrawnFace:
    """A face with imperfections, the same face without, and the opacity of the imperfections."""

    raw: UInt8[ndarray, "h w 3"]
    clean: UInt8[ndarray, "h w 3"]
    mask: Float[ndarray, "h w"]


def draw_face(identity: int, photograph: int, size: int, seed: int = 0) -> DrawnFace:
    """One photograph of one drawn person, `size` pixels square.

    Args:
        identity: number of the person; the same number and seed are the same person.
        photograph: number of the photograph: pose, expression, light, background, camera.
        size: side of the square picture in pixels, 32 to 512.
        seed: of the world of people.

    Raises:
        ValueError: if `size` is not in 32 to 512, or a number is negative.
    """
    _check(identity, photograph, size, seed)
    person = draw_person(identity, seed)
    shot = draw_photograph(identity, photograph, seed)
    marks = choose_marks(person, shot, Preview(*paint_portrait(PREVIEW, person, shot)))
    factor = -(-FINEST // size)
    canvas, at = paint_portrait(size * factor, person, shot)
    opacity, change = drawn_marks(marks, at, marks_grain(person))
    opacity *= canvas.bare
    marked = canvas.colour + canvas.bare * canvas.colour * (change - 1.0)
    light = np.concatenate([canvas.colour, marked, opacity[None]])
    light = averaged(light, factor)
    return _developed(light, shot.camera)


def draw_parts(
    identity: int, photograph: int, size: int, seed: int = 0
) -> UInt8[ndarray, "size size"]:
    """What each pixel of the face that `draw_face` draws shows, a number of `Part`.

    Args:
        identity: as in `draw_face`.
        photograph: likewise.
        size: likewise.
        seed: likewise.

    Raises:
        ValueError: where `draw_face` would.
    """
    _check(identity, photograph, size, seed)
    person, shot = draw_person(identity, seed), draw_photograph(identity, photograph, seed)
    factor = -(-FINEST // size)
    canvas, _ = paint_portrait(size * factor, person, shot)
    return canvas.parts[factor // 2 :: factor, factor // 2 :: factor]


def _check(identity: int, photograph: int, size: int, seed: int) -> None:
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be in [{SMALLEST}, {LARGEST}], got {size}")
    if min(identity, photograph, seed) < 0:
        raise ValueError(
            "identity, photograph and seed must not be negative, "
            f"got {identity}, {photograph} and {seed}"
        )


def _developed(light: Float[ndarray, "7 h w"], camera: Camera) -> DrawnFace:
    light = blurred(light, camera.blur)
    noise = sensor_noise(light.shape[-1], camera)
    clean = quantised(display(expose(light[:3], camera)) + noise)
    marked = quantised(display(expose(light[3:6], camera)) + noise)
    mask = np.clip(light[6], 0.0, 1.0)
    mask = np.where(mask < FAINTEST, np.float32(0.0), mask)
    return DrawnFace(np.where(mask[:, :, None] > 0, marked, clean), clean, mask)
