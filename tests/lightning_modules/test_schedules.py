from itertools import pairwise

import pytest

from lightning_modules.schedules import Stairs, constant, cosine, held_then_linear, polynomial


@pytest.mark.parametrize("schedule", [cosine, polynomial])
def test_a_schedule_falls_steadily_from_one_to_zero(schedule):
    factors = [schedule(k / 100) for k in range(101)]
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in pairwise(factors))


def test_half_way_the_schedules_are_at_a_half_and_at_its_power():
    assert cosine(0.5) == pytest.approx(0.5)
    assert polynomial(0.5) == pytest.approx(0.5358867, abs=1e-6)


def test_the_rate_is_held_for_thirty_of_fifty_epochs_and_then_falls_along_a_line():
    factors = [held_then_linear(epoch / 50) for epoch in range(51)]
    assert factors[:31] == [1.0] * 31
    assert factors[30:] == pytest.approx([1 - k / 20 for k in range(21)])


def test_stairs_hold_their_factor_from_each_start_on() -> None:
    stairs = Stairs((0.25, 0.5), (0.5, 2.0))
    shares = (0, 0.2499, 0.25, 0.4999, 0.5, 1)
    assert [stairs(share) for share in shares] == [1, 1, 0.5, 0.5, 2, 2]
    assert Stairs((), ())(0.7) == 1


@pytest.mark.parametrize("starts", [(0.5,), (0.5, 0.25)])
def test_stairs_that_do_not_ascend_or_lack_a_factor_are_refused(starts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="an ascending start and a factor, got"):
        Stairs(starts, (0.5, 0.1))


def test_a_constant_rate_is_one_all_along():
    assert [constant(share) for share in (0, 0.5, 1)] == [1, 1, 1]
