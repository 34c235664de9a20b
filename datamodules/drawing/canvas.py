"""The picture while it is painted: linear light, bare skin that still shows, and what is where."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.drawing.parts import Part
from datamodules.drawing.shapes import Plane

Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))


@dataclass
class Canvas:
    """A portrait and the map of its parts.

    Attributes:
        colour: linear, (3, h, w).
        bare: (h, w), the share of the pixel that is bare face.
        parts: (h, w), what each pixel shows, a `Part`.
    """

    colour: Plane
    bare: Plane
    parts: NDArray[np.uint8]

    def paint(self, alpha: Plane, colour: Plane, window: Window = WHOLE) -> None:
        """Lay `colour` over the picture and over the skin, with the opacity `alpha`."""
        self.tint(alpha, colour, window)
        self.bare[window] *= 1.0 - alpha

    def tint(self, alpha: Plane, colour: Plane, window: Window = WHOLE) -> None:
        """Lay `colour` over the picture; the skin under it still counts as bare."""
        part = self.colour[:, window[0], window[1]]
        part += alpha * (colour - part)

    def darken(self, alpha: Plane, window: Window = WHOLE) -> None:
        """Take the share `alpha` of the light away."""
        self.colour[:, window[0], window[1]] *= 1.0 - alpha

    def name(self, cover: Plane, part: Part, window: Window = WHOLE) -> None:
        """Note that `part` is what shows where it covers half a pixel or more."""
        self.parts[window][cover >= 0.5] = part


def empty(side: int) -> Canvas:
    """A black picture without a face."""
    colour, bare = np.zeros((3, side, side), np.float32), np.zeros((side, side), np.float32)
    return Canvas(colour, bare, np.full((side, side), Part.BACKGROUND, np.uint8))
