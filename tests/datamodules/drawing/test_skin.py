from dataclasses import replace

import numpy as np

from datamodules.drawing.canvas import empty
from datamodules.drawing.geometry import Surface, head_surface
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain
from datamodules.drawing.skin import colour_zones, hollows, paint_skin, pores


def test_cheeks_are_redder_than_the_forehead(
    surface: Surface, person: Person, grain: Grain
) -> None:
    colour = colour_zones(surface, replace(person, ruddy=1.0), grain)
    redness = colour[0] / colour[1]
    cheek = (np.abs(surface.u - 0.32) < 0.05) & (np.abs(surface.v - 0.17) < 0.05)
    forehead = (np.abs(surface.u) < 0.1) & (np.abs(surface.v + 0.38) < 0.05)
    assert redness[cheek].mean() > 1.05 * redness[forehead].mean()


def test_hollows_keep_a_part_of_the_light(
    surface: Surface, person: Person, shot: Photograph
) -> None:
    shade = hollows(surface, person, shot.light)
    assert 0.25 <= shade.min() < shade.max() <= 1


def test_pores_fade_where_pixels_are_too_large(
    person: Person, shot: Photograph, grain: Grain
) -> None:
    fine, coarse = (pores(head_surface(side, person, shot), person, grain) for side in (256, 32))
    assert fine.std() > 1.5 * coarse.std()
    assert fine.std() > 0.01


def test_a_mole_darkens_its_place_only(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    plain, spotted = empty(96), empty(96)
    paint_skin(plain, surface, replace(person, moles=()), shot, grain)
    paint_skin(spotted, surface, replace(person, moles=((0.2, 0.3, 0.04),)), shot, grain)
    changed = (plain.colour != spotted.colour).any(0)
    away = np.hypot(surface.u - 0.2, surface.v - 0.3)
    assert changed.any()
    assert away[changed].max() < 0.08
    assert np.all(spotted.colour <= plain.colour)
