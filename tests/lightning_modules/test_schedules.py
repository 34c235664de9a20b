from itertools import pairwise

import pytest

from lightning_modules.schedules import cosine, polynomial


@pytest.mark.parametrize("schedule", [cosine, polynomial])
def test_a_schedule_falls_steadily_from_one_to_zero(schedule):
    factors = [schedule(k / 100) for k in range(101)]
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in pairwise(factors))


def test_half_way_the_schedules_are_at_a_half_and_at_its_power():
    assert cosine(0.5) == pytest.approx(0.5)
    assert polynomial(0.5) == pytest.approx(0.5358867, abs=1e-6)
