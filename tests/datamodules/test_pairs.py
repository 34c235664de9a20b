import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch

from datamodules.augmentation import Augmentation
from datamodules.numbered import Pair
from datamodules.pairs import EvaluationPairs, SemiSupervisedPairs, Strangers, paired_subset


def numbered(numbers, person=str):
    """Pairs without files: `drawn` gives the picture of each path."""
    return [Pair(n, Path(f"raw/{n}"), Path(f"retouched/{n}"), person(n)) for n in numbers]


def drawn(path):
    """A ramp that tells which picture it is: red the number, green the half, blue the column."""
    image = np.empty((16, 16, 3), np.uint8)
    image[..., 0] = int(path.name)
    image[..., 1] = path.parent.name == "retouched"
    image[..., 2] = np.arange(16)
    return image


def semi_supervised(numbers=range(20), gamma=0.2, seed=0, transform=None, unpaired=True):
    paired, others = paired_subset(numbered(numbers), gamma, seed)
    strangers = Strangers(others, seed) if unpaired else None
    return SemiSupervisedPairs(paired, strangers, drawn, Augmentation(transform), seed)


def number(image):
    return int(image[0, 0, 0])


def is_retouched(image):
    return int(image[1, 0, 0]) == 1


def test_pairs_of_a_smaller_gamma_are_among_those_of_a_larger_one():
    pairs = numbered(range(700))
    sets = [{p.number for p in paired_subset(pairs, g, 0)[0]} for g in (0.01, 0.1, 0.2, 0.5, 1)]
    assert [len(numbers) for numbers in sets] == [7, 70, 140, 350, 700]
    for smaller, larger in pairwise(sets):
        assert smaller < larger


@pytest.mark.parametrize("gamma", [1e-9, 0.01, 0.1, 0.77, 1])
def test_no_photograph_is_both_paired_and_unpaired(gamma):
    paired, others = paired_subset(numbered(range(123)), gamma, 3)
    numbers = [pair.number for pair in paired + others]
    assert sorted(numbers) == list(range(123))
    assert len(paired) == max(1, round(123 * gamma))


def test_the_seed_decides_who_is_paired():
    chosen = [paired_subset(numbered(range(100)), 0.1, seed)[0] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("gamma", [0, -0.1, 1.01, 2, float("nan")])
def test_a_gamma_out_of_range_is_refused(gamma):
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got"):
        paired_subset(numbered(range(4)), gamma, 0)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="got none"):
        paired_subset([], 0.1, 0)
    with pytest.raises(ValueError, match="at least one pair"):
        SemiSupervisedPairs([], None, drawn, Augmentation(), 0)


PEOPLE = {
    "each another": str,
    "three each": lambda n: str(n // 3),
    "two halves": lambda n: str(n % 2),
}


@pytest.mark.parametrize("people", PEOPLE)
def test_the_unpaired_half_shows_everybody_once_and_never_beside_themselves(people):
    pairs = numbered(range(30), PEOPLE[people])
    strangers = Strangers(pairs, 0)
    for epoch in range(5):
        items = [strangers[epoch, i] for i in range(30)]
        assert sorted(raw.number for raw, _ in items) == list(range(30))
        assert sorted(other.number for _, other in items) == list(range(30))
        assert all(raw.person != other.person for raw, other in items)


def test_who_stands_beside_whom_changes_with_the_epoch_and_the_seed():
    def partners(epoch, seed):
        strangers = Strangers(numbered(range(50)), seed)
        return {raw.number: other.number for raw, other in (strangers[epoch, i] for i in range(50))}

    assert partners(0, 0) == partners(0, 0)
    for other in (partners(1, 0), partners(0, 1)):
        assert sum(other[n] == partners(0, 0)[n] for n in range(50)) < 10


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_unpaired_photographs_are_refused(count):
    with pytest.raises(ValueError, match=f"2 photographs or more, got {count}; take a smaller"):
        Strangers(numbered(range(count)), 0)


def test_a_person_on_more_than_half_of_the_unpaired_photographs_is_refused():
    with pytest.raises(ValueError, match="ann is on 3 of the 5 unpaired"):
        Strangers(numbered(range(5), lambda n: "ann" if n > 1 else "bo"), 0)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.8])
def test_an_epoch_shows_each_photograph_of_the_longer_half_once_and_the_shorter_evenly(gamma):
    data = semi_supervised(gamma=gamma)
    items = [data[2, i] for i in range(len(data))]
    paired, others = paired_subset(numbered(range(20)), gamma, 0)
    assert len(data) == max(len(paired), len(others))
    for half, part, field in (
        (paired, "paired", "image"),
        (others, "unpaired", "image"),
        (others, "unpaired", "target"),
    ):
        times = Counter(number(item[part][field]) for item in items)
        assert set(times) == {pair.number for pair in half}
        assert max(times.values()) - min(times.values()) <= 1


def test_halves_hold_what_their_names_say():
    data = semi_supervised()
    for index in range(len(data)):
        item = data[0, index]
        for part in item.values():
            assert not is_retouched(part["image"])
            assert is_retouched(part["target"])
            assert part["image"].shape == part["target"].shape == (3, 16, 16)
        numbers = [number(item[part][field]) for part in item for field in ("image", "target")]
        assert numbers[0] == numbers[1] == int(item["paired"]["name"])
        assert numbers[2] != numbers[3]
        assert item["unpaired"]["name"] == f"{numbers[2]:05d}+{numbers[3]:05d}"


def test_without_an_unpaired_half_there_is_no_such_key_and_an_epoch_is_the_pairs():
    data = semi_supervised(unpaired=False)
    assert data[0, 0].keys() == {"paired"}
    assert len(data) == 4


def columns(image):
    return image[2].tolist()


def test_a_pair_is_mirrored_together_and_half_the_time():
    data = semi_supervised(gamma=1, unpaired=False)
    mirrored = 0
    for epoch in range(20):
        for index in range(20):
            pair = data[epoch, index]["paired"]
            assert columns(pair["image"]) == columns(pair["target"])
            mirrored += columns(pair["image"])[0][0] == 15
    assert 150 < mirrored < 250


def test_any_pipeline_moves_both_pictures_of_a_pair_alike():
    pipeline = A.Compose([A.Affine(rotate=(-20, 20), p=1), A.RandomCrop(12, 12)])
    data = semi_supervised(transform=pipeline)
    for index in range(8):
        pair = data[0, index]["paired"]
        assert pair["image"].shape == (3, 12, 12)
        assert columns(pair["image"]) == columns(pair["target"])


def test_a_pipeline_that_leaves_no_picture_is_refused():
    with pytest.raises(ValueError, match="8-bit pictures"):
        semi_supervised(transform=A.Compose([A.ToFloat()]))[0, 0]


def test_a_sample_is_the_same_whatever_was_read_before():
    pipeline = A.Compose([A.HorizontalFlip(), A.RandomBrightnessContrast(p=1), A.GaussNoise(p=1)])
    ordered, later = (semi_supervised(transform=pipeline) for _ in range(2))
    items = {(e, i): ordered[e, i] for e in range(2) for i in range(len(ordered))}
    for key in ((1, 3), (0, 5), (1, 3)):
        for part, sample in later[key].items():
            assert sample["name"] == items[key][part]["name"]
            assert torch.equal(sample["image"], items[key][part]["image"])
            assert torch.equal(sample["target"], items[key][part]["target"])
    assert not torch.equal(items[0, 3]["paired"]["image"], items[1, 3]["paired"]["image"])


def test_a_data_set_can_be_sent_to_a_spawned_worker():
    data = semi_supervised()
    first = data[0, 0]
    again = pickle.loads(pickle.dumps(data))[0, 0]
    assert torch.equal(first["paired"]["image"], again["paired"]["image"])
    assert first["unpaired"]["name"] == again["unpaired"]["name"]


def test_evaluation_gives_pairs_as_they_are():
    data = EvaluationPairs(numbered([7, 9]), drawn)
    assert len(data) == 2
    for epoch in (0, 5):
        item = data[epoch, 1]
        assert item["name"] == "00009"
        assert number(item["image"]) == number(item["target"]) == 9
        assert columns(item["image"])[0] == list(range(16))
