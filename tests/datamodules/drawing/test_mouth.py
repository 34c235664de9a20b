from dataclasses import replace

import numpy as np

from datamodules.drawing.canvas import Canvas, empty
from datamodules.drawing.geometry import Surface, mouth_line
from datamodules.drawing.mouth import paint_mouth, paint_nostrils
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain


def painted(
    surface: Surface, person: Person, shot: Photograph, grain: Grain, ajar: float
) -> Canvas:
    canvas = empty(96)
    canvas.colour += 0.3
    canvas.bare += 1
    paint_mouth(
        canvas,
        surface,
        person,
        replace(shot, expression=replace(shot.expression, open=ajar)),
        grain,
    )
    return canvas


def test_a_smile_lifts_the_corners(person: Person, shot: Photograph) -> None:
    a = np.array([0.0, 1.0], np.float32)
    smile = mouth_line(replace(shot.expression, smile=1.0), person, a)
    frown = mouth_line(replace(shot.expression, smile=-0.4), person, a)
    assert smile[1] < smile[0]
    assert frown[1] > frown[0]


def test_lips_are_redder_than_the_skin_they_hide(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    canvas = painted(surface, person, shot, grain, 0.0)
    lips = canvas.bare < 0.3
    assert 20 < lips.sum() < 400
    assert canvas.colour[0, lips].mean() > 1.2 * canvas.colour[1, lips].mean()


def test_an_open_mouth_shows_something_else_than_lips(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    shut = painted(surface, person, shot, grain, 0.0)
    opened = painted(surface, person, shot, grain, 0.9)
    assert (opened.bare < 0.02).sum() > (shut.bare < 0.02).sum() + 10


def test_nostrils_are_dark_and_below_the_nose(surface: Surface, person: Person) -> None:
    canvas = empty(96)
    canvas.colour += 0.3
    canvas.bare += 1
    paint_nostrils(canvas, surface, person)
    holes = canvas.bare < 0.6
    assert holes.any()
    assert np.abs(surface.v[holes] - person.nose.length).max() < 0.04
    assert canvas.colour[:, holes].mean() < 0.2
