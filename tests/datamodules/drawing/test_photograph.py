import math

import pytest

from datamodules.drawing.identity import draw_person
from datamodules.drawing.photograph import draw_photograph

SHOTS = [draw_photograph(0, number, 0) for number in range(400)]


def test_the_person_stays_while_the_photograph_changes() -> None:
    assert draw_person(0, 0) == draw_person(0, 0)
    for part in ("pose", "expression", "light", "backdrop", "camera", "skin"):
        assert getattr(SHOTS[0], part) != getattr(SHOTS[1], part)


def test_the_same_numbers_are_the_same_photograph() -> None:
    assert draw_photograph(4, 2, 1) == draw_photograph(4, 2, 1)


@pytest.mark.parametrize("turn", ["yaw", "pitch", "roll"])
def test_poses_vary_within_twenty_degrees(turn: str) -> None:
    angles = [math.degrees(getattr(shot.pose, turn)) for shot in SHOTS]
    assert max(map(abs, angles)) <= 20
    assert min(angles) < -8
    assert max(angles) > 8


def test_light_comes_from_a_unit_direction_in_front_and_above() -> None:
    for shot in SHOTS:
        x, y, z = shot.light.direction
        assert x * x + y * y + z * z == pytest.approx(1)
        assert y < 0 < z


def test_some_smile_and_some_do_not() -> None:
    smiles = [shot.expression.smile for shot in SHOTS]
    assert min(smiles) < -0.2
    assert max(smiles) > 0.9


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        draw_photograph(0, -1, 0)
