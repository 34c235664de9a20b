from dataclasses import replace

import numpy as np

from datamodules.drawing.canvas import Canvas, empty
from datamodules.drawing.geometry import Surface
from datamodules.drawing.hair import paint_back_hair, paint_beard, paint_hair, strands
from datamodules.drawing.person import Beard, Hair, Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain


def covered(
    surface: Surface, person: Person, shot: Photograph, grain: Grain, **changes: float
) -> np.ndarray:
    """How much hair of the changed style lies in front of the head."""
    changed = replace(person, hair=replace(style(person), **changes))
    canvas = plain()
    flow = strands(surface, changed.hair, grain)
    paint_hair(canvas, surface, changed, shot, flow)
    return 1 - canvas.bare


def style(person: Person) -> Hair:
    return replace(person.hair, density=1.0, volume=0.08, length=0.0, fringe=0.0, curl=0.1, bun=0.0)


def plain() -> Canvas:
    canvas = empty(96)
    canvas.bare += 1
    canvas.colour += 0.3
    return canvas


def test_a_bald_head_has_no_hair(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    assert covered(surface, person, shot, grain, density=0.0).max() == 0


def test_long_hair_falls_further_than_short_hair(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    def below(length: float) -> float:
        canvas = plain()
        changed = replace(person, hair=replace(style(person), length=length))
        flow = strands(surface, changed.hair, grain)
        paint_back_hair(canvas, surface, changed, shot, flow)
        return float((1 - canvas.bare)[surface.y > 0.5].sum())

    assert below(0.0) == 0
    assert below(1.2) > 100


def test_a_fringe_covers_the_forehead(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    brow = (np.abs(surface.u) < 0.15) & (np.abs(surface.v + 0.38) < 0.05)
    assert covered(surface, person, shot, grain)[brow].mean() < 0.1
    assert covered(surface, person, shot, grain, fringe=0.26)[brow].mean() > 0.8


def test_hair_leaves_eyes_and_mouth_free(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    middle = np.hypot(surface.u, surface.v - 0.2) < 0.3
    assert (
        covered(surface, person, shot, grain, length=1.2, curl=0.9, volume=0.25)[middle].max() == 0
    )


def test_strand_noise_is_bounded(surface: Surface, person: Person, grain: Grain) -> None:
    flow = strands(surface, style(person), grain)
    assert np.abs(flow.locks).max() <= 1
    assert np.abs(flow.hairs).max() <= 1


def test_a_beard_covers_the_chin_and_spares_cheeks_and_forehead(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    canvas = plain()
    bearded = replace(person, beard=Beard(density=0.95, moustache=0.0, cheeks=0.0))
    paint_beard(canvas, surface, bearded, shot, grain)
    chin = np.hypot(surface.u, surface.v - 0.62) < 0.08
    assert canvas.bare[chin].mean() < 0.4
    assert canvas.bare[surface.v < 0.0].min() == 1


def test_no_beard_leaves_the_picture_as_it_is(
    surface: Surface, person: Person, shot: Photograph, grain: Grain
) -> None:
    canvas = plain()
    smooth = replace(person, beard=Beard(density=0.0, moustache=0.0, cheeks=0.0))
    paint_beard(canvas, surface, smooth, shot, grain)
    assert canvas.bare.min() == 1
