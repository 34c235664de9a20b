import pytest

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.dice import Dice
from datamodules.drawing.geometry import Surface, head_surface
from datamodules.drawing.identity import draw_person
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph, draw_photograph
from datamodules.drawing.portrait import paint_portrait
from datamodules.drawing.shapes import Grain


@pytest.fixture
def person() -> Person:
    return draw_person(34, 0)


@pytest.fixture
def shot() -> Photograph:
    return draw_photograph(34, 0, 0)


@pytest.fixture
def surface(person: Person, shot: Photograph) -> Surface:
    return head_surface(96, person, shot)


@pytest.fixture
def painted(person: Person, shot: Photograph) -> Canvas:
    return paint_portrait(96, person, shot)[0]


@pytest.fixture
def grain() -> Grain:
    return Grain(Dice(1))
