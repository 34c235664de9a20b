import pytest
import torch

from ops.metrics.mean import Mean


def test_every_image_counts_alike_whatever_its_batch():
    mean = Mean()
    mean.update(torch.full((3,), 40.0))
    mean.update(torch.tensor([44.0]))
    assert mean.compute() == 41.0


def test_an_image_that_is_no_number_shows_in_the_mean():
    mean = Mean()
    mean.update(torch.tensor([1.0, float("nan")]))
    assert mean.compute().isnan()


def test_no_image_has_no_mean():
    mean = Mean()
    mean.update(torch.zeros(0))
    assert mean.compute().isnan()


def test_sums_are_finer_than_float32():
    mean = Mean()
    mean.update(torch.tensor([2.0**24]))
    for _ in range(7):
        mean.update(torch.tensor([1.0]))
    assert float(mean.compute()) == pytest.approx((2.0**24 + 7) / 8, abs=1e-9)


def figures_of(rank):
    return torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0])[(slice(0, 2), slice(2, 5))[rank]]


def mean_of_a_rank(rank):
    mean = Mean()
    mean.update(figures_of(rank))
    return mean.compute()


def test_two_processes_with_uneven_shares_give_what_one_gives(two_processes):
    assert two_processes(mean_of_a_rank) == [1.55, 1.55]
