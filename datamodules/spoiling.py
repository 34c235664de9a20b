"""Pictures made of a sound photograph for a set that has none of its own."""

from collections.abc import Collection

import numpy as np

from datamodules.degradations.beautify import EDITORS, Editor
from datamodules.layouts import Kind, Picture, degraded
from datamodules.stream import Purpose, sample_generator


def spoilt(
    picture: Picture, kinds: Collection[Kind], seed: int, number: int
) -> dict[Kind, Picture]:
    """`picture` degraded and edited, as far as `kinds` asks for it.

    Raises:
        ValueError: if `seed` or `number` is negative.
    """
    made: dict[Kind, Picture] = {}
    if "degraded" in kinds:
        made["degraded"] = degraded(picture, seed, number)
    for editor in EDITORS:
        if editor in kinds:
            made[editor] = edited(picture, editor, seed, number)
    return made


def edited(picture: Picture, editor: Editor, seed: int, number: int) -> Picture:
    """`picture` by the stand-in for `editor`, a function of the seed and the face's number.

    Raises:
        ValueError: if `seed` or `number` is negative.
    """
    generator = sample_generator(seed, 0, number, Purpose.DEGRADATION)
    return np.asarray(EDITORS[editor](picture, generator).image, np.uint8)
