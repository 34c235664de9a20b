"""Pairs whose halves lie in two folders of one set under the same names."""

import os
from dataclasses import dataclass

import numpy as np

from datamodules.index import FileIndex, Positions


@dataclass(frozen=True, slots=True)
class Pairs:
    """Some pairs of a set.

    Attributes:
        names: of the pairs, in order; each is the path below either folder, without its ending.
        images: where what a network gets is in the index.
        targets: where what it has to give is.
    """

    names: list[str]
    images: Positions
    targets: Positions

    def some(self, chosen: Positions) -> "Pairs":
        """Those numbered `chosen`."""
        names = [self.names[i] for i in chosen]
        return Pairs(names, self.images[chosen], self.targets[chosen])


def paired(files: FileIndex, images: str, targets: str) -> Pairs:
    """The pairs of the folders `images` and `targets`, by name.

    Raises:
        ValueError: if a photograph lacks its other half, or two have one name.
    """
    given, wanted = _named(files, images), _named(files, targets)
    single = sorted(given.keys() ^ wanted.keys())
    if single:
        there, lacking = (given, targets) if single[0] in given else (wanted, images)
        raise ValueError(
            f"{len(single)} of {len(given.keys() | wanted.keys())} photographs in "
            f"{files.root / os.path.commonpath([images, targets])} lack their other half; the "
            f"first is {files.path(there[single[0]])}, which has none in {lacking}"
        )
    names = sorted(given)
    both = [np.array([half[name] for name in names], np.int64) for half in (given, wanted)]
    return Pairs(names, *both)


def check_shapes(files: FileIndex, pairs: Pairs) -> None:
    """Nothing, if both halves of each pair have one shape, as far as the index tells.

    Raises:
        ValueError: otherwise; names the first.
    """
    shapes = np.stack([files.listing.heights, files.listing.widths], 1)
    differing = (shapes[pairs.images] != shapes[pairs.targets]).any(1)
    if not differing.any():
        return
    first = int(differing.argmax())
    (height, width), (other_height, other_width) = (
        shapes[half[first]] for half in (pairs.images, pairs.targets)
    )
    raise ValueError(
        f"{differing.sum()} of {len(pairs.names)} pairs have halves of two shapes; the first is "
        f"{files.path(int(pairs.images[first]))}, {width} x {height} beside "
        f"{other_width} x {other_height}; bring both halves to one shape"
    )


def _named(files: FileIndex, half: str) -> dict[str, int]:
    """Where the photograph of each name in the folder `half` is."""
    found: dict[str, int] = {}
    for position in files.below(half).tolist():
        name = files.name(position)[len(half) + 1 :].rpartition(".")[0]
        if name in found:
            both = f"{files.path(found[name])} and {files.path(position)}"
            raise ValueError(f"{both} have one name; remove one of them")
        found[name] = position
    return found
