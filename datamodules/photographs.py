"""Samples made of photographs: degraded ones beside themselves, and pairs that are there.

A sample holds "image" and "target" (3, h, w) of 8 bits, and "name"; where the set knows who is on
the photograph "identity"; where something was degraded "label", {blur, noise, low light}, and
"degradation", what was done in words; where asked for "references" (n, 3, h, w), other photographs
of the same person, undegraded, and the numbers in the set of the "photograph" itself and of those
that are "shown" beside it, (n,); with parsing maps "parsing" (k, h, w), 255 in the plane of what a
pixel shows and 0 in the others (`datamodules.parsing`). `datamodules.loading` makes batches of
them, whose pictures and planes are float32 in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NotRequired, Protocol, TypedDict, final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degradation
from datamodules.images import planes
from datamodules.index import FileIndex
from datamodules.reading import Picture
from datamodules.stream import Key, Purpose, sample_generator

People = Int64[np.ndarray, " n"]


class Sample(TypedDict):
    """What one photograph gives; the module's head says when each key is there."""

    image: UInt8[Tensor, "3 h w"]
    name: str
    target: NotRequired[UInt8[Tensor, "3 h w"]]
    identity: NotRequired[int]
    label: NotRequired[Float[Tensor, "3"]]
    degradation: NotRequired[str]
    references: NotRequired[UInt8[Tensor, "n 3 h w"]]
    photograph: NotRequired[int]
    shown: NotRequired[Int64[Tensor, " n"]]
    parsing: NotRequired[UInt8[Tensor, "k h w"]]


class Photographs(Protocol):
    """Some photographs of a set, wherever their bytes lie."""

    @property
    def people(self) -> People | None:
        """Who is on each photograph, as a number; None if the set does not tell."""
        ...

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """What photograph `i` is called in the set."""
        ...

    def picture(self, i: int) -> Picture:
        """Photograph `i`, in the set's frame."""
        ...


@final
@dataclass(frozen=True)
class FolderPhotographs:
    """Photographs that are files below one folder.

    Attributes:
        files: all files of the set.
        positions: which of them, in order.
        people: who is on each of `positions`.
        read: gives the picture in a file.
    """

    files: FileIndex
    positions: Int64[np.ndarray, " n"]
    people: People | None
    read: Callable[[Path], Picture]

    def __len__(self) -> int:
        return len(self.positions)

    def path(self, i: int) -> Path:
        """The file of photograph `i`."""
        return self.files.path(int(self.positions[i]))

    def name(self, i: int) -> str:
        """The file's path below the set's folder, without its ending."""
        return self.files.name(int(self.positions[i])).rpartition(".")[0]

    def picture(self, i: int) -> Picture:
        """Photograph `i`, in the reader's frame.

        Raises:
            UnreadableImage: if it cannot be read.
        """
        return self.read(self.path(i))

    def some(self, chosen: Int64[np.ndarray, " k"]) -> "FolderPhotographs":
        """The photographs numbered `chosen` among these."""
        people = None if self.people is None else self.people[chosen]
        return replace(self, positions=self.positions[chosen], people=people)


@final
@dataclass(frozen=True)
class Making:
    """How a picture becomes a sample; a function of (seed, epoch, index) and nothing else.

    Attributes:
        degradation: makes the image of the target; without one the image is the target.
        augmentation: of the target, before it is degraded.
        seed: of all draws.
        purpose: of the degradation's draws; another one for evaluation than for training.
    """

    degradation: Degradation | None
    augmentation: Augmentation | None
    seed: int
    purpose: Purpose = Purpose.DEGRADATION

    @classmethod
    def evaluation(cls, degradation: Degradation | None) -> "Making":
        """Pictures as they are, degraded alike in every run, whatever its seed."""
        return cls(degradation, None, 0, Purpose.EVALUATION)

    def __call__(self, picture: Picture, name: str, key: Key) -> Sample:
        """The sample of one picture."""
        if self.augmentation is not None:
            picture = self.augmentation.alone(picture, sample_generator(self.seed, *key))
        return self.degraded(picture, name, key)

    def degraded(self, picture: Picture, name: str, key: Key) -> Sample:
        """The sample of one picture that is augmented already."""
        target = planes(picture)
        if self.degradation is None:
            return {"image": target, "target": target, "name": name}
        degraded = self.degradation(picture, sample_generator(self.seed, *key, self.purpose))
        return {
            "image": planes(degraded.image),
            "target": target,
            "name": name,
            "label": torch.from_numpy(degraded.label),
            "degradation": str(degraded),
        }


@final
class DegradedPhotographs(Dataset[Sample]):
    """Photographs beside what a degradation makes of them, by keys (epoch, index).

    Args:
        photographs: the clean ones.
        making: how each becomes a sample.
        references: how many other photographs of the same person go with each.

    Raises:
        ValueError: if references are asked for and the set does not say who is on them, or holds
            somebody with a single photograph; `datamodules.identities` leaves those out.
    """

    def __init__(self, photographs: Photographs, making: Making, references: int = 0) -> None:
        self.photographs = photographs
        self.making = making
        self.references = None
        if references:
            self.references = References(photographs, references, making.seed)

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, key: Key) -> Sample:
        i = key[1]
        sample = self.making(self.photographs.picture(i), self.photographs.name(i), key)
        if self.photographs.people is not None:
            sample["identity"] = int(self.photographs.people[i])
        if self.references is not None:
            chosen = self.references.chosen(key)
            pictures = [planes(self.photographs.picture(j)) for j in chosen]
            sample["references"] = torch.stack(pictures)
            sample["photograph"], sample["shown"] = i, torch.tensor(chosen)
        return sample


@final
class References:
    """Which other photographs of the same person go with a photograph, D_C (NASFE, Section 3.2).

    Drawn anew in each epoch, without repetition as far as the person has enough of them.

    Raises:
        ValueError: if nobody knows who is on the photographs, or somebody is on one only.
    """

    def __init__(self, photographs: Photographs, count: int, seed: int) -> None:
        if photographs.people is None:
            raise ValueError(
                "references are other photographs of the same person, and this set does not say "
                "who is on which; set references to 0"
            )
        self._people = photographs.people
        self._count = count
        self._seed = seed
        self._order = np.argsort(self._people, kind="stable")
        _, self._first, self._size = np.unique(
            self._people[self._order], return_index=True, return_counts=True
        )
        self._rank = np.unique(self._people, return_inverse=True)[1]
        if len(self._size) and self._size.min() < 2:
            lonely = int(self._order[self._first[self._size.argmin()]])
            raise ValueError(
                f"{photographs.name(lonely)} is the only photograph of its person, so it has no "
                "references; leave it out or set references to 0"
            )

    def chosen(self, key: Key) -> list[int]:
        """The numbers of the references of photograph `key[1]` in epoch `key[0]`."""
        person = self._rank[key[1]]
        first, size = self._first[person], self._size[person]
        others = self._order[first : first + size]
        others = others[others != key[1]]
        generator = sample_generator(self._seed, *key, Purpose.REFERENCES)
        order = np.concatenate(
            [generator.permutation(others) for _ in range(-(-self._count // len(others)))]
        )
        return [int(i) for i in order[: self._count]]


@final
class PairedPhotographs(Dataset[Sample]):
    """Degraded photographs that are there, beside clean ones, by keys (epoch, index).

    Args:
        images: the degraded ones.
        targets: the clean ones, in the same order.
        augmentation: one draw for both pictures of a pair.
        seed: of the draws.

    Raises:
        ValueError: if there are not as many of both.
    """

    def __init__(
        self,
        images: Photographs,
        targets: Photographs,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        if len(images) != len(targets):
            raise ValueError(f"{len(images)} degraded photographs stand beside {len(targets)}")
        self.images = images
        self.targets = targets
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> Sample:
        i = key[1]
        image, target = self.images.picture(i), self.targets.picture(i)
        if self._augmentation is not None:
            generator = sample_generator(self._seed, *key)
            image, target = self._augmentation.together(image, target, generator)
        name = self.images.name(i)
        return {"image": planes(image), "target": planes(target), "name": name}


@final
class SinglePhotographs(Dataset[Sample]):
    """Photographs without a clean form, as they are; samples have no target."""

    def __init__(self, photographs: Photographs) -> None:
        self.photographs = photographs

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, key: Key) -> Sample:
        i = key[1]
        image = planes(self.photographs.picture(i))
        return {"image": image, "name": self.photographs.name(i)}
