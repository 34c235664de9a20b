from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.stream import (
    Purpose,
    SliceSampler,
    StepSampler,
    permutation,
    rank_slice,
    sample_generator,
)

SHAPES = {
    "size": st.integers(1, 40),
    "batch_size": st.integers(1, 7),
    "world": st.integers(1, 4),
    "seed": st.integers(0, 2**40),
}


def keys(size, batch_size, *, seed=0, rank=0, world=1, first_batch=0, batches=10):
    sampler = StepSampler(
        size, batch_size, seed=seed, rank=rank, world=world, first_batch=first_batch
    )
    return list(islice(sampler, batches))


@settings(max_examples=60, deadline=None)
@given(**SHAPES)
def test_the_union_of_ranks_is_the_stream_of_one_process_with_the_same_global_batch(
    size, batch_size, world, seed
):
    alone = keys(size, batch_size * world, seed=seed)
    ranks = [keys(size, batch_size, seed=seed, rank=r, world=world) for r in range(world)]
    assert alone == [[*chain(*parts)] for parts in zip(*ranks, strict=True)]


@settings(max_examples=60, deadline=None)
@given(**SHAPES, first=st.integers(0, 60))
def test_starting_at_a_batch_equals_dropping_those_before_it(size, batch_size, world, seed, first):
    whole = keys(size, batch_size, seed=seed, rank=world - 1, world=world, batches=first + 5)
    later = keys(
        size, batch_size, seed=seed, rank=world - 1, world=world, first_batch=first, batches=5
    )
    assert later == whole[first:]


@settings(max_examples=60, deadline=None)
@given(**SHAPES)
def test_each_index_comes_exactly_once_an_epoch_whatever_the_batch(size, batch_size, world, seed):
    epochs = 3
    batches = -(-epochs * size // (batch_size * world))
    ranks = [
        keys(size, batch_size, seed=seed, rank=r, world=world, batches=batches)
        for r in range(world)
    ]
    seen = [key for parts in ranks for batch in parts for key in batch if key[0] < epochs]
    assert sorted(seen) == [(e, i) for e in range(epochs) for i in range(size)]


def test_the_order_changes_with_the_epoch_and_with_the_seed():
    orders = [permutation(100, seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_million_samples_start_at_any_step():
    batch = keys(10**6, 4, first_batch=10**9 // 4 - 1, batches=2)
    assert [epoch for epoch, _ in chain(*batch)] == [999] * 4 + [1000] * 4
    assert np.array_equal(np.sort(permutation(10**6, 0, 1000)), np.arange(10**6))


def test_a_kept_order_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        permutation(4, 0, 0)[0] = 1


def test_a_sampler_has_no_length():
    with pytest.raises(TypeError):
        len(StepSampler(4, 2, seed=0, rank=0, world=1))


def test_a_sample_draws_the_same_numbers_again_and_others_for_any_other_sample():
    first = sample_generator(3, 1, 2).random(4)
    assert np.array_equal(first, sample_generator(3, 1, 2).random(4))
    others = [
        sample_generator(*where).random(4) for where in ((3, 2, 1), (3, 1, 3), (2, 1, 2), (3, 0, 2))
    ] + [sample_generator(3, 1, 2, Purpose.ORDER).random(4)]
    assert not any(np.any(first == other) for other in others)


def test_the_random_numbers_are_those_of_every_machine():
    assert permutation(8, 0, 0).tolist() == [5, 6, 4, 0, 7, 3, 2, 1]
    assert sample_generator(0, 0, 0).integers(2**32, size=3).tolist() == [
        3572107922,
        3891669605,
        4120175612,
    ]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(("size", "world"), [(0, 1), (1, 3), (7, 3), (8, 2), (10, 1)])
def test_evaluation_gives_each_index_exactly_once_over_all_ranks(size, world, batch_size):
    samplers = [SliceSampler(size, batch_size, rank=r, world=world) for r in range(world)]
    seen = [key for sampler in samplers for batch in sampler for key in batch]
    assert sorted(seen) == [(0, i) for i in range(size)]
    assert [len(s) for s in samplers] == [len(list(s)) for s in samplers]
    shares = [len(s.indices) for s in samplers]
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"batch_size": 0},
        {"first_batch": -1},
        {"rank": 2, "world": 2},
        {"rank": -1},
    ],
)
def test_a_stream_that_cannot_be_is_refused(wrong):
    good = {"size": 4, "batch_size": 2, "seed": 0, "rank": 0, "world": 1, "first_batch": 0}
    StepSampler(**good)
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        StepSampler(**(good | wrong))


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="got -1, 0, 0"):
        sample_generator(-1, 0, 0)
    with pytest.raises(ValueError, match="size must be 0 or more, got -2"):
        rank_slice(-2, 0, 1)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        SliceSampler(4, 0, rank=0, world=1)
    with pytest.raises(ValueError, match="rank 3 of world 2"):
        rank_slice(4, 3, 2)
