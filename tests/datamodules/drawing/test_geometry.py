from dataclasses import replace

import numpy as np
import pytest

from datamodules.drawing.geometry import Surface, grid, head_surface, normals, nose_cover, outline
from datamodules.drawing.person import Person
from datamodules.drawing.photograph import Photograph, Pose

STRAIGHT = Pose(yaw=0.0, pitch=0.0, roll=0.0, scale=1.0, right=0.0, down=0.0)


def posed(shot: Photograph, **angles: float) -> Photograph:
    return replace(shot, pose=replace(STRAIGHT, **angles))


def place(surface: Surface, u: float, v: float) -> tuple[float, float]:
    away = np.abs(surface.u - u) + np.abs(surface.v - v)
    row, col = np.unravel_index(away.argmin(), away.shape)
    return float(row), float(col)


def test_the_grid_holds_the_centres_of_the_pixels() -> None:
    x, y = grid(4)
    assert x[0] == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert np.array_equal(y, x.T)


def test_a_straight_head_is_seen_from_the_front(person: Person, shot: Photograph) -> None:
    surface = head_surface(64, person, posed(shot))
    assert surface.u == pytest.approx(surface.x)
    assert surface.v == pytest.approx(surface.y, abs=1e-5)


def test_a_turned_head_moves_nearer_parts_further(person: Person, shot: Photograph) -> None:
    left, right = (head_surface(96, person, posed(shot, yaw=yaw)) for yaw in (-0.3, 0.3))
    nose = place(right, 0.0, 0.15)[1] - place(left, 0.0, 0.15)[1]
    ear = place(right, 0.45, 0.0)[1] - place(left, 0.45, 0.0)[1]
    assert nose > ear + 5


def test_a_rolled_head_has_slanting_eyes(person: Person, shot: Photograph) -> None:
    surface = head_surface(96, person, posed(shot, roll=0.3))
    assert abs(place(surface, 0.25, 0.0)[0] - place(surface, -0.25, 0.0)[0]) > 5


def test_a_face_fills_well_over_half_of_the_height(person: Person, shot: Photograph) -> None:
    rows = head_surface(100, person, posed(shot)).inside.max(1) > 0.5
    assert 60 <= rows.sum() <= 90


def test_an_outline_grown_outwards_is_larger(person: Person) -> None:
    x, y = grid(64)
    assert (outline(x, y, person.head, 0.1) < 1).sum() > (outline(x, y, person.head) < 1).sum()


def test_normals_have_length_one_and_lean_away_from_a_slope() -> None:
    x, _ = grid(16)
    out = normals(x * 1.0, 2 / 16)
    assert (out**2).sum(0) == pytest.approx(np.ones((16, 16)), abs=1e-5)
    assert out[0, 5, 5] == pytest.approx(-(0.5**0.5), abs=1e-5)


def test_a_window_holds_its_box_and_little_more(surface: Surface) -> None:
    window = surface.window((0.2, 0.1), (0.1, 0.1))
    part = surface.crop(window)
    assert part.u.shape == part.radius.shape == part.normal.shape[1:]
    assert part.u.size < 0.1 * surface.u.size
    held = (np.abs(surface.u - 0.2) < 0.1) & (np.abs(surface.v - 0.1) < 0.1)
    assert ((np.abs(part.u - 0.2) < 0.1) & (np.abs(part.v - 0.1) < 0.1)).sum() == held.sum()


def test_a_box_outside_the_picture_gives_one_pixel(surface: Surface) -> None:
    assert surface.crop(surface.window((9.0, 9.0), (0.1, 0.1))).u.shape == (1, 1)


def test_the_nose_covers_its_ridge_down_to_the_tip_and_widens_to_the_wings(
    person: Person, shot: Photograph
) -> None:
    surface = head_surface(192, person, posed(shot))
    nose = nose_cover(surface, person) >= 0.5
    length = person.nose.length
    assert all(nose[tuple(map(int, place(surface, 0.0, v)))] for v in (0.0, length - 0.02))
    assert not any(nose[tuple(map(int, place(surface, 0.0, v)))] for v in (-0.2, length + 0.05))
    widths = nose.sum(1)[nose.any(1)]
    assert widths[-8:].max() > 1.3 * widths[:8].max()
