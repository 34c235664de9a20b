import numpy as np

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.geometry import Surface
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.portrait import paint_portrait


def test_a_portrait_is_finite_light_with_bare_skin_inside_the_head(
    painted: Canvas, surface: Surface
) -> None:
    assert painted.colour.dtype == np.float32
    assert np.isfinite(painted.colour).all()
    assert painted.colour.min() >= 0
    assert painted.bare.min() >= 0
    assert painted.bare.max() <= 1
    assert np.all(painted.bare[surface.inside == 0] == 0)
    assert 0.12 < painted.bare.mean() < 0.5


def test_a_larger_portrait_is_the_same_picture(person: Person, shot: Photograph) -> None:
    small, large = paint_portrait(64, person, shot)[0], paint_portrait(256, person, shot)[0]
    averaged = large.colour.reshape(3, 64, 4, 64, 4).mean((2, 4))
    assert np.abs(averaged - small.colour).mean() < 0.02
