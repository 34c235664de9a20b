from dataclasses import replace

import numpy as np
import pytest

from datamodules.drawing.canvas import empty
from datamodules.drawing.geometry import Surface
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain
from datamodules.drawing.surroundings import (
    Body,
    paint_background,
    paint_clothes,
    paint_ears,
    paint_neck,
)


@pytest.mark.parametrize("kind", ["studio", "garden", "street", "room"])
def test_a_background_is_out_of_focus(shot: Photograph, kind: str) -> None:
    canvas = empty(96)
    paint_background(canvas, replace(shot, backdrop=replace(shot.backdrop, kind=kind)))
    assert canvas.colour.std() > 0.001
    assert np.abs(np.diff(canvas.colour, axis=-1)).max() < 0.3


def test_the_neck_stands_below_the_head(person: Person, shot: Photograph) -> None:
    canvas = empty(96)
    paint_neck(canvas, Body(96, person, shot), person, shot)
    lit = canvas.colour.sum(0) > 0
    assert lit[-1].any()
    assert not lit[:50].any()


@pytest.mark.parametrize("collar", ["round", "v", "shirt", "high"])
def test_clothes_reach_both_lower_corners(
    person: Person, shot: Photograph, grain: Grain, collar: str
) -> None:
    canvas = empty(96)
    dressed = replace(shot, backdrop=replace(shot.backdrop, collar=collar, clothes=(0.5, 0.5, 0.5)))
    body = Body(96, person, replace(dressed, pose=replace(shot.pose, roll=0.0, down=-0.1)))
    paint_clothes(canvas, body, dressed, grain)
    assert canvas.colour[0, -1, 2] > 0
    assert canvas.colour[0, -1, -3] > 0
    assert canvas.colour[:, :60].max() == 0


def test_there_is_an_ear_on_either_side(surface: Surface, person: Person, shot: Photograph) -> None:
    canvas = empty(96)
    paint_ears(canvas, surface, person, shot)
    lit = canvas.colour.sum(0) > 0
    assert lit[surface.x < -0.3].any()
    assert lit[surface.x > 0.3].any()
    assert not lit[np.abs(surface.x) < 0.3].any()
