import numpy as np

from datamodules.drawing.dice import Dice


def test_the_same_words_give_the_same_numbers_for_ever() -> None:
    dice = Dice(1, 2)
    assert dice.uniform() == 0.44841514333227195
    assert int(dice.words(1)[0]) == 7948369750201702571


def test_other_words_give_other_numbers() -> None:
    assert Dice(1, 2).uniform() != Dice(2, 1).uniform()


def test_uniform_numbers_fill_their_range() -> None:
    dice = Dice(3)
    numbers = [dice.uniform(2, 5) for _ in range(2000)]
    assert 2 <= min(numbers) < 2.05
    assert 4.95 < max(numbers) < 5


def test_around_has_its_centre_and_its_spread() -> None:
    dice = Dice(4)
    numbers = np.array([dice.around(10, 2) for _ in range(4000)])
    assert abs(numbers.mean() - 10) < 0.15
    assert abs(numbers.std() - 2) < 0.1
    assert np.abs(numbers - 10).max() <= 7


def test_pick_follows_the_weights() -> None:
    dice = Dice(5)
    picked = [dice.pick("ab", [3, 1]) for _ in range(2000)]
    assert 0.70 < picked.count("a") / 2000 < 0.80


def test_an_item_of_weight_zero_is_never_picked() -> None:
    dice = Dice(6)
    assert {dice.pick("abc", [1, 0, 1]) for _ in range(200)} == {"a", "c"}


def test_normal_numbers_have_mean_zero_and_deviation_one() -> None:
    numbers = Dice(7).normal(100, 100)
    assert numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.03
    assert abs(numbers.std() - 1) < 0.02


def test_even_numbers_lie_in_their_range() -> None:
    numbers = Dice(8).even(50, 50)
    assert numbers.min() >= -1
    assert numbers.max() < 1
    assert abs(numbers.mean()) < 0.05
