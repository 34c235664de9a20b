from datamodules.drawing.parts import MIRRORED, Part

# The masks of CelebAMask-HQ in the order in which its authors number them, from 1 on.
THEIRS = {
    "skin": Part.SKIN,
    "nose": Part.NOSE,
    "eye_g": Part.GLASSES,
    "l_eye": Part.LEFT_EYE,
    "r_eye": Part.RIGHT_EYE,
    "l_brow": Part.LEFT_BROW,
    "r_brow": Part.RIGHT_BROW,
    "l_ear": Part.LEFT_EAR,
    "r_ear": Part.RIGHT_EAR,
    "mouth": Part.MOUTH,
    "u_lip": Part.UPPER_LIP,
    "l_lip": Part.LOWER_LIP,
    "hair": Part.HAIR,
    "hat": Part.HAT,
    "ear_r": Part.EARRING,
    "neck_l": Part.NECKLACE,
    "neck": Part.NECK,
    "cloth": Part.CLOTHES,
}


def test_parts_are_numbered_as_in_celebamask_hq() -> None:
    assert list(THEIRS.values()) == list(range(1, 19))
    assert set(Part) - {*THEIRS.values()} == {Part.BACKGROUND} == {0}


def test_eyes_brows_and_ears_change_places_in_a_mirror_and_nothing_else() -> None:
    sides = [(THEIRS[f"l_{name}"], THEIRS[f"r_{name}"]) for name in ("eye", "brow", "ear")]
    assert list(MIRRORED) == sides
    assert {type(part) for pair in MIRRORED for part in pair} == {int}
