"""Augmentation by albumentations, drawn from the suite's own generators."""

import random
from typing import final

import albumentations
import numpy as np

from datamodules.reading import Picture


@final
class Augmentation:
    """An albumentations pipeline whose draws come from the generator given with each call.

    Deviation: `Compose.set_random_seed` gives every transform the same seed, so that two of them
    at p = 0.5 always act together; here they share one generator
    (`test_two_transforms_of_a_pipeline_act_independently`).

    Raises:
        TypeError: if the pipeline is no albumentations.Compose.
    """

    def __init__(self, transform: albumentations.Compose | None = None) -> None:
        if transform is None:
            transform = albumentations.Compose([albumentations.HorizontalFlip(p=0.5)])
        if not isinstance(transform, albumentations.Compose):
            raise TypeError(f"transform must be an albumentations.Compose, got {transform!r}")
        transform.add_targets({"target": "image"})
        self._transform = transform

    def together(
        self, image: Picture, target: Picture, generator: np.random.Generator
    ) -> tuple[Picture, Picture]:
        """`image` and `target` after one and the same draw.

        Raises:
            ValueError: if the pipeline gives anything but 8-bit pictures.
        """
        self._seed(generator)
        both = self._transform(image=image, target=target)
        return _still_a_picture(both["image"]), _still_a_picture(both["target"])

    def alone(self, image: Picture, generator: np.random.Generator) -> Picture:
        """`image` after a draw of its own.

        Raises:
            ValueError: if the pipeline gives anything but 8-bit pictures.
        """
        self._seed(generator)
        return _still_a_picture(self._transform(image=image)["image"])

    def _seed(self, generator: np.random.Generator) -> None:
        plain = random.Random(int(generator.integers(2**63)))
        self._transform.set_random_state(generator, plain)


def _still_a_picture(image: np.ndarray) -> Picture:
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(
            "transform must leave 8-bit pictures (h, w, 3), "
            f"got {image.dtype} of shape {tuple(image.shape)}; leave ToFloat, Normalize and "
            "ToTensorV2 out of it"
        )
    return image
