"""The suite's degradations in a pipeline of albumentations."""

from typing import Any, final

import albumentations
import numpy as np

from datamodules.degradations.base import Degradation, Image


@final
class Degrade(albumentations.ImageOnlyTransform):
    """A degradation as a transform of the image alone; masks and the like stay as they are.

    Each call draws one seed from the transform's generator, so the picture is a function of what
    `set_random_state` gave. Images of one call, such as additional targets of type "image", are
    degraded by the same draw. A copy of the transform in another process has the same generator as
    the first: give each sample its own, as `datamodules.pairs.Augmentation` does.

    Args:
        degradation: what is done.
        p: probability of doing it.
    """

    def __init__(self, degradation: Degradation, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.degradation = degradation

    def get_params(self) -> dict[str, Any]:
        """The seed of this call."""
        return {"seed": int(self.random_generator.integers(2**63))}

    def apply(self, img: Image, *args: Any, **params: Any) -> Image:
        """`img` degraded."""
        generator = np.random.Generator(np.random.Philox(params["seed"]))
        return self.degradation(img, generator).image
