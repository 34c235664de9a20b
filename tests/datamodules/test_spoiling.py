import numpy as np
import pytest

from datamodules.degradations.beautify import EDITORS
from datamodules.layouts import degraded
from datamodules.spoiling import edited, spoilt
from tests.datamodules.pictures import picture

IMAGE = picture(64, 64)


@pytest.mark.parametrize("editor", EDITORS)
def test_edited_pictures_follow_from_seed_and_number(editor):
    face = np.full((64, 64, 3), (200, 150, 128), np.uint8)
    first = edited(face, editor, 1, 2)
    assert first.dtype == np.uint8
    assert np.array_equal(edited(face, editor, 1, 2), first)
    others = [edited(face, editor, 1, number) for number in range(3, 9)]
    assert any((other != first).any() for other in others)
    with pytest.raises(ValueError, match="must be 0 or more"):
        edited(face, editor, -1, 2)


def test_what_is_asked_for_is_made_and_nothing_else():
    assert spoilt(IMAGE, ("photograph", "retouched"), 0, 0) == {}
    made = spoilt(IMAGE, ("photograph", "degraded", "ps"), 3, 4)
    assert made.keys() == {"degraded", "ps"}
    assert np.array_equal(made["degraded"], degraded(IMAGE, 3, 4))
    assert np.array_equal(made["ps"], edited(IMAGE, "ps", 3, 4))
