"""Who is drawn: everything about a person that stays the same over several photographs."""

from datamodules.drawing.dice import Dice
from datamodules.drawing.person import (
    Beard,
    Brows,
    Colour,
    Eyes,
    Hair,
    Head,
    Mouth,
    Nose,
    Person,
)

# Display colours of skin from very dark to very light.
SKIN: tuple[Colour, ...] = (
    (0.25, 0.155, 0.12),
    (0.37, 0.235, 0.175),
    (0.51, 0.345, 0.25),
    (0.65, 0.455, 0.335),
    (0.77, 0.575, 0.45),
    (0.87, 0.69, 0.575),
    (0.93, 0.785, 0.69),
)
HAIR: dict[str, Colour] = {
    "black": (0.075, 0.065, 0.065),
    "dark": (0.15, 0.105, 0.08),
    "brown": (0.29, 0.19, 0.125),
    "chestnut": (0.38, 0.215, 0.13),
    "red": (0.53, 0.26, 0.12),
    "blond": (0.68, 0.53, 0.33),
    "ash": (0.53, 0.44, 0.33),
}
GREY: Colour = (0.66, 0.655, 0.65)
IRIS: dict[str, Colour] = {
    "black": (0.16, 0.10, 0.07),
    "brown": (0.31, 0.18, 0.09),
    "hazel": (0.42, 0.33, 0.17),
    "green": (0.35, 0.43, 0.28),
    "blue": (0.33, 0.48, 0.62),
    "grey": (0.43, 0.50, 0.54),
}


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` of `second` mixed in."""
    a, b = first, second
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def draw_person(identity: int, seed: int) -> Person:
    """The person number `identity` of the world `seed`.

    Raises:
        ValueError: if a number is negative (from numpy's SeedSequence).
    """
    dice = Dice(seed, identity, 1)
    masculine = dice.uniform(0.72, 1.0) if dice.chance(0.5) else dice.uniform(0.0, 0.25)
    age = dice.uniform(18, 42) if dice.chance(0.55) else dice.uniform(42, 80)
    tone = dice.uniform()
    skin = _skin(dice, tone)
    hair = _hair(dice, masculine, age, tone)
    return Person(
        masculine=masculine,
        age=age,
        tone=tone,
        skin=skin,
        ruddy=dice.uniform(0.3, 1.0),
        head=_head(dice, masculine),
        eyes=_eyes(dice, masculine, age, tone),
        brows=_brows(dice, masculine, age, hair.colour),
        nose=_nose(dice, masculine, tone),
        mouth=_mouth(dice, masculine, tone, skin),
        hair=hair,
        beard=_beard(dice, masculine),
        moles=_moles(dice),
        freckled=dice.uniform(0.4, 1.0) if dice.chance(0.3) and tone > 0.45 else 0.0,
        texture=int(dice.uniform(0, 2**31)),
    )


def _skin(dice: Dice, tone: float) -> Colour:
    place = tone * (len(SKIN) - 1) * 0.9999
    red, green, blue = mixed(SKIN[int(place)], SKIN[int(place) + 1], place - int(place))
    warm, olive = dice.around(0, 0.02), dice.around(0, 0.012)
    return (red * (1 + warm - olive), green * (1 + olive), blue * (1 - 2 * warm - olive))


def _head(dice: Dice, masculine: float) -> Head:
    return Head(
        width=dice.around(0.505 + 0.022 * masculine, 0.022),
        chin=dice.around(0.755 + 0.025 * masculine, 0.022),
        taper=dice.around(0.13 - 0.07 * masculine, 0.035),
        jaw=min(1.0, max(0.0, dice.around(0.12 + 0.4 * masculine, 0.16))),
        cheek=dice.around(0.03, 0.012),
        brow_ridge=dice.around(0.15 + 0.85 * masculine, 0.15),
        lean=dice.around(0, 0.012),
    )


def _eyes(dice: Dice, masculine: float, age: float, tone: float) -> Eyes:
    kinds = list(IRIS.values())
    light = max(0.0, tone - 0.45) * 1.8
    weights = [1.2 - tone, 1.2, 0.5 * light, 0.5 * light, light, 0.5 * light]
    made_up = 1 - masculine if dice.chance(0.6) else 0.0
    return Eyes(
        apart=dice.around(0.240, 0.009),
        width=dice.around(0.130 - 0.006 * masculine, 0.006),
        opening=dice.around(0.75 - 0.07 * masculine - 0.0022 * (age - 18), 0.06),
        slant=dice.around(0.05, 0.05),
        crease=dice.uniform(0.0, 1.0),
        lashes=dice.around(0.85 - 0.55 * masculine, 0.08),
        shadow=made_up * dice.uniform(0.1, 0.6),
        iris=mixed(dice.pick(kinds, weights), IRIS["brown"], dice.uniform(0, 0.25)),
    )


def _brows(dice: Dice, masculine: float, age: float, hair: Colour) -> Brows:
    return Brows(
        height=dice.around(0.150 - 0.022 * masculine, 0.010),
        thickness=dice.around(0.021 + 0.013 * masculine, 0.004),
        arch=dice.around(0.035 - 0.018 * masculine, 0.009),
        density=min(1.0, max(0.45, dice.around(0.85 - 0.003 * (age - 30), 0.12))),
        colour=mixed(mixed(hair, HAIR["dark"], 0.55), GREY, max(0.0, age - 60) * 0.012),
    )


def _nose(dice: Dice, masculine: float, tone: float) -> Nose:
    return Nose(
        width=dice.around(0.112 + 0.012 * masculine - 0.022 * tone, 0.009),
        length=dice.around(0.235 + 0.012 * masculine, 0.012),
        bridge=dice.around(0.045 + 0.015 * masculine + 0.012 * tone, 0.010),
        tip=dice.around(0.125, 0.012),
        bulb=dice.around(0.5, 0.2),
    )


def _mouth(dice: Dice, masculine: float, tone: float, skin: Colour) -> Mouth:
    painted = 0.7 * (1 - masculine) if dice.chance(0.45) else 0.0
    natural = mixed(skin, (0.64, 0.22, 0.24), 0.46 - 0.14 * masculine)
    lipstick = dice.pick([(0.62, 0.10, 0.14), (0.72, 0.30, 0.33), (0.45, 0.10, 0.17)], [1, 2, 1])
    full = 0.012 * (1 - tone)
    return Mouth(
        width=dice.around(0.190 + 0.012 * masculine, 0.011),
        upper=dice.around(0.054 - 0.010 * masculine, 0.006) + full,
        lower=dice.around(0.078 - 0.012 * masculine, 0.007) + full,
        bow=dice.around(0.28, 0.08),
        colour=mixed(natural, lipstick, painted * dice.uniform(0.4, 1.0)),
        gloss=0.35 + painted * 0.8,
    )


def _hair(dice: Dice, masculine: float, age: float, tone: float) -> Hair:
    light = max(0.0, tone - 0.4)
    weights = [1.3 - tone, 1.0, 1.6 * light, light, 0.7 * light, 1.7 * light, light]
    colour = dice.pick(list(HAIR.values()), weights)
    grey = min(1.0, max(0.0, (age - 45) / 30 + dice.around(0, 0.15)))
    dyed = masculine < 0.5 and dice.chance(0.5)
    colour = mixed(colour, GREY, 0.1 * grey if dyed else 0.95 * grey)
    curl = dice.uniform(0.7, 1.0) if dice.chance(0.75 - 1.1 * tone) else dice.uniform(0, 0.5)
    hairline = dice.around(-0.53, 0.02)
    part = dice.uniform(-0.28, 0.28)
    if masculine > 0.5:
        return _short_hair(dice, age, colour, (hairline, part, curl))
    return _long_hair(dice, colour, (hairline, part, curl))


def _short_hair(dice: Dice, age: float, colour: Colour, shape: tuple[float, float, float]) -> Hair:
    hairline, part, curl = shape
    receding = max(0.0, age - 30) * 0.003 * dice.uniform()
    style = dice.pick(
        ["bald", "cropped", "short", "full", "fringe", "long"],
        [0.1 + 0.008 * max(0.0, age - 35), 0.7, 1.3, 1.2, 0.6 if age < 50 else 0.1, 0.15],
    )
    volume = {"bald": 0.0, "cropped": 0.012, "short": 0.05, "full": 0.11, "fringe": 0.07}
    return Hair(
        colour=colour,
        density={"bald": 0.0, "cropped": 0.62}.get(style, 1.0),
        volume=volume.get(style, 0.07) + dice.uniform(0, 0.02) + 0.05 * (style == "full") * curl,
        length=0.85 if style == "long" else dice.uniform(-0.02, 0.1),
        hairline=hairline - receding,
        fringe=dice.uniform(0.10, 0.24) if style == "fringe" else 0.0,
        part=part,
        curl=curl,
        bun=0.0,
    )


def _long_hair(dice: Dice, colour: Colour, shape: tuple[float, float, float]) -> Hair:
    hairline, part, curl = shape
    style = dice.pick(
        ["long", "bob", "fringe", "bun", "tied", "short", "natural"],
        [1.4, 0.9, 0.9, 0.6, 0.6, 0.4, 2.0 if curl > 0.6 else 0.0],
    )
    volume = {"bun": 0.035, "tied": 0.035, "short": 0.08, "natural": 0.24}
    return Hair(
        colour=colour,
        density=1.0,
        volume=volume.get(style, 0.09) + dice.uniform(0, 0.03),
        length={"bob": 0.6, "bun": -0.05, "tied": -0.05, "short": 0.15, "natural": 0.35}.get(
            style, dice.uniform(0.95, 1.4)
        ),
        hairline=hairline + 0.02,
        fringe=dice.uniform(0.22, 0.27) if style == "fringe" else 0.0,
        part=part,
        curl=curl,
        bun=dice.uniform(0.17, 0.24) if style == "bun" else 0.0,
    )


def _beard(dice: Dice, masculine: float) -> Beard:
    if masculine < 0.5:
        return Beard(density=0.0, moustache=0.0, cheeks=0.0)
    kind = dice.pick(["shaved", "stubble", "beard", "moustache"], [1.2, 0.9, 0.7, 0.25])
    return Beard(
        density={"shaved": 0.10, "stubble": dice.uniform(0.3, 0.5), "beard": 0.95}.get(kind, 0.12),
        moustache=0.9 if kind == "moustache" else 0.0,
        cheeks=dice.uniform(0.0, 0.12),
    )


def _moles(dice: Dice) -> tuple[tuple[float, float, float], ...]:
    count = dice.pick([0, 1, 2, 3], [3, 3, 2, 1])
    return tuple(
        (dice.uniform(-0.4, 0.4), dice.uniform(-0.02, 0.6), dice.uniform(0.006, 0.013))
        for _ in range(count)
    )
