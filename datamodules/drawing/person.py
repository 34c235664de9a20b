"""What a drawn person is: the parameters that stay the same over several photographs.

Lengths are in units of half the picture, in the frontal view of an upright head whose eyes are
level; u grows to the right, v downwards, (0, 0) lies between the eyes, a little below them.
"""

from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Head:
    """The skull: half widths and heights, the jaw from round (0) to square (1)."""

    width: float
    chin: float
    taper: float
    jaw: float
    cheek: float
    brow_ridge: float
    lean: float


@dataclass(frozen=True)
class Eyes:
    """Place, half width, opening, slant of the eyes; their lids, irises and make-up."""

    apart: float
    width: float
    opening: float
    slant: float
    crease: float
    lashes: float
    shadow: float
    iris: Colour


@dataclass(frozen=True)
class Brows:
    """Height above the eyes, thickness, arch, density and colour of the eyebrows."""

    height: float
    thickness: float
    arch: float
    density: float
    colour: Colour


@dataclass(frozen=True)
class Nose:
    """Half width at the wings, length, height of bridge and tip, bulb of the tip."""

    width: float
    length: float
    bridge: float
    tip: float
    bulb: float


@dataclass(frozen=True)
class Mouth:
    """Half width, fullness of the two lips, depth of Cupid's bow, colour and gloss."""

    width: float
    upper: float
    lower: float
    bow: float
    colour: Colour
    gloss: float


@dataclass(frozen=True)
class Hair:
    """The hair style; `length` is how far down it falls (y), `density` 0 is bald."""

    colour: Colour
    density: float
    volume: float
    length: float
    hairline: float
    fringe: float
    part: float
    curl: float
    bun: float


@dataclass(frozen=True)
class Beard:
    """Facial hair: stubble or beard, moustache, and how far up the cheeks it grows."""

    density: float
    moustache: float
    cheeks: float


@dataclass(frozen=True)
class Person:
    """A person: what stays the same from photograph to photograph.

    Attributes:
        masculine: 0 to 1.
        age: years, 18 to 80.
        tone: of the skin, 0 very dark to 1 very light.
        skin: its display colour.
        ruddy: redness of cheeks, nose and ears.
        moles: (u, v, radius) of each, part of the person and never an imperfection.
        freckled: share of the freckles that a person could have.
        texture: seed of the person's pores, hair strands and lasting marks.
    """

    masculine: float
    age: float
    tone: float
    skin: Colour
    ruddy: float
    head: Head
    eyes: Eyes
    brows: Brows
    nose: Nose
    mouth: Mouth
    hair: Hair
    beard: Beard
    moles: tuple[tuple[float, float, float], ...]
    freckled: float
    texture: int
