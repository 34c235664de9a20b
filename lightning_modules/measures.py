"""What an evaluation measures beside PSNR and SSIM: mostly by networks that others trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, cast, final

import torch
from torch import Tensor, nn

from ops.metrics.convention import OURS, Convention
from ops.metrics.judges import Judge, Judges
from ops.metrics.lpips import Lpips
from ops.metrics.niqe import NiqeModel, niqe
from ops.metrics.ssim import ms_ssim, ssim
from ops.nets.inception import InceptionFeatures
from ops.nets.weights import origin


class View(NamedTuple):
    """Images, and what the networks see in each of them alone."""

    image: Tensor  # (b, 3, h, w) in [0, 1]
    embeddings: dict[str, Tensor]  # (b, d) by the name of the judge
    features: Tensor | None  # (b, d), Inception's


class People(NamedTuple):
    """Who is on some images, and clean photographs of them."""

    identity: Tensor  # (b,), numbers
    photograph: Tensor  # (b,), numbers of the images in their set
    references: Tensor  # (b, n, 3, h, w) in [0, 1], never the image itself
    shown: Tensor  # (b, n), the references' numbers in the set


class Gallery(NamedTuple):
    """What judges see in the references of some people."""

    people: People
    embeddings: dict[str, Tensor]  # (b, n, d) by the name of the judge


class Measure(Protocol):
    """Numbers for each image, of which a table has the means."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers."""

    @property
    def definition(self) -> str:
        """What they are, in a sentence or two."""

    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each image's number, (b,), for each column; images (b, 3, h, w) in [0, 1]."""


@final
@dataclass(frozen=True)
class One:
    """A measure of one number.

    Attributes:
        name: of its column.
        definition: what it is.
        of: gives the number for each image, from outputs and targets.
    """

    name: str
    definition: str
    of: Callable[[Tensor, Tensor], Tensor]

    @property
    def columns(self) -> tuple[str, ...]:
        """The name of the number."""
        return (self.name,)

    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each image's number."""
        with torch.no_grad():
            return {self.name: self.of(output, target)}


@dataclass(frozen=True)
class Measures:
    """What tables hold beside PSNR, SSIM and the method's own numbers.

    Attributes:
        ms_ssim: whether SSIM at five scales is measured; of images of at least 176 pixels a side.
        lpips: file with AlexNet's weights in torchvision's naming; none leaves LPIPS out.
        niqe: file with NIQE's parameters; none leaves NIQE out.
        inception: file with the weights that FID is defined on; none leaves FID out.
        judges: networks that judge whether a face is still the same person's, by name. Several,
            so that no result rests on the one that the method was trained against.
        convention: what is done to images before PSNR and SSIM.
    """

    ms_ssim: bool = False
    lpips: str | None = None
    niqe: str | None = None
    inception: str | None = None
    judges: dict[str, nn.Module] = field(default_factory=dict)
    convention: Convention = OURS

    @cached_property
    def each(self) -> tuple[Measure, ...]:
        """The measures of single pairs of images, loaded once.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file is not what it should be.
        """
        found: list[Measure] = []
        if self.ms_ssim:
            found.append(One("ms_ssim", "ms_ssim: SSIM at five scales.", ms_ssim))
        if self.lpips:
            text = f"lpips: AlexNet form, version 0.1, {origin(self.lpips)}."
            found.append(One("lpips", text, Lpips(self.lpips)))
        if self.niqe:
            model = NiqeModel.read(self.niqe)
            text = f"niqe: of the output alone, MATLAB's form, {origin(self.niqe)}."
            found.append(One("niqe", text, lambda output, _: niqe(output, model)))
        return tuple(found)

    @cached_property
    def jury(self) -> Judges | None:
        """The judges together; None where there are none.

        Raises:
            ValueError: if a judge's name is no word, or it lacks what a judge has to have.
        """
        judges = cast("dict[str, Judge]", self.judges)  # settings can only ask for modules
        return Judges(judges) if judges else None

    @cached_property
    def features(self) -> InceptionFeatures | None:
        """What FID compares; None where it is left out.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if it is not what it should be.
        """
        return InceptionFeatures(self.inception) if self.inception else None

    def view(self, images: Tensor) -> View:
        """What every network that looks at images one by one sees in these, (b, 3, h, w)."""
        with torch.no_grad():
            embeddings = self.jury(images) if self.jury else {}
            seen = self.features.to(images.device)(images) if self.features else None
        return View(images, embeddings, seen)

    def gallery(self, people: People) -> Gallery | None:
        """The references as each judge sees them; None where there is no judge."""
        if self.jury is None:
            return None
        with torch.no_grad():
            seen = self.jury(people.references.flatten(0, 1))
        shape = people.references.shape[:2]
        return Gallery(people, {name: e.unflatten(0, shape) for name, e in seen.items()})

    def check(self, height: int, width: int) -> None:
        """Nothing, for images that are large enough for all that is measured.

        Tried on a black image, so that no measure's needs stand in two places.

        Raises:
            ValueError: if they are too small.
        """
        black = torch.zeros(1, 3, height, width)
        prepared = self.convention.prepare(black)
        ssim(prepared, prepared)
        for measure in self.each:
            measure(black, black)

    @property
    def caveat(self) -> str:
        """What forbids holding a table against others; empty where nothing does."""
        trained = self.jury is None or self.jury.comparable
        return "" if trained else "judges: some are untrained; not comparable with the paper."

    @property
    def definition(self) -> str:
        """What the columns are that this adds to a table."""
        texts = [measure.definition for measure in self.each]
        if self.jury:
            texts.append(self.jury.definition)
        if self.inception:
            by = origin(self.inception)
            texts.append(f"fid: by {by}, of outputs and targets rounded to 8 bits.")
        return " ".join(texts)
