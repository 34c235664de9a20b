"""The parts of a portrait, numbered as in CelebAMask-HQ's label maps (Lee et al., CVPR 2020)."""

from enum import IntEnum


class Part(IntEnum):
    """What a pixel shows.

    Left and right are the picture's sides; the data set's own page does not say whose they are.
    Nobody drawn here wears glasses, a hat, an earring or a necklace.
    """

    BACKGROUND = 0
    SKIN = 1
    NOSE = 2
    GLASSES = 3
    LEFT_EYE = 4
    RIGHT_EYE = 5
    LEFT_BROW = 6
    RIGHT_BROW = 7
    LEFT_EAR = 8
    RIGHT_EAR = 9
    MOUTH = 10
    UPPER_LIP = 11
    LOWER_LIP = 12
    HAIR = 13
    HAT = 14
    EARRING = 15
    NECKLACE = 16
    NECK = 17
    CLOTHES = 18


_SIDES = (
    (Part.LEFT_EYE, Part.RIGHT_EYE),
    (Part.LEFT_BROW, Part.RIGHT_BROW),
    (Part.LEFT_EAR, Part.RIGHT_EAR),
)
MIRRORED = tuple((int(left), int(right)) for left, right in _SIDES)
"""The parts that change places in a mirror; plain numbers, since settings files have no others."""
