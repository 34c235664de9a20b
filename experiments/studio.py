"""A photograph at a time through a trained network, to be looked at with more or less of it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from datamodules.faces import Corners
from datamodules.images import PIXELS, UnreadableImage, check_header
from datamodules.inbox import Crops, Entry, Piece, Visits
from datamodules.listing import SUFFIXES
from datamodules.original import Pixels, eight_bits, encoded
from experiments.pasting import Change, Patch, heat, panel, pasted
from experiments.restorer import AT_ONCE, Restorer
from lightning_modules.base import Training
from lightning_modules.crn import ComponentRegression

LONGEST: Final = 1600  # side of what is shown, in pixels; what is kept has the size of the input

Picture = UInt8[np.ndarray, "h w 3"]


@final
@dataclass(frozen=True)
class Finding:
    """A photograph and what the network would change on it.

    Attributes:
        piece: the photograph with its faces.
        parts: the change of each face by the first component of the edit, by the first two, and
            so on to all; only all of it where the network knows no components.
        masks: where each face was changed, in [0, 1]; none where the method does not tell.
        overlay: the photograph with the masks glowing on it; None without masks.
        seconds: that it took.
    """

    piece: Piece
    parts: list[list[Change]]
    masks: list[np.ndarray]
    overlay: Picture | None
    seconds: float

    def patches(self, strength: float, count: int) -> list[Patch]:
        """What is pasted back, for a share in [0, 1] of the first `count` components' change.

        Raises:
            ValueError: if `strength` is not in [0, 1], or there are not so many components.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"the strength must be in [0, 1], got {strength}")
        if not 1 <= count <= len(self.parts):
            raise ValueError(f"the components must be 1 to {len(self.parts)}, got {count}")
        changes = self.parts[count - 1]
        # Where nothing was looked for, the picture itself is the crop.
        corners: list[Corners | None] = [*self.piece.corners] or [None] * len(changes)
        scaled = [np.float32(strength) * change for change in changes]
        return [Patch(*pair) for pair in zip(corners, scaled, strict=True)]


class Result(NamedTuple):
    """What is shown of a photograph, and what is kept.

    Attributes:
        before: as it was, not above `LONGEST` pixels a side.
        after: with the change.
        faces: the first faces before, after and, where the method tells it, what was changed;
            None where there is no face.
        file: of the kind, depth and metadata of the input.
        note: what happened, in a sentence.
    """

    before: Picture
    after: Picture
    faces: Picture | None
    file: bytes
    note: str


@final
class Studio:
    """A trained method for many visitors.

    The detector remembers the size of its last picture, and two photographs at once would want
    the memory of two and be no faster on the same cores, so faces are found and restored under a
    lock; reading limits, pasting and encoding are not.

    Args:
        method: with its trained weights.
        crops: how a picture becomes what the network sees.
        pixels: most of a photograph.
    """

    def __init__(self, method: Training, crops: Crops, pixels: int = PIXELS) -> None:
        self.method, self.crops, self.pixels = method, crops, pixels
        self._restorer, self._lock = Restorer(method), threading.Lock()

    @property
    def components(self) -> int:
        """How many components of an edit the method can take back one by one; 1 for none."""
        if isinstance(self.method, ComponentRegression) and self.method.discrepancy:
            return len(self.method.network.heads)
        return 1

    def find(self, path: Path) -> Finding:
        """What the network would change on a photograph.

        Raises:
            UnreadableImage: if there is none, it is too large, or the network cannot take it.
        """
        began = time.perf_counter()
        if path.suffix.lower() not in SUFFIXES:
            raise UnreadableImage(f"{path.name}: is not a PNG, JPEG, WebP or TIFF picture")
        try:
            check_header(path, self.pixels)
        except UnreadableImage as error:
            raise UnreadableImage(str(error).replace(str(path), path.name)) from None
        with self._lock, torch.inference_mode():
            item = next(iter(Visits([Entry(path, path.name)], self.crops)))
            answer = self._restorer.predict_step(item, 0)
            failure = item["piece"].failure or answer.failure
            if failure:
                raise UnreadableImage(f"{path.name}: {failure}")
            parts = [*self._fewer(item["image"]), answer.changes]
        overlay = _overlay(item, answer.masks) if answer.masks else None
        seconds = time.perf_counter() - began
        return Finding(item["piece"], parts, answer.masks, overlay, seconds)

    def _fewer(self, faces: Tensor) -> list[list[Change]]:
        """The changes by the first component, by the first two, ..., but not by all."""
        counts = range(1, self.components)
        parts: list[list[Change]] = [[] for _ in counts]
        if not counts:
            return parts
        assert isinstance(self.method, ComponentRegression)
        for some in faces.split(AT_ONCE):
            for part, image in zip(
                parts, self.method.restore_with_first(some, counts), strict=True
            ):
                part.extend((image - some).permute(0, 2, 3, 1).numpy())
        return parts


def result(finding: Finding, strength: float, count: int) -> Result:
    """The photograph with a share in [0, 1] of the first `count` components' change.

    Raises:
        ValueError: if `strength` is not in [0, 1], or there are not so many components.
    """
    piece, patches = finding.piece, finding.patches(strength, count)
    original = piece.original
    assert original is not None
    after = pasted(piece.pixels, patches, original.grey)
    return Result(
        _preview(piece.pixels),
        _preview(after),
        panel(piece.pixels, after, patches, finding.masks) if patches else None,
        encoded(original, after) if patches else piece.entry.path.read_bytes(),
        _note(finding, len(patches)),
    )


def _note(finding: Finding, faces: int) -> str:
    if not faces:
        return "No face was found on this photograph, so it stays as it is."
    found = "1 face" if faces == 1 else f"{faces} faces"
    told = f"{found} changed in {finding.seconds:.1f} seconds."
    original = finding.piece.original
    return f"{told} Note: {original.note}." if original is not None and original.note else told


def _overlay(item: dict[str, Any], masks: Sequence[np.ndarray]) -> Picture:
    """The photograph of an item, glowing where its faces were changed."""
    piece: Piece = item["piece"]
    crops = item["image"].permute(0, 2, 3, 1).numpy()
    corners: list[Corners | None] = [*piece.corners] or [None]
    lit = [np.asarray(heat(mask), np.float32) / 255 for mask in masks]
    glows = [m[..., None] * (bright - c) for m, bright, c in zip(masks, lit, crops, strict=True)]
    patches = [Patch(*pair) for pair in zip(corners, glows, strict=True)]
    return _preview(pasted(eight_bits(piece.pixels), patches))


def _preview(pixels: Pixels) -> Picture:
    shown = eight_bits(pixels)
    scale = LONGEST / max(shown.shape[:2])
    if scale >= 1:
        return shown
    height, width = (max(1, round(side * scale)) for side in shown.shape[:2])
    return np.asarray(cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA))
