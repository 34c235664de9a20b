"""Augmentation by albumentations, drawn from the suite's own generators."""

import random
from typing import final

import albumentations
import numpy as np
from jaxtyping import UInt8

from datamodules.reading import Picture

Labels = UInt8[np.ndarray, "h w"]
_PROBES = 16  # places a side that tell how a picture lies


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

    def labelled(
        self, image: Picture, labels: Labels, generator: np.random.Generator
    ) -> tuple[Picture, Labels, bool]:
        """`image` as `alone` gives it, its labels moved along, and whether both were mirrored.

        Where a transform leaves an empty corner, the label is 0. What is mirrored is found out
        from the pixels' own places, which go through the pipeline beside the labels, so that any
        transform of albumentations may be in it.

        Raises:
            ValueError: if the pipeline gives anything but 8-bit pictures.
        """
        self._seed(generator)
        mask = np.dstack([labels, *_places(labels.shape)])
        both = self._transform(image=image, mask=mask)
        moved = both["mask"]
        return _still_a_picture(both["image"]), moved[..., 0], _is_mirrored(moved[..., 1:])

    def _seed(self, generator: np.random.Generator) -> None:
        plain = random.Random(int(generator.integers(2**63)))
        self._transform.set_random_state(generator, plain)


def _places(shape: tuple[int, ...]) -> tuple[Labels, Labels]:
    """How far right and how far down each pixel lies, from 0 to 255."""
    down, right = (np.linspace(0, 255, side).astype(np.uint8) for side in shape)
    return np.broadcast_to(right, shape), np.broadcast_to(down[:, None], shape)


def _is_mirrored(places: UInt8[np.ndarray, "h w 2"]) -> bool:
    """Whether the plane's orientation is another than that of `_places`."""
    some = slice(None, None, max(1, min(places.shape[:2]) // _PROBES))
    here = np.stack(_places(places.shape[:2]))[:, some, some].reshape(2, -1).astype(float)
    there = places[some, some].reshape(-1, 2).astype(float)
    here -= here.mean(1, keepdims=True)
    return bool(np.linalg.det(here @ there) < 0)


def _still_a_picture(image: np.ndarray) -> Picture:
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(
            "transform must leave 8-bit pictures (h, w, 3), "
            f"got {image.dtype} of shape {tuple(image.shape)}; leave ToFloat, Normalize and "
            "ToTensorV2 out of it"
        )
    return image
