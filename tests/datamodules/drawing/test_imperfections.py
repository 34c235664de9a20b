from dataclasses import replace

import numpy as np
import pytest

from datamodules.drawing.canvas import Canvas
from datamodules.drawing.geometry import Surface
from datamodules.drawing.imperfections import Preview, choose_marks, drawn_marks, factor
from datamodules.drawing.marks import Freckles, Line, Mark
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph, draw_photograph
from datamodules.drawing.shapes import Grain


@pytest.fixture
def preview(painted: Canvas, surface: Surface) -> Preview:
    return Preview(painted, surface)


def lines(marks: list[Mark]) -> int:
    return sum(isinstance(mark, Line) for mark in marks)


def test_a_factor_lowers_the_displayed_colour_by_what_is_asked() -> None:
    change = factor((0.8, 0.6, 0.5), (0.1, 0.2, 0.0), 1.0)
    assert 0.8 - 0.8 * change[0] ** 0.5 == pytest.approx(0.1)
    assert 0.6 - 0.6 * change[1] ** 0.5 == pytest.approx(0.2)
    assert change[2] == 1


def test_the_same_photograph_has_the_same_marks(
    person: Person, shot: Photograph, preview: Preview
) -> None:
    assert choose_marks(person, shot, preview) == choose_marks(person, shot, preview)


def test_old_people_have_more_wrinkles(person: Person, shot: Photograph, preview: Preview) -> None:
    young = choose_marks(replace(person, age=20.0), shot, preview)
    old = choose_marks(replace(person, age=78.0), shot, preview)
    assert lines(old) > lines(young) + 4


def test_freckles_stay_from_photograph_to_photograph(person: Person, preview: Preview) -> None:
    freckled = replace(person, freckled=0.9)
    for number in range(3):
        marks = choose_marks(freckled, draw_photograph(34, number, 0), preview)
        assert any(isinstance(mark, Freckles) for mark in marks)


def test_no_marks_change_nothing(surface: Surface, grain: Grain) -> None:
    opacity, change = drawn_marks([], surface, grain)
    assert opacity.max() == 0
    assert np.all(change == 1)


def test_marks_lie_on_bare_skin(person: Person, shot: Photograph, preview: Preview) -> None:
    for mark in choose_marks(person, shot, preview):
        assert preview.look(*mark.box[0])[0] > 0.5


def test_a_place_off_the_head_is_not_bare(preview: Preview) -> None:
    assert preview.look(3.0, 3.0)[0] == 0
