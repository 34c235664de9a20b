import numpy as np
import pytest

from datamodules.drawing.geometry import Surface
from datamodules.drawing.marks import Freckles, Line, Mark, Shadow, Spot
from datamodules.drawing.shapes import Grain

DARK = (0.6, 0.5, 0.5)
MARKS: list[Mark] = [
    Spot((0.2, 0.2), 0.04, 0.09, DARK, faint=0.4, ragged=0.3, glint=0.3),
    Line((0.1, -0.3), 0.2, 0.3, (1.0, 0.0), 0.012, DARK, lip=0.15),
    Line((-0.2, 0.3), 0.1, -0.5, (0.0, 1.0), 0.012, DARK, lip=0.05),
    Shadow((-0.25, 0.1), (0.11, 0.04), -1, DARK),
    Freckles((0.0, 0.12), (0.46, 0.25), 0.8, DARK),
]


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_a_mark_changes_nothing_where_its_opacity_is_zero(
    mark: Mark, surface: Surface, grain: Grain
) -> None:
    alpha, factor = mark.drawn(surface, grain)
    assert alpha.min() >= 0
    assert 0.3 < alpha.max() <= 1
    assert np.all(factor[:, alpha == 0] == 1)
    assert factor.min() < 0.85


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_a_mark_lies_in_its_box(mark: Mark, surface: Surface, grain: Grain) -> None:
    alpha, _ = mark.drawn(surface, grain)
    (u, v), (wide, high) = mark.box
    outside = (np.abs(surface.u - u) > wide) | (np.abs(surface.v - v) > high)
    assert alpha[outside & (surface.inside > 0.5)].max() < 0.02


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_the_area_of_a_mark_is_about_what_it_changes(
    mark: Mark, surface: Surface, grain: Grain
) -> None:
    alpha, _ = mark.drawn(surface, grain)
    measured = float((alpha > 0.15).sum()) * surface.pixel**2
    assert 0.4 * measured < mark.area < 2.5 * measured


def test_a_raised_spot_glints(surface: Surface, grain: Grain) -> None:
    flat = Spot((0.2, 0.2), 0.06, 0.08, DARK, faint=0.1, ragged=0.0, glint=0.0)
    raised = Spot((0.2, 0.2), 0.06, 0.08, DARK, faint=0.1, ragged=0.0, glint=0.5)
    assert raised.drawn(surface, grain)[1].max() > flat.drawn(surface, grain)[1].max() - 0.5
    assert (raised.drawn(surface, grain)[1] - flat.drawn(surface, grain)[1]).max() > 0.2
