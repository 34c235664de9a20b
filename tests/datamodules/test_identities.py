from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.identities import PeopleSampler, check_disjoint, several, shared_out

PEOPLE = np.repeat(np.arange(6), [4, 2, 7, 4, 5, 4])[np.random.default_rng(0).permutation(26)]


def batches(people=PEOPLE, count=3, photographs=2, rank=0, world=1, first_batch=0, seed=0, steps=8):
    sampler = PeopleSampler(
        people, count, photographs, seed=seed, rank=rank, world=world, first_batch=first_batch
    )
    return list(islice(sampler, steps))


def test_a_batch_holds_k_photographs_of_each_of_p_people_in_a_row():
    for batch in batches(photographs=4, people=np.where(PEOPLE == 1, 0, PEOPLE)):
        people = np.where(PEOPLE == 1, 0, PEOPLE)[[index for _, index in batch]].reshape(3, 4)
        assert (people == people[:, :1]).all()
        assert len(set(people[:, 0])) == 3
        assert len(set(batch)) == 12


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=9),
    count=st.integers(1, 4),
    photographs=st.integers(1, 6),
    world=st.integers(1, 3),
    seed=st.integers(0, 2**40),
    first=st.integers(0, 20),
)
def test_ranks_and_a_resume_give_the_stream_of_one_process(
    sizes, count, photographs, world, seed, first
):
    people = np.repeat(np.arange(len(sizes)), sizes)
    rules = {"people": people, "photographs": photographs, "seed": seed, "count": count}
    alone = list(chain(*batches(**rules, steps=world * (first + 3))))
    ranks = [
        batches(**rules, rank=r, world=world, first_batch=first, steps=3) for r in range(world)
    ]
    later = [key for parts in zip(*ranks, strict=True) for part in parts for key in part]
    assert later == alone[len(alone) - len(later) :]


def test_nobody_comes_twice_before_everybody_came_where_batches_divide_the_people():
    for first in range(0, 8, 2):
        people = [PEOPLE[index] for batch in batches()[first : first + 2] for _, index in batch]
        assert sorted(people) == sorted([*range(6)] * 2)


@settings(max_examples=40, deadline=None)
@given(people=st.integers(1, 9), count=st.integers(1, 9), seed=st.integers(0, 2**40))
def test_no_batch_holds_a_person_twice_whatever_the_number_of_people(people, count, seed):
    count = min(people, count)
    for batch in batches(np.arange(people), count, 1, seed=seed, steps=20):
        assert len({index for _, index in batch}) == count


def test_everybody_comes_about_equally_often_where_batches_do_not_divide_the_people():
    drawn = [index for batch in batches(np.arange(7), 3, 1, steps=2000) for _, index in batch]
    counts = np.bincount(drawn, minlength=7)
    assert len(drawn) == 6000
    assert abs(counts - 6000 / 7).max() < 5 * np.sqrt(1000 * 6 / 7 / 7)


def test_a_person_with_few_photographs_repeats_them_only_after_all():
    people = np.array([0, 0, 0, 1])
    for batch in batches(people, 2, 5):
        for person in (0, 1):
            some = [index for _, index in batch if people[index] == person]
            counts = np.bincount(some, minlength=4)[people == person]
            assert len(some) == 5
            assert counts.max() - counts.min() <= 1


def test_the_photographs_of_the_first_person_do_not_follow_the_order_of_the_people():
    people = np.concatenate([np.zeros(8, int), np.arange(1, 8)])
    (batch,) = batches(people, 8, 8, steps=1)
    order = list(dict.fromkeys(people[index] for _, index in batch))
    chosen = [index for _, index in batch if people[index] == 0]
    assert sorted(order) == sorted(chosen) == list(range(8))
    assert order != chosen


def test_photographs_of_a_person_change_from_round_to_round():
    rounds = [
        {index for _, index in chain(*some) if PEOPLE[index] == 2}
        for some in zip(*[iter(batches(steps=12))] * 2, strict=True)
    ]
    assert len({frozenset(some) for some in rounds}) > 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"count": 7}, "a batch of 7 people needs as many, got 6"),
        ({"count": 0}, "got 0, 2, 0 and 0 of 1"),
        ({"photographs": 0}, "got 3, 0, 0 and 0 of 1"),
        ({"first_batch": -1}, "got 3, 2, -1 and 0 of 1"),
        ({"rank": 2, "world": 2}, "2 of 2"),
    ],
)
def test_batches_of_people_that_cannot_be_are_refused(changed, told):
    with pytest.raises(ValueError, match=told):
        batches(**changed)


def test_people_in_one_split_each_pass_and_a_person_in_two_is_named():
    check_disjoint({"train": ["a", "b", "b"], "val": ["c"], "test": []})
    told = "2 people are both in train and in test, the first is b"
    with pytest.raises(ValueError, match=told):
        check_disjoint({"train": ["a", "c", "b"], "val": ["d"], "test": ["b", "b", "c"]})


@settings(max_examples=60, deadline=None)
@given(
    people=st.integers(1, 30),
    val=st.floats(0, 0.24),
    test=st.floats(0, 0.24),
    seed=st.integers(0, 9),
)
def test_every_photograph_is_in_one_split_and_with_all_others_of_its_person(
    people, val, test, seed
):
    names = [f"p{i}" for i in np.random.default_rng(seed).integers(0, people, 3 * people)]
    splits = shared_out(names, val, test)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(len(names)))
    check_disjoint({split: [names[i] for i in some] for split, some in splits.items()})
    assert len(splits["train"])
    if len(set(names)) >= 3:
        assert bool(len(splits["val"])) == (val > 0)
        assert bool(len(splits["test"])) == (test > 0)


def test_the_shares_are_those_of_the_people_and_a_newcomer_moves_hardly_anybody():
    names = [f"person {i}" for i in range(1000)]
    before, after = (shared_out(some, 0.1, 0.2) for some in (names, [*names, "one more"]))
    assert [len(before[split]) for split in ("train", "val", "test")] == [700, 100, 200]
    assert sum(len(set(before[split]) - set(after[split])) for split in ("val", "test")) <= 2


@pytest.mark.parametrize(
    ("people", "val", "test", "told"),
    [
        (9, 0.5, 0.5, "got 0.5 and 0.5"),
        (9, -0.1, 0.5, "got -0.1 and 0.5"),
        (3, 0.45, 0.5, "leave none of 3 people to train on"),
        (2, 0.3, 0.6, "leave none of 2 people"),
    ],
)
def test_shares_that_leave_nobody_to_train_on_are_refused(people, val, test, told):
    with pytest.raises(ValueError, match=told):
        shared_out([f"p{i}" for i in range(people)], val, test)


def test_several_keeps_the_photographs_of_people_with_enough_of_them():
    assert several(np.array([7, 3, 7, 5, 3, 7]), 2).tolist() == [0, 1, 2, 4, 5]
    assert several(np.array([7, 3, 7, 5, 3, 7]), 3).tolist() == [0, 2, 5]


@pytest.mark.parametrize(("people", "most"), [([7, 3, 7], 2), ([], 0)])
def test_several_refuses_a_set_without_such_people(people, most):
    with pytest.raises(ValueError, match=f"nobody is on 3 photographs or more, at most on {most}"):
        several(np.array(people, np.int64), 3)
