import re

import pytest

from datamodules.degradations.ranges import check_range


def test_a_range_that_ascends_between_its_bounds_is_taken_and_so_is_a_single_value():
    check_range("sigma", (0.1, 10))
    check_range("sigma", (0, 0), 0, 1)
    check_range("sigma", (0, 1), 0, 1)


@pytest.mark.parametrize("values", [(2, 1), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 1)])
def test_another_range_is_refused_by_name(values: tuple[float, float]):
    with pytest.raises(ValueError, match=re.escape("noise must ascend and lie in [0, 1], got (")):
        check_range("noise", values, 0, 1)
