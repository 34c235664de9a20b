"""The folder trees of the data sets: where each picture goes, for prepared and for drawn faces.

A layout only names places and shapes. `datamodules.preparation` and `datamodules.portraits` fill
it from photographs, `datamodules.synthetic` from drawn faces.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from datamodules.alignment import CELEBA_HEIGHT, CELEBA_WIDTH, celeba_quad, ffhq_quad
from datamodules.degradations.beautify import EDITORS, Editor
from datamodules.degradations.ispl import Full
from datamodules.numbered import RAW, RETOUCHED, SPLITS
from datamodules.stream import Purpose, Split, sample_generator

Picture = UInt8[np.ndarray, "h w 3"]

Kind = Literal["photograph", "retouched", "degraded"] | Editor
"""A picture of a face: as it was taken or drawn, without blemishes, spoilt, or beautified."""

_LONGEST_NAME: Final = 100  # bytes; endings and numbers are added, and 255 is what disks take
_REFUSED: Final = frozenset('<>:"/\\|?*')  # by one system or another
_PLENTY: Final = 10_000_000
_WIDE: Final[Mapping[Split, range]] = {
    "train": range(_PLENTY),
    "val": range(_PLENTY, 2 * _PLENTY),
    "test": range(2 * _PLENTY, 3 * _PLENTY),
}


@final
@dataclass(frozen=True, slots=True)
class Face:
    """A face that has a place in a set.

    Attributes:
        number: within the set; decides the split.
        person: who it is.
        name: path of the photograph it is on, below the folder of photographs.
        nth: which face of that photograph, from 0.
    """

    number: int
    person: str
    name: str
    nth: int = 0


Files = Mapping[Kind, str]


def _square(size: int) -> tuple[int, int]:
    return size, size


def _no_notes(layout: "Layout", faces: Sequence[Face]) -> dict[str, str]:  # noqa: ARG001
    return {}


@final
@dataclass(frozen=True)
class Layout:
    """The tree of one data set.

    Attributes:
        numbers: of the faces in each split; a tree that knows no splits has one entry.
        tree: path below the set's folder of each kind of picture, for a face and its split.
        shape: height and width of the pictures for a size asked for.
        quad: corners of the square around five landmarks, whose middle columns are the picture.
        notes: annotation files, written last: the content by the path.
        unit: what is counted, in the singular.
        note: what whoever uses the set has to know; goes into its manifest.
        origins: the number that stands for the first of a split, if it is not the first used.
    """

    numbers: Mapping[Split, range]
    tree: Callable[[Face, Split], Files]
    shape: Callable[[int], tuple[int, int]] = _square
    quad: Callable[[np.ndarray], np.ndarray] = ffhq_quad
    notes: Callable[["Layout", Sequence[Face]], dict[str, str]] = _no_notes
    unit: str = "picture"
    note: str = ""
    origins: Mapping[Split, int] = field(default_factory=dict)

    def split_of(self, number: int) -> Split:
        """The split that `number` belongs to.

        Raises:
            ValueError: if it belongs to none.
        """
        for split, numbers in self.numbers.items():
            if number in numbers:
                return split
        ranges = ", ".join(f"[{known.start}, {known.stop})" for known in self.numbers.values())
        raise ValueError(f"number must be in {ranges}, got {number}")

    def home(self, split: Split) -> Split:
        """`split`, or the only one of a tree that knows no splits."""
        return split if split in self.numbers else next(iter(self.numbers))

    def place(self, number: int) -> int:
        """How many numbers of its split come before `number`.

        Raises:
            ValueError: if it belongs to no split.
        """
        split = self.split_of(number)
        return number - self.origins.get(split, self.numbers[split].start)

    def files(self, face: Face) -> Files:
        """Where the pictures of `face` lie below the set's folder.

        Raises:
            ValueError: if its number belongs to no split.
        """
        return self.tree(face, self.split_of(face.number))

    def annotations(self, faces: Sequence[Face]) -> dict[str, str]:
        """The annotation files of a set of these faces: the content by the path."""
        return self.notes(self, sorted(faces, key=lambda face: face.number))

    def framed(self, square: Picture) -> Picture:
        """The columns in the middle of `square` that belong to the picture, if not all."""
        height, width = square.shape[:2]
        wanted = round(height * self.shape(height)[1] / self.shape(height)[0])
        left = (width - wanted) // 2
        return square[:, left : left + wanted]


def degraded(picture: Picture, seed: int, number: int) -> Picture:
    """`picture` spoilt by ISPL's `full`, a function of the seed and the face's number.

    Raises:
        ValueError: if `seed` or `number` is negative.
    """
    image = Full()(picture, sample_generator(seed, 0, number, Purpose.DEGRADATION)).image
    return np.asarray(image, np.uint8)


def jpeg(picture: Picture) -> bytes:
    """`picture` as Pillow writes JPEG at quality 95."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=95)
    return data.getvalue()


def safe_name(text: str) -> str:
    """`text` as the name of one file or folder on any system.

    Equal names come from equal texts only: what had to be changed ends in a checksum.
    """
    shown = [c if c.isprintable() and c not in _REFUSED else "_" for c in text]
    shortened = "".join(shown).encode()[:_LONGEST_NAME].decode(errors="ignore")
    name = shortened.rstrip(" .")
    name = f"_{name[1:]}" if name[:1] in ("", ".", " ") else name
    if name == text:
        return text
    return f"{name}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _thousands(number: int) -> str:
    return f"{number // 1000 * 1000:05d}/{number:05d}.png"


def _ffhq(face: Face, split: Split) -> Files:  # noqa: ARG001
    return {"photograph": f"{RAW}/{_thousands(face.number)}"}


def _ffhqr(face: Face, split: Split) -> Files:  # noqa: ARG001
    name = _thousands(face.number)
    return {"photograph": f"{RAW}/{name}", "retouched": f"{RETOUCHED}/{name}"}


def _celeba(face: Face, split: Split) -> Files:  # noqa: ARG001
    return {"photograph": f"img_align_celeba/{face.number:06d}.jpg"}


def _celeba_shape(size: int) -> tuple[int, int]:  # noqa: ARG001 - the set has one size only
    return CELEBA_HEIGHT, CELEBA_WIDTH


def _celeba_notes(layout: Layout, faces: Sequence[Face]) -> dict[str, str]:
    parts = list(layout.numbers)
    identities: dict[str, int] = {}
    for face in faces:
        identities.setdefault(face.person, face.number)  # stays when people are added
    split = {face.number: parts.index(layout.split_of(face.number)) for face in faces}
    identity = {face.number: identities[face.person] for face in faces}
    return {"list_eval_partition.txt": _table(split), "identity_CelebA.txt": _table(identity)}


def _table(values: Mapping[int, int]) -> str:
    return "".join(f"{number:06d}.jpg {value}\n" for number, value in values.items())


def _vggface2(face: Face, split: Split) -> Files:
    folder = "test" if split == "test" else "train"
    place = face.number - _WIDE[split].start + 1
    return {"photograph": f"{folder}/{safe_name(face.person)}/{place:04d}_01.jpg"}


def _facerenov(face: Face, split: Split) -> Files:
    name = f"{face.number - _WIDE[split].start:05d}.png"
    if face.person != face.name:  # pairs for validation are held out by these folders
        name = f"{safe_name(face.person)}/{name}"
    if split == "val":
        return {"degraded": f"real_lq/{name}"}
    return {"degraded": f"{split}/lq/{name}", "photograph": f"{split}/hq/{name}"}


def _frwild(face: Face, split: Split) -> Files:  # noqa: ARG001
    return {"degraded": f"{face.number:05d}.png"}


def _folder(face: Face, split: Split) -> Files:  # noqa: ARG001
    # The whole name stays, ending and all, so that a.jpg and a.png do not meet.
    ending = f"_{face.nth + 1}.png" if face.nth else ".png"
    if face.name == face.person:
        return {"photograph": safe_name(face.name) + ending}
    below = face.name.removeprefix(f"{face.person}/").split("/")
    return {"photograph": "/".join(map(safe_name, [face.person, *below])) + ending}


def _makeup(face: Face, split: Split) -> Files:
    name = _folder(face, split)["photograph"]
    edited: Files = {each: f"{each}/{name}" for each in EDITORS}
    return {"photograph": f"original/{name}", **edited}


# Both divisions of datamodules.ffhq put these numbers into the same splits.
_FFHQ_NUMBERS: Final[Mapping[Split, range]] = {
    "train": range(10_000),
    "val": range(60_000, 63_000),
    "test": range(65_000, 70_000),
}
_CELEBA_NUMBERS: Final[Mapping[Split, range]] = {
    "train": range(1, 162_771),
    "val": range(162_771, 182_638),
    "test": range(182_638, 202_600),
}
_STAND_IN: Final = "degraded pictures are synthetic (ISPL's full degradation of sound photographs)"

LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "ffhq": Layout(_FFHQ_NUMBERS, _ffhq, origins={name: SPLITS[name].start for name in SPLITS}),
        "ffhqr": Layout(SPLITS, _ffhqr, unit="pair"),
        "celeba": Layout(_CELEBA_NUMBERS, _celeba, _celeba_shape, celeba_quad, _celeba_notes),
        "vggface2": Layout(_WIDE, _vggface2),
        "facerenov": Layout(
            _WIDE,
            _facerenov,
            unit="face",
            note=f"{_STAND_IN}: a stand-in for FaceRenov, which is not published; real_lq holds "
            "further people, the share for validation",
        ),
        "frwild": Layout(
            {"test": range(_PLENTY)},
            _frwild,
            note=f"{_STAND_IN}: a stand-in for FR-wild; photographs that are bad already are put "
            "into the folder as they are, or cropped by --set=folder",
        ),
        "folder": Layout({"train": range(_PLENTY)}, _folder),
        "makeup": Layout(
            {"train": range(_PLENTY)},
            _makeup,
            unit="portrait",
            note="edits are synthetic (datamodules.degradations.beautify): stand-ins for Meitu, "
            "Photoshop Express and Instagram",
        ),
    }
)
"""The tree of each set by its name, as in `make prepare SET=` and `make data SET=`."""
