"""What an evaluation measures beside PSNR and SSIM: mostly by networks that others trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from ops.metrics.convention import OURS, Convention
from ops.metrics.judges import Judges
from ops.metrics.lpips import Lpips
from ops.metrics.niqe import NiqeModel, niqe
from ops.nets.inception import InceptionFeatures

MS_SSIM_LEAST = 161  # pixels: five scales, each with room for the window of 11


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
        ms_ssim: whether SSIM at five scales is measured; of images of at least 161 pixels a side.
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
        """The measures of single images, loaded once.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file is not what it should be, or a judge's name no word.
        """
        found: list[Measure] = []
        if self.ms_ssim:
            found.append(One("ms_ssim", "ms_ssim: SSIM at five scales (torchmetrics).", _ms_ssim))
        if self.lpips:
            text = f"lpips: AlexNet form, version 0.1, {Path(self.lpips).name}."
            found.append(One("lpips", text, Lpips(self.lpips)))
        if self.niqe:
            model = NiqeModel.read(self.niqe)
            text = f"niqe: of the output alone, MATLAB's form, {Path(self.niqe).name}."
            found.append(One("niqe", text, lambda output, _: niqe(output, model)))
        if self.judges:
            found.append(Judges(self.judges))
        return tuple(found)

    @cached_property
    def features(self) -> InceptionFeatures | None:
        """What FID compares; None where it is left out.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if it is not what it should be.
        """
        return InceptionFeatures(self.inception) if self.inception else None

    @property
    def caveat(self) -> str:
        """What forbids holding a table against others; empty where nothing does."""
        trained = all(each.comparable for each in self.each if isinstance(each, Judges))
        return "" if trained else "judges: some are untrained; not comparable with the paper."

    @property
    def definition(self) -> str:
        """What the columns are that this adds to a table."""
        texts = [measure.definition for measure in self.each]
        if self.inception:
            name = Path(self.inception).name
            texts.append(f"fid: by {name}, of outputs and targets rounded to 8 bits.")
        return " ".join(texts)


def _ms_ssim(output: Tensor, target: Tensor) -> Tensor:
    sides = tuple(output.shape[-2:])
    if min(sides) < MS_SSIM_LEAST:
        raise ValueError(
            f"ms_ssim needs images of at least {MS_SSIM_LEAST} pixels a side, got {sides[0]} x "
            f"{sides[1]}: set measures.ms_ssim to false"
        )
    pairs = zip(output.split(1), target.split(1), strict=True)  # it has no form for each image
    found = [
        multiscale_structural_similarity_index_measure(one, other, data_range=1.0)
        for one, other in pairs
    ]
    return torch.stack(found)
