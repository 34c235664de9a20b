"""What a network changed on faces, put back into the photograph that they were cut from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from datamodules.faces import Corners, cut, extent, to_crop
from datamodules.original import Pixels, eight_bits, largest

FEATHER: Final = (0.15, 0.25)
"""Share of a crop's height and width over which a change fades in from each border.

A face nearly fills its crop's height and leaves room at the sides.
"""

Change = Float32[np.ndarray, "h w 3"]
_SIDE, _ROWS, _GAP = 320, 4, 4  # of a panel: pixels of a face, faces at most, pixels between
_GREY: Final = np.array([0.299, 0.587, 0.114], np.float32)


@final
@dataclass(frozen=True)
class Patch:
    """What was changed on one face.

    Attributes:
        corners: of the crop in the photograph; None where all of it is the crop.
        change: output minus input, in units of white.
    """

    corners: Corners | None
    change: Change


class _Box(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def inside(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, other: "_Box") -> tuple[slice, slice]:
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )


def feathered(place: np.ndarray, share: float) -> np.ndarray:
    """Weights of places along a side from 0 to 1: 1, but smoothly to 0 over `share` at each end."""
    ramp = np.clip(np.minimum(place, 1 - place) / share, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def pasted(pixels: Pixels, patches: Sequence[Patch], grey: bool = False) -> Pixels:
    """The photograph with the changes of its faces; every pixel that no face changes is the same.

    Where faces overlap each counts by its weight, and the weights never sum to more than 1.

    Args:
        pixels: of the photograph, 8 or 16 bits.
        patches: of its faces.
        grey: whether the changes are to have no colour.
    """
    if patches and patches[0].corners is None:
        return changed(pixels, patches[0].change, grey)
    found = [(patch.change, patch.corners) for patch in patches if patch.corners is not None]
    placed = [(change, corners, _box(corners, pixels.shape)) for change, corners in found]
    seen = [each for each in placed if min(each[2].shape) > 0]
    if not seen:
        return pixels
    tops, bottoms, lefts, rights = zip(*(box for *_, box in seen), strict=True)
    whole = _Box(min(tops), max(bottoms), min(lefts), max(rights))
    total = np.zeros((*whole.shape, 3), np.float32)
    weights = np.zeros(whole.shape, np.float32)
    for change, corners, box in seen:
        moved, weight = _warped(change, corners, box)
        total[box.within(whole)] += moved * weight[..., None]
        weights[box.within(whole)] += weight
    total /= np.maximum(weights, 1)[..., None]
    result = pixels.copy()
    result[whole.inside] = changed(pixels[whole.inside], total, grey)
    return result


def changed(pixels: Pixels, change: Change, grey: bool = False) -> Pixels:
    """`pixels` plus a change of the whole picture, rounded.

    Args:
        pixels: 8 or 16 bits.
        change: in units of white; another size is resized.
        grey: whether the change is to have no colour.
    """
    height, width = pixels.shape[:2]
    if change.shape[:2] != (height, width):
        shrinks = change.shape[0] >= height and change.shape[1] >= width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        change = cv2.resize(change, (width, height), interpolation=method)
    if grey:
        change = np.repeat((change @ _GREY)[..., None], 3, 2)
    white = largest(pixels)
    return np.clip(np.rint(pixels + change * white), 0, white).astype(pixels.dtype)


def _box(corners: Corners, shape: tuple[int, ...]) -> _Box:
    """The pixels of the photograph that a crop covers."""
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, shape[1::-1]).astype(int)
    return _Box(int(top), int(bottom), int(left), int(right))


def _warped(
    change: Change, corners: Corners, box: _Box
) -> tuple[Change, Float32[np.ndarray, "h w"]]:
    """A change and its weights as they lie in the photograph."""
    height, width = extent(corners)
    if height < change.shape[0]:  # shrunk first, or fine detail would alias
        small = max(1, round(width)), max(1, round(height))
        change = cv2.resize(change, small, interpolation=cv2.INTER_AREA)
    local = corners - np.array([box.left, box.top])
    warped = cv2.warpAffine(
        change,
        to_crop(local, (change.shape[0], change.shape[1])),
        box.shape[::-1],
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped, _weights(local, box)


def _weights(corners: Corners, box: _Box) -> Float32[np.ndarray, "h w"]:
    y, x = np.ogrid[: box.shape[0], : box.shape[1]]
    across, down = to_crop(corners, (1, 1)).astype(np.float32)
    places = [row[0] * x.astype(np.float32) + row[1] * y + row[2] + 0.5 for row in (across, down)]
    weights = feathered(places[0], FEATHER[1]) * feathered(places[1], FEATHER[0])
    return np.asarray(weights, np.float32)


def panel(
    before: Pixels, after: Pixels, patches: Sequence[Patch], masks: Sequence[np.ndarray]
) -> UInt8[np.ndarray, "h w 3"]:
    """The first faces before, after and, where the method tells it, what was changed; enlarged.

    Args:
        before: the photograph.
        after: the same, restored.
        patches: one or more.
        masks: of each, in [0, 1], or none.
    """
    height, width = patches[0].change.shape[:2]
    size = _SIDE, round(_SIDE * width / height)
    rows = []
    for i, patch in enumerate(patches[:_ROWS]):
        pictures = [before, after]
        if patch.corners is not None:
            tiles = [cut(each, patch.corners, size) * 255 for each in pictures]
            shown = [np.rint(tile).astype(np.uint8) for tile in tiles]
        else:
            shown = [cv2.resize(eight_bits(each), size[::-1]) for each in pictures]
        if masks:
            shown.append(heat(cv2.resize(masks[i], size[::-1])))
        rows.append(np.concatenate([_framed(tile) for tile in shown], 1))
    return np.concatenate(rows, 0)


def heat(mask: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """A mask in [0, 1], (h, w), as colours, from black over red to light yellow."""
    levels = np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1])


def _framed(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
