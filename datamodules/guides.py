"""Where the guiding images of an inversion come from (inversion paper, Section 2)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from datamodules.detection import FaceDetector, find_detector
from datamodules.footage import Detect, Followed, footage, frames_of
from datamodules.images import UnreadableImage
from datamodules.photographs import Photographs
from datamodules.reading import Frame, Picture


class Guide(ABC):
    """Gives every photograph whose embedding is inverted an image that guides the inversion."""

    @abstractmethod
    def prepare(self, training: Photographs, frame: Frame) -> None:
        """Reads what all photographs share; called before `of`.

        Args:
            training: photographs of people to train on.
            frame: brings any picture to the size of the others.
        """

    @abstractmethod
    def of(self, photographs: Photographs, i: int, generator: np.random.Generator) -> Picture:
        """The guide of photograph `i`; all randomness comes from `generator`."""


class AverageFace(Guide):
    """The mean of aligned faces of people to train on, the same for every target.

    The paper takes average faces that were published for research (its reference 18).

    Args:
        people: the first of them by name, with one photograph each.

    Raises:
        ValueError: if `people` is below 1.
    """

    def __init__(self, people: int = 100) -> None:
        if people < 1:
            raise ValueError(f"people must be 1 or more, got {people}")
        self._count = people
        self._face: Picture | None = None

    def prepare(self, training: Photographs, frame: Frame) -> None:
        """Takes the mean, unless it is there.

        Raises:
            ValueError: if there is nobody to train on.
        """
        if self._face is not None:
            return
        if not len(training):
            raise ValueError("an average face needs people to train on, got none")
        firsts = np.unique(np.asarray(training.people), return_index=True)[1][: self._count]
        total = np.zeros(training.picture(0).shape)
        for i in firsts:
            total += training.picture(int(i))
        self._face = (total / len(firsts)).round().astype(np.uint8)

    def of(self, photographs: Photographs, i: int, generator: np.random.Generator) -> Picture:
        """The mean face."""
        assert self._face is not None, "prepare comes first"
        return self._face


class AnotherPerson(Guide):
    """A photograph of somebody else of the same split, drawn for each target."""

    def prepare(self, training: Photographs, frame: Frame) -> None:
        """Nothing."""

    def of(self, photographs: Photographs, i: int, generator: np.random.Generator) -> Picture:
        """A photograph of somebody else.

        Raises:
            ValueError: if all photographs are of one person.
        """
        people = np.asarray(photographs.people)
        others = np.flatnonzero(people != people[i])
        if not len(others):
            raise ValueError(
                f"{photographs.name(i)} has nobody else beside it who could be its guide: add "
                "people, or take another guide"
            )
        return photographs.picture(int(generator.choice(others)))


class Frames(Guide):
    """Frames of clips (Section 5.2 has 70 of one), drawn at random.

    Args:
        folder: holds the frames as pictures, or clips.
        every: of a clip each so many-th frame is taken; pictures are taken all.
        detector: YuNet's file, by which the face of each frame is cropped as `make prepare` crops
            faces, and frames without a face are left out; None takes frames as they are, which is
            right where they are crops already.

    Raises:
        ValueError: if `every` is below 1.
    """

    def __init__(self, folder: str, every: int = 10, detector: Path | None = None) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, got {every}")
        self._folder, self._every, self._detector = Path(folder), every, detector
        self._frames: list[Picture] = []

    def prepare(self, training: Photographs, frame: Frame) -> None:
        """Reads them all.

        Raises:
            FileNotFoundError: if there is no folder or no detector.
            ImportError: if there are clips and PyAV is not installed.
            ValueError: if it holds no frame, no face, or something of a frame's name that is none.
        """
        if self._frames:
            return
        if not self._folder.is_dir():
            raise FileNotFoundError(f"there is no folder of guiding frames {self._folder}")
        detect = FaceDetector(find_detector(self._detector)) if self._detector else None
        paths = footage(self._folder)
        self._frames = [frame(face) for path in paths for face in self._guides(path, detect)]
        if not self._frames:
            raise UnreadableImage(f"{self._folder}: shows no face to guide by")

    def _guides(self, path: Path, detect: Detect | None) -> Iterator[Picture]:
        followed = None if detect is None else Followed(detect)
        for picture in islice(frames_of(path), 0, None, self._every):
            face = picture if followed is None else followed.of(picture)
            if face is not None:
                yield face

    def of(self, photographs: Photographs, i: int, generator: np.random.Generator) -> Picture:
        """One of the frames."""
        return self._frames[int(generator.integers(len(self._frames)))]
