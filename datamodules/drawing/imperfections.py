"""Which imperfections a face has in a photograph, and where: enough of them to be seen.

The choice is made on a small preview of fixed size, so that it is the same at every size.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datamodules.drawing.camera import display
from datamodules.drawing.canvas import Canvas
from datamodules.drawing.dice import Dice
from datamodules.drawing.geometry import Surface
from datamodules.drawing.identity import mixed
from datamodules.drawing.marks import Freckles, Line, Mark, Shadow, Spot
from datamodules.drawing.person import Colour, Person
from datamodules.drawing.photograph import Photograph
from datamodules.drawing.shapes import Grain, Plane, cosine, sine

LEAST, MOST = 0.049, 0.076  # share of the picture that a face's marks are chosen to change
ENOUGH = 0.029  # share of the preview that must have changed by more than SEEN
SEEN = 3 / 255
TRIES = 240
RED: Colour = (0.02, 0.15, 0.13)
DARK_SORE: Colour = (0.07, 0.085, 0.07)
BROWN: Colour = (0.10, 0.13, 0.12)
VIOLET: Colour = (0.11, 0.13, 0.09)
GREY_BROWN: Colour = (0.12, 0.13, 0.12)


@dataclass(frozen=True)
class Preview:
    """The clean face in small: how bare and how bright the skin is at a place."""

    canvas: Canvas
    at: Surface

    def look(self, u: float, v: float) -> tuple[float, float, Colour]:
        """Bare share, foreshortening and display colour at the pixel nearest to a place."""
        away = np.abs(self.at.u - u) + np.abs(self.at.v - v) + 9.0 * (self.at.inside < 0.5)
        row, col = divmod(int(away.argmin()), away.shape[1])
        if float(away[row, col]) > 4 * self.at.pixel:
            return 0.0, 0.0, (0.5, 0.5, 0.5)
        red, green, blue = (float(c) for c in display(self.canvas.colour[:, row, col]))
        return (
            float(self.canvas.bare[row, col]),
            float(self.at.normal[2, row, col]),
            (red, green, blue),
        )


def factor(colour: Colour, fall: Colour, strength: float) -> Colour:
    """The factor on linear light that lowers a display `colour` by `fall` times `strength`."""

    def one(value: float, less: float) -> float:
        kept = max(0.35, 1.0 - strength * less / max(value, 0.05))
        return kept * kept

    return one(colour[0], fall[0]), one(colour[1], fall[1]), one(colour[2], fall[2])


class Chooser:
    """Draws marks that suit a person, each coloured by the skin where it lies."""

    def __init__(self, dice: Dice, person: Person, preview: Preview) -> None:
        self.dice, self.person, self.preview = dice, person, preview
        self.last = self.place()
        # Inflamed skin is red where skin is light, and dark brown where it is dark.
        light = min(1.0, max(0.0, (person.tone - 0.25) * 2.5))
        self.sore = mixed(DARK_SORE, RED, light)

    def place(self) -> tuple[float, float]:
        """Somewhere on cheeks, chin, forehead or nose."""
        region = self.dice.pick(
            [(0.0, -0.36, 0.36, 0.15), (0.27, 0.2, 0.20, 0.22), (0.0, 0.58, 0.28, 0.12)], [3, 5, 2]
        )
        side = 1 if self.dice.chance(0.5) else -1
        u, v, wide, high = region
        return (
            side * u + self.dice.uniform(-wide, wide),
            v + self.dice.uniform(-high, high),
        )

    def shade(self, place: tuple[float, float], fall: Colour, strength: float) -> Colour:
        """The factor that lowers the skin at `place` by `fall` times `strength` as displayed."""
        return factor(self.preview.look(*place)[2], fall, strength)

    def near(self) -> tuple[float, float]:
        """A place for a pimple: often close to the one before, since pimples come in groups."""
        if self.dice.chance(0.55):
            u, v = self.last
            return u + self.dice.around(0, 0.07), v + self.dice.around(0, 0.07)
        self.last = self.place()
        return self.last

    def pimple(self) -> Mark:
        """A raised sore spot with a glint and a halo."""
        place, radius = self.near(), self.dice.uniform(0.010, 0.021)
        return Spot(
            place=place,
            radius=radius,
            halo=radius * self.dice.uniform(2.0, 3.2),
            factor=self.shade(place, self.sore, self.dice.uniform(0.85, 1.35)),
            faint=self.dice.uniform(0.25, 0.4),
            ragged=0.12,
            glint=self.dice.uniform(0.1, 0.45),
        )

    def stain(self) -> Mark:
        """A flat brown or pink spot, left by a pimple or by the sun."""
        place, radius = self.place(), self.dice.uniform(0.010, 0.026)
        fall = BROWN if self.dice.chance(0.5 + 0.006 * self.person.age) else self.sore
        return Spot(
            place=place,
            radius=radius,
            halo=radius * 1.4,
            factor=self.shade(place, fall, self.dice.uniform(0.35, 0.75)),
            faint=0.12,
            ragged=self.dice.uniform(0.2, 0.45),
            glint=0.0,
        )

    def blotch(self) -> Mark:
        """A large faint patch of uneven, reddened skin."""
        place, radius = self.place(), self.dice.uniform(0.09, 0.16)
        return Spot(
            place=place,
            radius=radius * 0.35,
            halo=radius,
            factor=self.shade(place, self.sore, self.dice.uniform(0.42, 0.62)),
            faint=0.65,
            ragged=0.35,
            glint=0.0,
        )

    def scar(self) -> Mark:
        """A short pale or reddish line."""
        place, turn = self.place(), self.dice.uniform(-0.9, 0.9)
        fall = (-0.06, -0.05, -0.05) if self.dice.chance(0.5) else self.sore
        return Line(
            place=place,
            half=self.dice.uniform(0.04, 0.10),
            bend=self.dice.uniform(-1.5, 1.5),
            turn=(cosine(turn), sine(turn)),
            width=self.dice.uniform(0.007, 0.012),
            factor=self.shade(place, fall, self.dice.uniform(0.8, 1.2)),
            lip=0.05,
        )

    def circles(self) -> list[Mark]:
        """Dark circles under both eyes."""
        eyes = self.person.eyes
        strength = self.dice.uniform(0.35, 0.8)
        low = 0.055 + 0.4 * eyes.width * eyes.opening
        marks: list[Mark] = []
        for side in (-1, 1):
            place = (side * (eyes.apart - 0.015), low)
            shade = self.shade((place[0], low + 0.01), VIOLET, strength)
            marks.append(Shadow(place, (0.115, 0.040), side, shade))
        return marks

    def freckles(self) -> Mark:
        """Freckles over nose and cheeks."""
        shade = self.shade((0.2, 0.14), BROWN, self.dice.uniform(0.6, 1.0))
        return Freckles((0.0, 0.12), (0.46, 0.25), self.person.freckled, shade)

    def crease(
        self,
        place: tuple[float, float],
        half: float,
        bend: float,
        way: tuple[float, float],
        soft: float = 1.0,
    ) -> Mark:
        """A wrinkle at a given place, deeper in old people."""
        old = min(1.0, max(0.0, (self.person.age - 28) / 40))
        size = math.sqrt(way[0] * way[0] + way[1] * way[1])
        return Line(
            place=(place[0] + self.dice.around(0, 0.006), place[1] + self.dice.around(0, 0.006)),
            half=half * self.dice.uniform(0.8, 1.15),
            bend=bend + self.dice.around(0, 0.15),
            turn=(way[0] / size, way[1] / size),
            width=soft * (0.0055 + 0.0045 * old * self.dice.uniform(0.5, 1.0)),
            factor=self.shade(place, GREY_BROWN, (0.40 + 0.65 * old) * self.dice.uniform(0.7, 1.1)),
            lip=0.05 + 0.10 * old,
        )

    def creases(self) -> list[Mark]:
        """The wrinkles of a face: forehead, frown, crow's feet, under the eyes, round the mouth."""
        p, crease = self.person, self.crease
        top = p.hair.hairline + p.hair.fringe
        marks = [
            crease((self.dice.around(0, 0.02), v), 0.26, 0.25 * self.dice.uniform(-1, 1), (1, 0))
            for v in (-0.25, -0.30, -0.355, -0.41, -0.46)
            if v > top + 0.06
        ]
        corner, nose = p.eyes.apart + p.eyes.width, p.nose
        for side in (-1, 1):
            for slope in (-0.5, -0.15, 0.2, 0.55):
                place = (side * (corner + 0.065), 0.02 + 0.075 * slope)
                marks.append(crease(place, 0.055, 0.0, (1, side * slope)))
            below = 0.5 * p.eyes.width * p.eyes.opening + 0.045
            marks.append(
                crease((side * (p.eyes.apart - 0.01), below), 0.10, -1.6, (1, side * 0.12))
            )
            marks.append(crease((side * 0.024, -0.17), 0.05, 0.0, (side * 0.1, 1)))
            fold = (side * (nose.width + 0.065), nose.length + 0.085)
            marks.append(crease(fold, 0.12, side * 0.9, (side * 0.55, 1), 1.7))
            marks.append(
                crease(
                    (side * (p.mouth.width + 0.025), nose.length + 0.27),
                    0.06,
                    0.0,
                    (side * 0.2, 1),
                    1.3,
                )
            )
        return marks


def _shuffled(dice: Dice, marks: list[Mark]) -> list[Mark]:
    keys = [(dice.uniform(), number) for number in range(len(marks))]
    return [marks[number] for _, number in sorted(keys)]


def _candidates(person: Person, shot: Photograph, preview: Preview) -> Iterator[Mark]:
    lasting = Chooser(Dice(person.texture, 3), person, preview)
    passing = Chooser(Dice(shot.skin), person, preview)
    dice = passing.dice
    for _ in range(dice.pick([3, 5, 9], [2, 2, max(0.1, 1.5 - person.age / 40)])):
        yield passing.pimple()
    if dice.chance(0.65):
        yield from passing.circles()
    wrinkles = _shuffled(lasting.dice, lasting.creases())
    share = min(1.0, max(0.06, (person.age - 28) / 38))
    yield from wrinkles[: int(share * len(wrinkles) + 0.5)]
    if person.freckled > 0:
        yield lasting.freckles()
    for _ in range(lasting.dice.pick([0, 1, 2], [5, 3, 1])):
        yield lasting.scar()
    young = max(0.2, 1.6 - person.age / 40)
    while True:
        kind = dice.pick(["pimple", "stain", "blotch"], [0.7 * young, 1.0, 1.3])
        yield {"pimple": passing.pimple, "stain": passing.stain, "blotch": passing.blotch}[kind]()


def choose_marks(person: Person, shot: Photograph, preview: Preview) -> list[Mark]:
    """The marks of one photograph: the person's lasting ones, and passing ones up to a goal."""
    goal = Dice(shot.skin, 1).uniform(LEAST, MOST) * 4.0
    chosen: list[Mark] = []
    total = 0.0
    for mark in itertools.islice(_candidates(person, shot, preview), TRIES):
        bare, facing, _ = preview.look(*mark.box[0])
        seen = bare * facing
        if bare > 0.5 and total + mark.area * seen < goal + 0.04:
            chosen.append(mark)
            total += mark.area * seen
        if total > goal:
            missing = ENOUGH - _changed_share(chosen, person, preview)
            if missing <= 0:
                break
            goal += 6.0 * missing
    return chosen


def _changed_share(marks: list[Mark], person: Person, preview: Preview) -> float:
    canvas = preview.canvas
    change = drawn_marks(marks, preview.at, marks_grain(person))[1]
    marked = canvas.colour + canvas.bare * canvas.colour * (change - 1.0)
    away = np.abs(display(marked) - display(canvas.colour))
    return int(((away[0] + away[1] + away[2]) > 3 * SEEN).sum()) / canvas.bare.size


def marks_grain(person: Person) -> Grain:
    """The noise that makes the person's marks uneven, the same on every photograph."""
    return Grain(Dice(person.texture, 5))


def drawn_marks(marks: list[Mark], at: Surface, grain: Grain) -> tuple[Plane, Plane]:
    """Opacity (h, w) of all marks together, and their factor (3, h, w) on the skin's light."""
    opacity = np.zeros_like(at.u)
    total = np.ones((3, *at.u.shape), np.float32)
    for mark in marks:
        window = at.window(*mark.box)
        alpha, change = mark.drawn(at.crop(window), grain)
        part = opacity[window]
        part += alpha * (1.0 - part)
        total[:, window[0], window[1]] *= change
    return opacity, total
