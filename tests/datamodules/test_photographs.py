import albumentations
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degraded, Step
from datamodules.images import planes
from datamodules.index import list_index
from datamodules.photographs import (
    DegradedPhotographs,
    FolderPhotographs,
    Making,
    PairedPhotographs,
    References,
    SinglePhotographs,
)
from datamodules.reading import Covering, FramedReader
from datamodules.stream import Purpose
from tests.datamodules.people import write_people
from tests.datamodules.pictures import picture

PEOPLE = np.array([5, 3, 5, 5, 3, 9, 9, 5, 9, 9])
FLIP = Augmentation(albumentations.Compose([albumentations.HorizontalFlip(p=0.5)]))
ALWAYS = Augmentation(albumentations.Compose([albumentations.HorizontalFlip(p=1)]))


class Made:
    """Ten pictures out of nothing, no two alike."""

    def __init__(self, people=PEOPLE, first=0):
        self.people = people
        self.first = first

    def __len__(self):
        return len(PEOPLE)

    def name(self, i):
        return f"number {i}"

    def picture(self, i):
        return picture(12, 10, seed=self.first + i)


class Darker:
    """Takes a drawn number from every pixel."""

    def __call__(self, image, generator):
        amount = int(generator.integers(1, 200))
        steps = (Step("low light", "darker", {"amount": amount}), Step("other", "moved", {}))
        return Degraded(image - np.minimum(image, amount).astype(np.uint8), steps)


def amount(sample):
    return int(sample["degradation"].split("amount ")[1].split(",")[0])


def test_without_a_degradation_the_image_is_the_target():
    sample = DegradedPhotographs(Made(people=None), Making(None, None, 0))[3, 4]
    assert sample.keys() == {"image", "target", "name"}
    assert sample["name"] == "number 4"
    assert torch.equal(sample["image"], planes(Made().picture(4)))
    assert sample["image"].dtype == torch.uint8
    assert torch.equal(sample["image"], sample["target"])


def test_a_degraded_sample_says_what_was_done_in_words_and_as_a_label():
    sample = DegradedPhotographs(Made(), Making(Darker(), None, 0))[0, 1]
    assert sample.keys() == {"image", "target", "name", "identity", "label", "degradation"}
    assert sample["label"].tolist() == [0, 0, 1]
    assert sample["label"].dtype == torch.float32
    assert sample["identity"] == 3
    assert sample["degradation"].endswith(", moved")
    expected = np.maximum(Made().picture(1).astype(int) - amount(sample), 0)
    assert torch.equal(sample["image"], planes(expected.astype(np.uint8)))
    assert torch.equal(sample["target"], planes(Made().picture(1)))


def test_a_sample_is_a_function_of_seed_epoch_and_index():
    def told(seed, key, purpose=Purpose.DEGRADATION):
        making = Making(Darker(), None, seed, purpose)
        return amount(DegradedPhotographs(Made(), making)[key])

    first = told(0, (0, 0))
    assert first == told(0, (0, 0))
    others = [told(0, (e, i)) for e in range(4) for i in range(4)] + [
        told(s, (0, 0)) for s in (1, 2)
    ]
    assert len(set(others)) > 10
    assert told(0, (0, 0), Purpose.EVALUATION) != first


def test_the_target_is_mirrored_before_it_is_degraded():
    sample = DegradedPhotographs(Made(), Making(Darker(), ALWAYS, 0))[0, 2]
    mirrored = Made().picture(2)[:, ::-1]
    assert torch.equal(sample["target"], planes(np.ascontiguousarray(mirrored)))
    lost = sample["target"].int() - sample["image"].int()
    assert lost.max() == amount(sample)


def test_whether_a_picture_is_mirrored_changes_from_epoch_to_epoch():
    data = DegradedPhotographs(Made(), Making(None, FLIP, 0))
    plain = planes(Made().picture(2))
    kept = [torch.equal(data[epoch, 2]["target"], plain) for epoch in range(40)]
    assert 8 < sum(kept) < 32


def test_references_are_other_photographs_of_the_same_person_undegraded():
    data = DegradedPhotographs(Made(), Making(Darker(), ALWAYS, 0), references=3)
    pictures = torch.stack([planes(Made().picture(i)) for i in range(10)])
    for epoch in range(4):
        for i in range(10):
            references = data[epoch, i]["references"]
            assert references.shape == (3, 3, 12, 10)
            chosen = [int((pictures == one).flatten(1).all(1).nonzero()) for one in references]
            assert i not in chosen
            assert {int(PEOPLE[j]) for j in chosen} == {int(PEOPLE[i])}
            if PEOPLE[i] != 3:  # who is on two photographs only
                assert len(set(chosen)) == 3


def test_references_differ_by_epoch_and_seed_and_nothing_else():
    def drawn(seed):
        references = References(Made(), 1, seed)
        return [references.chosen((epoch, 0)) for epoch in range(30)]

    assert drawn(0) == drawn(0) != drawn(1)
    assert {i for chosen in drawn(0) for i in chosen} == {2, 3, 7}


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 6), min_size=1, max_size=6),
    count=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_references_repeat_only_after_all_others_of_the_person_came(sizes, count, seed):
    people = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    references = References(Made(people), count, seed)
    for i, person in enumerate(people):
        chosen = references.chosen((seed, i))
        others = [j for j in np.flatnonzero(people == person) if j != i]
        times = [chosen.count(j) for j in others]
        assert sum(times) == len(chosen) == count
        assert max(times) - min(times) <= 1


def test_each_other_photograph_is_a_reference_equally_often():
    references = References(Made(), 1, 0)
    drawn = [references.chosen((epoch, 7))[0] for epoch in range(3000)]
    counts = [drawn.count(i) for i in (0, 2, 3)]
    assert sum(counts) == 3000
    assert max(abs(count - 1000) for count in counts) < 5 * np.sqrt(3000 * 2 / 9)


def test_references_need_somebody_to_be_known_and_on_two_photographs():
    making = Making(None, None, 0)
    with pytest.raises(ValueError, match="does not say who is on which; set references to 0"):
        DegradedPhotographs(Made(people=None), making, references=1)
    lonely = np.where(np.arange(10) == 6, 8, PEOPLE)
    with pytest.raises(ValueError, match="number 6 is the only photograph of its person"):
        DegradedPhotographs(Made(lonely), making, references=1)


def test_photographs_in_a_folder_have_names_paths_and_pictures_in_the_frame(tmp_path):
    write_people(tmp_path, {"a.b": 2, "c": 1})
    index = list_index(tmp_path)
    read = FramedReader(tmp_path, Covering(16, 16))
    whole = FolderPhotographs(index, np.arange(3), np.array([0, 0, 1]), read)
    some = whole.some(np.array([2, 0]))
    assert [some.name(i) for i in range(len(some))] == ["c/0000_01", "a.b/0000_01"]
    assert some.path(0) == tmp_path / "c/0000_01.jpg"
    assert some.people.tolist() == [1, 0]
    assert some.picture(1).shape == (16, 16, 3)
    assert np.array_equal(some.picture(1), whole.picture(0))
    nameless = FolderPhotographs(index, np.arange(3), None, read)
    assert nameless.some(np.array([1])).people is None


def test_both_pictures_of_a_pair_are_mirrored_together():
    data = PairedPhotographs(Made(), Made(first=100), FLIP)
    mirrored = []
    for epoch in range(30):
        sample = data[epoch, 4]
        image, target = (planes(Made(first=n).picture(4)) for n in (0, 100))
        mirrored.append(not torch.equal(sample["image"], image))
        assert mirrored[-1] == torch.equal(sample["target"], target.flip(-1))
    assert {*mirrored} == {True, False}
    assert sample.keys() == {"image", "target", "name"}


def test_a_pair_without_augmentation_is_as_it_is():
    sample = PairedPhotographs(Made(), Made(first=100))[5, 4]
    assert torch.equal(sample["image"], planes(Made().picture(4)))
    assert torch.equal(sample["target"], planes(Made(first=100).picture(4)))


def test_pairs_of_unequal_number_are_refused():
    class Fewer(Made):
        def __len__(self):
            return 3

    with pytest.raises(ValueError, match="10 degraded photographs stand beside 3"):
        PairedPhotographs(Made(), Fewer())


def test_photographs_without_a_clean_form_have_no_target():
    data = SinglePhotographs(Made())
    assert len(data) == 10
    assert data[7, 4].keys() == {"image", "name"}
    assert torch.equal(data[7, 4]["image"], data[0, 4]["image"])
