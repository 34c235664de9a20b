"""How a person is photographed: everything that changes from one photograph to the next."""

import math
from dataclasses import dataclass

from datamodules.drawing.dice import Dice
from datamodules.drawing.person import Colour

TURN = 0.349  # 20 degrees, in radians


@dataclass(frozen=True)
class Pose:
    """Yaw, pitch and roll in radians within +-20 degrees; scale and shift in the picture."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    right: float
    down: float


@dataclass(frozen=True)
class Expression:
    """Smile (-0.4 to 1), open mouth, eye opening factor, raised brows, direction of the gaze."""

    smile: float
    open: float
    eyes: float
    brows: float
    gaze: tuple[float, float]


@dataclass(frozen=True)
class Light:
    """The key light's unit direction (towards it) and colour, and the light from all around."""

    direction: tuple[float, float, float]
    key: Colour
    sky: Colour
    ground: Colour
    rim: float


@dataclass(frozen=True)
class Backdrop:
    """The background's two colours (linear), its kind, and the colour of the clothes."""

    near: Colour
    far: Colour
    kind: str
    clothes: Colour
    collar: str
    texture: int


@dataclass(frozen=True)
class Camera:
    """Gains of the channels, exposure, sharpness loss, noise (deviation in [0, 1]), vignette."""

    gains: Colour
    blur: float
    noise: float
    vignette: float
    texture: int


@dataclass(frozen=True)
class Photograph:
    """All that is particular to one photograph; `skin` seeds its passing imperfections."""

    pose: Pose
    expression: Expression
    light: Light
    backdrop: Backdrop
    camera: Camera
    skin: int


def draw_photograph(identity: int, photograph: int, seed: int) -> Photograph:
    """Photograph number `photograph` of the person `identity` of the world `seed`.

    Raises:
        ValueError: if a number is negative (from numpy's SeedSequence).
    """
    dice = Dice(seed, identity, 2, photograph)
    return Photograph(
        pose=_pose(dice),
        expression=_expression(dice),
        light=_light(dice),
        backdrop=_backdrop(dice),
        camera=_camera(dice),
        skin=int(dice.uniform(0, 2**31)),
    )


def _within(dice: Dice, spread: float, limit: float) -> float:
    return max(-limit, min(limit, dice.around(0, spread)))


def _pose(dice: Dice) -> Pose:
    return Pose(
        yaw=_within(dice, 0.17, TURN),
        pitch=_within(dice, 0.09, TURN),
        roll=_within(dice, 0.07, TURN),
        scale=dice.around(1.0, 0.025),
        right=dice.around(0, 0.015),
        down=dice.around(0, 0.015),
    )


def _expression(dice: Dice) -> Expression:
    smile = dice.uniform(0.3, 1.0) if dice.chance(0.5) else dice.uniform(-0.35, 0.3)
    grin = smile > 0.45 and dice.chance(0.6)
    ajar = dice.uniform(0.0, 0.25) if dice.chance(0.15) else 0.0
    return Expression(
        smile=smile,
        open=smile * dice.uniform(0.5, 0.9) if grin else ajar,
        eyes=dice.around(1.0, 0.08) - 0.14 * max(0.0, smile),
        brows=dice.around(0.0, 0.010),
        gaze=(dice.around(0, 0.05), dice.around(0, 0.02)),
    )


def _light(dice: Dice) -> Light:
    across, above = dice.uniform(-0.75, 0.75), dice.uniform(0.15, 0.65)
    length = math.sqrt(across * across + above * above + 0.64)
    warm, strength = dice.around(0, 0.06), dice.uniform(0.78, 1.0)
    around = dice.uniform(0.30, 0.52)
    cool = dice.around(0, 0.04)
    return Light(
        direction=(across / length, -above / length, 0.8 / length),
        key=(strength * (1 + warm), strength, strength * (1 - warm)),
        sky=(around * (1 - cool), around, around * (1 + cool)),
        ground=(around * 0.62, around * 0.55, around * 0.5),
        rim=dice.uniform(0.0, 0.35) if dice.chance(0.5) else 0.0,
    )


def _backdrop(dice: Dice) -> Backdrop:
    kind = dice.pick(["studio", "garden", "street", "room"], [1, 1, 1, 1])
    tint = dice.pick(
        {
            "studio": [(0.35, 0.36, 0.38), (0.12, 0.13, 0.16), (0.62, 0.6, 0.57), (0.3, 0.2, 0.16)],
            "garden": [(0.16, 0.24, 0.09), (0.30, 0.38, 0.16), (0.10, 0.17, 0.11)],
            "street": [(0.33, 0.34, 0.36), (0.42, 0.38, 0.33), (0.2, 0.24, 0.3)],
            "room": [(0.40, 0.32, 0.24), (0.50, 0.47, 0.42), (0.22, 0.17, 0.14)],
        }[kind],
        [1, 1, 1, 1][: 4 if kind == "studio" else 3],
    )
    near, far = _shifted(dice, tint, 1.0), _shifted(dice, tint, dice.uniform(0.3, 1.5))
    value = dice.uniform(0.03, 0.75)
    hue = (dice.uniform(0.5, 1.0), dice.uniform(0.5, 1.0), dice.uniform(0.5, 1.0))
    return Backdrop(
        near=near,
        far=far,
        kind=kind,
        clothes=(value * hue[0], value * hue[1], value * hue[2]),
        collar=dice.pick(["round", "v", "shirt", "high"], [1.2, 1, 1, 0.5]),
        texture=int(dice.uniform(0, 2**31)),
    )


def _shifted(dice: Dice, tint: Colour, bright: float) -> Colour:
    red, green, blue = tint
    warm = dice.around(0, 0.12)
    return (
        red * bright * (1 + warm),
        green * bright * dice.around(1, 0.05),
        blue * bright * (1 - warm),
    )


def _camera(dice: Dice) -> Camera:
    exposure = dice.uniform(0.9, 1.12)
    return Camera(
        gains=(exposure * dice.around(1, 0.03), exposure, exposure * dice.around(1, 0.04)),
        blur=dice.uniform(0.0, 0.22),
        noise=dice.uniform(0.003, 0.012),
        vignette=dice.uniform(0.0, 0.25),
        texture=int(dice.uniform(0, 2**31)),
    )
