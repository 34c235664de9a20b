import re
from dataclasses import dataclass

import numpy as np
import pytest

from datamodules.degradations.base import (
    AnyOrder,
    Degradation,
    Degraded,
    InOrder,
    Kind,
    OneOf,
    Sometimes,
    Step,
    check_image,
)

BLACK = np.zeros((4, 5, 3), np.uint8)


@dataclass(frozen=True)
class Add(Degradation):
    amount: int
    kind: Kind = "other"

    def __call__(self, image, generator):
        step = Step(self.kind, "add", {"amount": self.amount, "draw": generator.random()})
        return Degraded(image * 2 + np.uint8(self.amount), (step,))


def test_steps_in_order_act_one_after_the_other():
    degraded = InOrder([Add(1), Add(3)])(BLACK, np.random.default_rng(0))
    assert (degraded.image == 5).all()
    assert [step.parameters["amount"] for step in degraded.steps] == [1, 3]


def test_steps_in_any_order_come_in_all_orders_and_say_which():
    step = AnyOrder([Add(1), Add(3)])
    results = {
        (int(d.image[0, 0, 0]), tuple(s.parameters["amount"] for s in d.steps))
        for d in (step(BLACK, np.random.default_rng(k)) for k in range(20))
    }
    assert results == {(5, (1, 3)), (7, (3, 1))}


def test_one_of_the_steps_is_drawn_with_equal_chance():
    step = OneOf([Add(1), Add(2), Add(3)])
    drawn = [int(step(BLACK, np.random.default_rng(k)).image[0, 0, 0]) for k in range(3000)]
    assert np.abs(np.bincount(drawn, minlength=4)[1:] - 1000).max() < 100


def test_a_step_is_left_out_as_often_as_its_probability_says():
    step = Sometimes(Add(1), 0.25)
    done = [bool(step(BLACK, np.random.default_rng(k)).steps) for k in range(2000)]
    assert abs(np.mean(done) - 0.25) < 0.04


def test_the_same_generator_state_gives_the_same_result():
    step = AnyOrder([OneOf([Add(1), Add(2)]), Sometimes(Add(3), 0.5)])
    first, second = (step(BLACK, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.steps == second.steps


def test_the_label_says_what_kinds_of_step_there_were():
    degraded = InOrder([Add(1, "blur"), Add(1, "low light"), Add(1)])(
        BLACK, np.random.default_rng(0)
    )
    assert degraded.label.tolist() == [1, 0, 1]
    assert Degraded(BLACK, ()).label.tolist() == [0, 0, 0]


def test_steps_read_as_a_sentence():
    step = Step("noise", "Gaussian noise", {"sigma": 0.123456, "levels": 3})
    assert str(Degraded(BLACK, (step, step))) == ", ".join(
        ["Gaussian noise sigma 0.123 levels 3"] * 2
    )
    assert str(Degraded(BLACK, ())) == "nothing"


def test_no_steps_to_draw_from_and_a_wrong_probability_are_refused():
    with pytest.raises(ValueError, match="name at least one"):
        OneOf([])
    with pytest.raises(ValueError, match=re.escape("probability must be in [0, 1], got 1.5")):
        Sometimes(Add(1), 1.5)


@pytest.mark.parametrize("wrong", [BLACK[..., :1], BLACK.astype(np.float64), BLACK[0]])
def test_what_is_no_picture_is_refused(wrong: np.ndarray):
    with pytest.raises(ValueError, match=re.escape("must be (h, w, 3) of uint8")):
        check_image(wrong)
    check_image(BLACK)
