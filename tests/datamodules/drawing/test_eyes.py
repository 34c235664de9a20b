from dataclasses import replace

import numpy as np

from datamodules.drawing.canvas import Canvas, empty
from datamodules.drawing.eyes import Lids, paint_brows, paint_eyes
from datamodules.drawing.geometry import Surface
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain


def plain() -> Canvas:
    canvas = empty(96)
    canvas.colour += 0.3
    canvas.bare += 1
    return canvas


def test_an_eye_closes_as_the_lids_come_together(
    surface: Surface, person: Person, shot: Photograph
) -> None:
    def opened(factor: float) -> float:
        expression = replace(shot.expression, eyes=factor)
        return float(Lids(surface, person, replace(shot, expression=expression), 1).open.sum())

    assert 0 < opened(0.3) < opened(0.7) < opened(1.1)


def test_eyes_hold_dark_pupils_and_bright_whites_and_hide_the_skin(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    canvas = plain()
    paint_eyes(canvas, surface, person, shot, grain)
    for side in (-1, 1):
        near = np.hypot(surface.u - side * person.eyes.apart, surface.v) < person.eyes.width
        assert canvas.colour[:, near].min() < 0.03
        assert canvas.colour[:, near].max() > 0.35
        assert canvas.bare[near].min() < 0.05
    far = np.abs(surface.v) > 0.4
    assert np.all(canvas.bare[far] == 1)


def test_raised_brows_are_higher(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    def height(raised: float) -> float:
        canvas = plain()
        expression = replace(shot.expression, brows=raised)
        paint_brows(canvas, surface, person, replace(shot, expression=expression), grain)
        hair = 1 - canvas.bare
        return float((hair * surface.v).sum() / hair.sum())

    assert height(0.04) < height(0.0) - 0.02
