import pytest
import torch

from ops.losses.zero_reference import (
    colour_loss,
    contrast_loss,
    exposure_loss,
    smoothness_loss,
)


def test_contrast_is_the_equation_pair_by_pair() -> None:
    output, image = torch.rand(2, 1, 1, 3, 2, dtype=torch.float64)
    y, i, total = output[0, 0], image[0, 0], 0.0
    for row in range(3):
        for column in range(2):
            for r, c in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= r < 3 and 0 <= c < 2:
                    change = abs(y[row, column] - y[r, c]) - abs(i[row, column] - i[r, c])
                    total += float(change) ** 2
    assert float(contrast_loss(output, image, region=1)) == pytest.approx(total / 6)


def test_a_brighter_picture_of_equal_contrast_costs_nothing() -> None:
    image = torch.rand(1, 3, 8, 8) / 2
    assert float(contrast_loss(image + 0.4, image)) == pytest.approx(0, abs=1e-12)


def test_exposure_is_the_distance_of_the_regions_grey() -> None:
    assert float(exposure_loss(torch.full((1, 3, 32, 16), 0.25))) == pytest.approx(0.35)


def test_grey_pictures_have_no_cast_and_others_the_sum_of_the_three_pairs() -> None:
    assert float(colour_loss(torch.full((2, 3, 4, 4), 0.3))) == 0
    red = torch.tensor([0.5, 0.2, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert float(colour_loss(red)) == pytest.approx(0.3**2 + 0.1**2 + 0.4**2)


def test_smoothness_does_not_depend_on_the_size() -> None:
    def slope(size: int) -> torch.Tensor:
        return (0.1 * torch.arange(size)).expand(1, 6, size, size)

    assert float(smoothness_loss(slope(4))) == pytest.approx(3 * 0.1**2, rel=1e-5)
    assert float(smoothness_loss(slope(16))) == pytest.approx(3 * 0.1**2, rel=1e-5)


def test_a_picture_below_a_region_is_refused() -> None:
    with pytest.raises(ValueError, match="8x9 pixels are less than a region of 16"):
        exposure_loss(torch.rand(1, 3, 8, 9))
