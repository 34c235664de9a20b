"""A face transfer at work: frames read, faces made by a run's inversion, and both written."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import final

import numpy as np
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from datamodules.clip_writer import ClipWriter
from datamodules.clips import Clip, is_clip
from datamodules.footage import Detect, Followed, footage, frames_of
from datamodules.images import UnreadableImage, floats, planes, read_image
from datamodules.reading import Covering, Picture
from experiments.networks import untrained, view_of, with_weights
from experiments.settings import SettingsError
from lightning_modules.inversion_base import Inversion
from lightning_modules.transfer import refuse_unguided, transferred
from ops.metrics.embedding_distance import identity_similarity


def inversion(path: Path) -> Inversion:
    """The inversion of a run: a trained network, or what makes images step by step.

    Args:
        path: of a checkpoint or of a run's folder.

    Raises:
        SettingsError: if there is no such run, it inverts no embeddings, or it heeds no guide.
    """
    method, state = untrained(path)
    if not isinstance(method, Inversion):
        raise SettingsError(
            f"{path} is of {type(method).__name__}; a transfer takes a run of inversion_ff_guided, "
            "inversion_iterative_guide or inversion_iterative_guide_init"
        )
    state["state_dict"].pop("images", None)  # a solver's, of the targets of its run
    made = with_weights(method, state)
    try:
        refuse_unguided(made)
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error
    return made


@final
class Take:
    """The frames of a clip or a folder.

    Args:
        path: of the clip or the folder.
        every: each so many-th frame is taken.
        rate: frames a second in a folder; a clip tells its own.

    Attributes:
        rate: frames a second of those that are taken.
        sound: the clip whose sound goes with them; None for a folder.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ImportError: if it is a clip and PyAV is not installed.
        UnreadableImage: if the clip cannot be read, or the folder holds no frame.
    """

    def __init__(self, path: Path, every: int, rate: Fraction) -> None:
        self._paths, self._every = footage(path), every
        self.sound = path if is_clip(path) else None
        self.rate = (Clip(path).rate if is_clip(path) else rate) / every

    def __iter__(self) -> Iterator[tuple[Picture, Fraction | None]]:
        """Each frame with its second of the clip; a folder tells none."""
        every: Iterable[tuple[Picture, Fraction | None]]
        if self.sound is not None:
            every = Clip(self.sound).timed()
        else:
            every = ((one, None) for one in chain.from_iterable(map(frames_of, self._paths)))
        return islice(every, 0, None, self._every)


@dataclass
class Told:
    """What is to be said of a transfer.

    Attributes:
        out: where it lies.
        frames: in all.
        faceless: frames on which no face was found.
        seconds: of making the faces, without reading, judging and writing.
        made: by judge, the sum of the cosines of the faces made and the photograph.
        guides: by judge, the same of the frames.
    """

    out: Path
    frames: int = 0
    faceless: int = 0
    seconds: float = 0.0
    made: dict[str, float] = field(default_factory=dict)
    guides: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lost = f", {self.faceless} without a face and cut where it was last" * bool(self.faceless)
        speed = self.frames / max(self.seconds, 1e-9)
        means = ", ".join(
            f"{judge} {total / self.frames:.3f} ({self.guides[judge] / self.frames:.3f})"
            for judge, total in self.made.items()
        )
        return (
            f"{self.frames} frames in {self.out}{lost}; {speed:.1f} faces made a second\n"
            f"mean cosine with the photograph, by judge (in brackets: of the frames): {means}"
        )


@final
class Reenactment:
    """A photograph's embedding, ready to be transferred onto frames.

    Args:
        method: of `inversion`.
        face: the photograph.
        detect: finds faces, which are then cropped as `make prepare` crops them; None takes
            photograph and frames as they are.

    Attributes:
        size: height and width of guide | result.

    Raises:
        UnreadableImage: if the photograph cannot be read, or shows no face.
    """

    def __init__(self, method: Inversion, face: Path, detect: Detect | None) -> None:
        self._method, self._detect = method, detect
        size = max(view_of(method).size)
        self.size, self._frame = (size, 2 * size), Covering(size, size)
        picture: Picture | None = read_image(face)
        if detect is not None and picture is not None:
            picture = Followed(detect).of(picture)
        if picture is None:
            raise UnreadableImage(f"{face}: shows no face")
        self._face = floats(planes(self._frame(picture)))[None]
        self._known = method.scores.look(self._face)

    def write(self, take: Take, to: ClipWriter, together: int) -> Told:
        """Writes guide | result, a frame a frame; what is to be said of it.

        Args:
            take: the frames.
            to: the clip to write, of this one's size.
            together: frames that are in memory and made side by side.

        Raises:
            ImportError: if PyAV is not installed.
            OSError: if the clip cannot be written.
            UnreadableImage: if a frame cannot be read, or the clip cannot hold the sound.
        """
        told = Told(to.path)
        with to as writer, _bar() as bar:
            task = bar.add_task("frames", total=None)
            guides = self._guides(take, told)
            while part := list(islice(guides, together)):
                frames = torch.stack([guide for guide, _ in part])
                made = torch.cat([frames, self._made(frames, told)], 3)
                for pair, (_, second) in zip(made, part, strict=True):
                    writer.write(_picture(pair), second)
                bar.advance(task, len(part))
        return told

    def _guides(self, take: Take, told: Told) -> Iterator[tuple[Tensor, Fraction | None]]:
        followed = None if self._detect is None else Followed(self._detect)
        for picture, second in take:
            face: Picture | None = picture
            if followed is not None:
                face = followed.of(picture)
                told.faceless += face is None
                face = followed.last_place(picture) if face is None else face
            assert face is not None
            yield floats(planes(self._frame(face))), second

    def _made(self, guides: Tensor, told: Told) -> Tensor:
        began = time.perf_counter()
        made = transferred(self._method, self._face, guides)
        told.seconds += time.perf_counter() - began
        told.frames += len(guides)
        for sums, images in ((told.made, made), (told.guides, guides)):
            for judge, seen in self._method.scores.look(images).items():
                cosines = identity_similarity(seen, self._known[judge].expand_as(seen))
                sums[judge] = sums.get(judge, 0.0) + float(cosines.sum())
        return made


def _picture(image: Tensor) -> Picture:
    pixels = image.mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _bar() -> Progress:
    """The frames done; their number is not known before a clip's end."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
