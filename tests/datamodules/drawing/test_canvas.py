import numpy as np
import pytest

from datamodules.drawing.canvas import empty
from datamodules.drawing.light import column
from datamodules.drawing.parts import Part

HALF = np.full((4, 4), 0.5, np.float32)


def test_paint_covers_picture_and_skin() -> None:
    canvas = empty(4)
    canvas.bare += 1
    canvas.paint(HALF, column((1, 1, 1)))
    assert canvas.colour == pytest.approx(np.full((3, 4, 4), 0.5))
    assert canvas.bare == pytest.approx(HALF)


def test_a_tint_leaves_the_skin_bare() -> None:
    canvas = empty(4)
    canvas.bare += 1
    canvas.tint(HALF, column((1, 0, 0)))
    assert canvas.bare.min() == 1
    assert canvas.colour[0] == pytest.approx(HALF)


def test_a_window_keeps_the_rest_as_it_is() -> None:
    canvas = empty(4)
    canvas.paint(HALF[:2, :2], column((1, 1, 1)), (slice(1, 3), slice(1, 3)))
    assert canvas.colour.sum() == pytest.approx(3 * 4 * 0.5)
    canvas.darken(np.ones((2, 2), np.float32), (slice(1, 3), slice(1, 3)))
    assert canvas.colour.sum() == 0


def test_a_part_is_named_where_it_covers_half_a_pixel_and_the_last_one_counts() -> None:
    canvas = empty(4)
    assert (canvas.parts == Part.BACKGROUND).all()
    canvas.name(np.full((4, 4), 0.5, np.float32), Part.SKIN)
    canvas.name(np.full((4, 4), 0.49, np.float32), Part.HAIR)
    canvas.name(np.ones((2, 2), np.float32), Part.NOSE, (slice(1, 3), slice(0, 2)))
    assert (canvas.parts[1:3, :2] == Part.NOSE).all()
    assert (canvas.parts == Part.SKIN).sum() == 12
