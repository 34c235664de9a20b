from itertools import islice

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from datamodules.images import planes
from datamodules.loading import Feed, Loading
from datamodules.photographs import DegradedPhotographs, Making
from datamodules.selection import (
    EVERYTHING,
    PerPerson,
    Selection,
    SomePhotographs,
    SomeSamples,
    in_company,
    say_left_out,
    training,
)
from tests.datamodules.pictures import picture

PEOPLE = np.array([5, 3, 5, 5, 4, 9, 9, 5, 9, 9])


class Made:
    """Pictures out of nothing, no two alike."""

    def __init__(self, people=PEOPLE):
        self.people = people

    def __len__(self):
        return len(PEOPLE)

    def name(self, i):
        return f"number {i}"

    def picture(self, i):
        return picture(12, 10, seed=i)


def samples(photographs=None, references=0):
    return DegradedPhotographs(photographs or Made(), Making(None, None, 0), references)


def batches(selection, data, *, first_batch=0, count=6, seed=0):
    module = pl.LightningDataModule()
    module.first_batch = first_batch
    feed = Feed(module, 4, seed, Loading(workers=0))
    return list(islice(training(feed, data, selection), count))


def test_people_on_too_few_photographs_are_left_out_and_the_others_numbered_from_0():
    some = in_company(Made(), 2)
    assert isinstance(some, SomePhotographs)
    assert [some.name(i) for i in range(len(some))] == [
        f"number {i}" for i in (0, 2, 3, 5, 6, 7, 8, 9)
    ]
    assert some.people.tolist() == [0, 0, 0, 1, 1, 0, 1, 1]
    assert np.array_equal(some.picture(3), Made().picture(5))


def test_without_company_asked_for_all_photographs_stay_as_they_are():
    nameless, empty = Made(people=None), SomePhotographs(Made(), np.arange(0), np.arange(0))
    assert in_company(nameless, 1) is nameless
    assert in_company(empty, 2) is empty


def test_company_cannot_be_found_where_nobody_is_known_or_all_are_alone():
    with pytest.raises(ValueError, match="does not say who is on which photograph"):
        in_company(Made(people=None), 2)
    with pytest.raises(ValueError, match="nobody is on 5 photographs or more, at most on 4"):
        in_company(Made(), 5)


def test_how_many_photographs_of_a_person_a_selection_needs():
    batches = PerPerson(2, 4)
    assert [EVERYTHING.least(split) for split in ("train", "val", "test")] == [1, 1, 1]
    assert [Selection(references=5).least(split) for split in ("train", "val")] == [2, 2]
    assert [Selection(batches=batches).least(split) for split in ("train", "val")] == [4, 1]
    both = Selection(references=1, batches=batches)
    assert [both.least(split) for split in ("train", "test")] == [4, 2]


def test_a_subset_is_drawn_by_the_seed_and_all_that_comes():
    data = samples()
    several = [SomeSamples(data, 10, 4, seed) for seed in (0, 0, 1)]
    assert [len(some) for some in several] == [4, 4, 4]
    assert several[0].chosen.tolist() == several[1].chosen.tolist() != several[2].chosen.tolist()
    names = {name for batch in batches(Selection(subset=4), data) for name in batch["name"]}
    assert names == {f"number {i}" for i in several[0].chosen}


def test_every_photograph_is_in_a_subset_equally_often():
    chosen = [SomeSamples(samples(), 10, 3, seed).chosen for seed in range(600)]
    counts = np.bincount(np.concatenate(chosen), minlength=10)
    assert abs(counts - 180).max() < 5 * np.sqrt(600 * 0.3 * 0.7)


def test_a_sample_of_a_subset_is_that_of_the_whole_with_references_from_the_whole():
    known = in_company(Made(), 2)
    data = samples(known, references=2)
    some = SomeSamples(data, len(data), 2, seed=0)
    pictures = torch.stack([planes(known.picture(i)) for i in range(len(known))])
    seen = set()
    for epoch in range(20):
        for k in range(2):
            sample, whole = some[epoch, k], data[epoch, int(some.chosen[k])]
            assert sample["name"] == whole["name"]
            assert torch.equal(sample["references"], whole["references"])
            for one in sample["references"]:
                seen.add(int((pictures == one).flatten(1).all(1).nonzero()))
    assert seen == set(np.flatnonzero(np.isin(known.people, known.people[some.chosen])).tolist())
    assert len(seen) > 2


def test_batches_of_people_take_the_place_of_the_batch_size():
    selection = Selection(batches=PerPerson(2, 3))
    for batch in batches(selection, samples(in_company(Made(), 3))):
        assert batch["identity"].view(2, 3).tolist() in ([[0] * 3, [1] * 3], [[1] * 3, [0] * 3])
        assert len(set(batch["name"])) == 6


@pytest.mark.parametrize(
    "selection", [EVERYTHING, Selection(subset=7), Selection(batches=PerPerson(2, 2))]
)
def test_training_goes_on_at_any_batch_as_if_it_had_never_stopped(selection):
    data = samples(in_company(Made(), 2))
    whole = batches(selection, data)
    later = batches(selection, data, first_batch=4, count=2)
    assert [batch["name"] for batch in later] == [batch["name"] for batch in whole[4:]]


def test_another_seed_gives_another_order_of_people():
    selection = Selection(batches=PerPerson(2, 2))
    data = samples(in_company(Made(), 2))
    orders = [[b["name"] for b in batches(selection, data, seed=seed)] for seed in (0, 1)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PerPerson(1, 4), "got 1 and 4"),
        (lambda: PerPerson(4, 1), "got 4 and 1"),
        (lambda: Selection(references=-1), "got -1 and None"),
        (lambda: Selection(subset=0), "got 0 and 0"),
        (lambda: Selection(subset=9, batches=PerPerson(2, 2)), "set subset or batches to null"),
        (lambda: SomeSamples(samples(), 10, 11, 0), "at most 10, .* got 11; null takes all"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_batches_of_people_are_refused_where_the_set_does_not_say_who_is_who():
    with pytest.raises(ValueError, match="does not say who is on its photographs; set batches"):
        batches(Selection(batches=PerPerson(2, 2)), samples(Made(people=None)))


def test_one_line_says_who_is_left_out_of_which_split(capsys):
    splits = {"train": Made(), "val": Made(np.arange(10) // 2), "test": Made(people=None)}
    say_left_out(splits, Selection(references=1, batches=PerPerson(2, 5)))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "Left out: 4 people with 10 photographs from train (fewer than 5 of each)\n"
    )
    say_left_out({**splits, "val": Made()}, Selection(references=1))
    assert capsys.readouterr().err == (
        "Left out: 2 people with 2 photographs from train (fewer than 2 of each); "
        "2 people with 2 photographs from val (fewer than 2 of each)\n"
    )
    say_left_out(splits, EVERYTHING)
    assert capsys.readouterr().err == ""
