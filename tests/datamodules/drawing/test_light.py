from dataclasses import replace

import numpy as np
import pytest

from datamodules.drawing.light import column, diffuse, facing, highlight, rim, squared
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import unit

ACROSS = np.linspace(-1, 1, 9, dtype=np.float32).reshape(1, 9)
NORMAL = unit(ACROSS, np.zeros_like(ACROSS), np.full_like(ACROSS, 0.5))


def test_colours_become_columns_and_displays_are_square_laws() -> None:
    assert column((0.1, 0.2, 0.3)).shape == (3, 1, 1)
    assert squared((0.1, 0.2, 0.3)).ravel() == pytest.approx([0.01, 0.04, 0.09])


def test_what_faces_the_light_is_brightest(shot: Photograph) -> None:
    light = replace(shot.light, direction=(0.6, 0.0, 0.8))
    value = diffuse(NORMAL, light, np.ones_like(ACROSS))
    assert np.array_equal(value[1].argmax(-1), facing(NORMAL, light).argmax(-1))
    assert value[1, 0, 0] < value[1, 0, -1]


def test_a_hollow_is_darker_but_not_black(shot: Photograph) -> None:
    opened = diffuse(NORMAL, shot.light, np.ones_like(ACROSS))
    hollow = diffuse(NORMAL, shot.light, np.full_like(ACROSS, 0.2))
    assert np.all(hollow <= opened)
    assert hollow.max() > 0


def test_a_sharper_highlight_is_smaller(shot: Photograph) -> None:
    light = replace(shot.light, direction=(0.0, 0.0, 1.0))
    assert highlight(NORMAL, light, 5).sum() < highlight(NORMAL, light, 2).sum()


def test_light_from_behind_falls_on_the_side_that_the_key_light_leaves_dark(
    shot: Photograph,
) -> None:
    light = replace(shot.light, direction=(0.6, 0.0, 0.8), rim=1.0)
    edge = rim(NORMAL, light)[0]
    assert edge[0] > 0
    assert edge[-1] == 0
