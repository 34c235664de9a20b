"""The picture while it is painted: linear light, and how much of the bare skin still shows."""

from dataclasses import dataclass

import numpy as np

from datamodules.drawing.shapes import Plane

Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))


@dataclass
class Canvas:
    """Linear colour (3, h, w), and `bare` (h, w): the share of the pixel that is bare face."""

    colour: Plane
    bare: Plane

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


def empty(side: int) -> Canvas:
    """A black picture without a face."""
    return Canvas(np.zeros((3, side, side), np.float32), np.zeros((side, side), np.float32))
