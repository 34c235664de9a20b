"""The whole picture, layer by layer, from the background to the hair."""

from datamodules.drawing.canvas import Canvas, empty
from datamodules.drawing.dice import Dice
from datamodules.drawing.eyes import paint_brows, paint_eyes
from datamodules.drawing.geometry import Surface, head_surface
from datamodules.drawing.hair import paint_back_hair, paint_beard, paint_hair, strands
from datamodules.drawing.mouth import paint_mouth, paint_nostrils
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain
from datamodules.drawing.skin import paint_skin
from datamodules.drawing.surroundings import (
    Body,
    paint_background,
    paint_clothes,
    paint_ears,
    paint_neck,
)


def paint_portrait(side: int, person: Person, shot: Photograph) -> tuple[Canvas, Surface]:
    """The clean picture in linear light, `side` pixels wide, and the head's surface."""
    canvas, at = empty(side), head_surface(side, person, shot)
    grain = Grain(Dice(person.texture))
    flow = strands(at, person.hair, grain)
    body = Body(side, person, shot)
    paint_background(canvas, shot)
    paint_back_hair(canvas, at, person, shot, flow)
    paint_neck(canvas, body, person, shot)
    paint_clothes(canvas, body, shot, grain)
    paint_ears(canvas, at, person, shot)
    paint_skin(canvas, at, person, shot, grain)
    paint_nostrils(canvas, at, person)
    paint_mouth(canvas, at, person, shot, grain)
    paint_eyes(canvas, at, person, shot, grain)
    paint_beard(canvas, at, person, shot, grain)
    paint_brows(canvas, at, person, shot, grain)
    paint_hair(canvas, at, person, shot, flow)
    return canvas, at
