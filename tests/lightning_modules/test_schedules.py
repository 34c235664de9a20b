from itertools import pairwise

import pytest

from lightning_modules.schedules import cosine, held_then_linear, polynomial


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
