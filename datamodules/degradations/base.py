"""What a degradation is, and how several of them make one.

A degradation keeps shape and dtype: 8 bits, or float32 in [0, 1]. All its randomness comes from
the generator it is given, so that the same generator state gives the same bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float32, UInt8

Image = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
"""RGB; 8 bits, or float32 in [0, 1]."""

Kind = Literal["blur", "noise", "low light", "other"]
LABELLED: tuple[Kind, ...] = ("blur", "noise", "low light")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to a picture.

    Attributes:
        kind: what it counts as in a label.
        name: in words, such as "motion blur".
        parameters: what was drawn, in the suite's units; plain numbers and words.
    """

    kind: Kind
    name: str
    parameters: Mapping[str, float | int | str]

    def __str__(self) -> str:
        told = " ".join(f"{key} {_short(value)}" for key, value in self.parameters.items())
        return f"{self.name} {told}".strip()


@dataclass(frozen=True, slots=True)
class Degraded:
    """A degraded picture, and what was done to it in order."""

    image: Image
    steps: tuple[Step, ...]

    @property
    def label(self) -> Float32[np.ndarray, "3"]:
        """{b, n, l}, 1 where there is blur, noise, low light (NASFE, Section 4)."""
        kinds = {step.kind for step in self.steps}
        return np.array([kind in kinds for kind in LABELLED], np.float32)

    def __str__(self) -> str:
        return ", ".join(map(str, self.steps)) or "nothing"


class Degradation(ABC):
    """Takes a clean picture to a degraded one."""

    @abstractmethod
    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` degraded; the input is left as it is."""


@final
@dataclass(frozen=True)
class InOrder(Degradation):
    """All steps, one after the other."""

    steps: Sequence[Degradation]

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` after all steps."""
        return _one_after_another(self.steps, image, generator)


@final
@dataclass(frozen=True)
class AnyOrder(Degradation):
    """All steps, in an order drawn anew for each picture."""

    steps: Sequence[Degradation]

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` after all steps."""
        order = generator.permutation(len(self.steps))
        return _one_after_another([self.steps[i] for i in order], image, generator)


@final
@dataclass(frozen=True)
class OneOf(Degradation):
    """One of the steps, all equally likely.

    Raises:
        ValueError: if there are none.
    """

    steps: Sequence[Degradation]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("one of no steps cannot be drawn; name at least one")

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image` after the step drawn."""
        return self.steps[int(generator.integers(len(self.steps)))](image, generator)


@final
@dataclass(frozen=True)
class Sometimes(Degradation):
    """A step, or nothing.

    Attributes:
        step: what may be done.
        probability: of doing it.

    Raises:
        ValueError: if `probability` is not in [0, 1].
    """

    step: Degradation
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be in [0, 1], got {self.probability}")

    def __call__(self, image: Image, generator: np.random.Generator) -> Degraded:
        """`image`, after the step or as it is."""
        if generator.random() < self.probability:
            return self.step(image, generator)
        return Degraded(image, ())


def check_image(image: Image) -> None:
    """Nothing, for a picture that a degradation can take.

    Raises:
        ValueError: if it is no (h, w, 3) array of 8 bits or float32.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.float32):
        raise ValueError(
            "a picture must be (h, w, 3) of uint8, or of float32 in [0, 1], "
            f"got {image.dtype} of shape {image.shape}"
        )


def _one_after_another(
    steps: Sequence[Degradation], image: Image, generator: np.random.Generator
) -> Degraded:
    done: tuple[Step, ...] = ()
    for step in steps:
        degraded = step(image, generator)
        image, done = degraded.image, done + degraded.steps
    return Degraded(image, done)


def _short(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
