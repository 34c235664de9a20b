"""NIQE: how far an image's statistics lie from those of clean ones, without a target.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer",
IEEE Signal Processing Letters 20(3), 2013. The form that super-resolution papers report: the
authors' MATLAB code on the rounded luma of BT.601. Not to be compared with HiFaceGAN's numbers,
which are of another lightness and of a bilinear half.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ops.metrics.convention import luma
from ops.metrics.imresize import imresize
from ops.metrics.mean import MeanOfImages
from ops.metrics.natural_scene import (
    blocks,
    complete,
    features,
    local_contrast,
    mean_and_covariance,
)
from ops.nets.weights import verify

BLOCK = 96  # pixels; half of it at the second scale
SHARP = 0.75  # of the sharpest block's deviation: below it a block is no part of a model
FEATURES = 36
_KEYS = {"mean": "mu_pris_param", "covariance": "cov_pris_param", "window": "gaussian_window"}
_HALF = 0.5 + 1e-5  # luma computed from float32 misses a half by less than 1e-5 of a level


def gaussian_window(side: int = 7, sigma: float = 7 / 6) -> Float64[Tensor, "side side"]:
    """The paper's window of 7 x 7 pixels out to three deviations, its sum 1."""
    place = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    line = torch.exp(-place.square() / (2 * sigma**2))
    return torch.outer(line, line) / line.sum().square()


@final
@dataclass(frozen=True, eq=False)
class NiqeModel:
    """What the blocks of clean images are like: a Gaussian over their features.

    Attributes:
        mean: (36,) in float64.
        covariance: (36, 36) in float64.
        window: weights of a pixel's surroundings, with which the features have to be taken.

    Raises:
        ValueError: if a shape is wrong, a number not finite, or the window not an outer product.
    """

    mean: Tensor
    covariance: Tensor
    window: Tensor

    def __post_init__(self) -> None:
        """Checks what came from a file or a fit."""
        _check_shapes(self.mean, self.covariance, self.window)
        for name, values in vars(self).items():
            if not values.isfinite().all():
                raise ValueError(f"{name} of a NIQE model must be finite, got NaN or infinity")
        lines = torch.outer(self.window.sum(1), self.window.sum(0))
        if not torch.allclose(lines, self.window, rtol=0, atol=1e-6):
            raise ValueError(
                "the window of a NIQE model must sum to 1 and be an outer product of two lines, "
                f"got a sum of {float(self.window.sum()):.6g}"
            )

    @classmethod
    def read(cls, path: str) -> "NiqeModel":
        """The model in an .npz file with the names that the authors' parameters go by.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it has other names or what a model refuses, or is named as a published
                file and is another one.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"no NIQE parameters at {path}: give the path of a file such as BasicSR's "
                "niqe_pris_params.npz, or of one that was fitted and written here"
            )
        verify(Path(path))
        with np.load(path, allow_pickle=False) as stored:
            if missing := sorted(set(_KEYS.values()) - set(stored.files)):
                raise ValueError(
                    f"{path} holds no NIQE parameters: {', '.join(missing)} missing, found "
                    f"{', '.join(sorted(stored.files)) or 'nothing'}"
                )
            found = {name: torch.from_numpy(stored[key]) for name, key in _KEYS.items()}
        mean, covariance, window = (found[name].double() for name in _KEYS)
        return cls(mean.flatten(), covariance, window)

    def write(self, path: str) -> None:
        """Leaves a file that `read` takes, and that BasicSR takes; it replaces what is there."""
        arrays = {key: getattr(self, name).cpu().numpy() for name, key in _KEYS.items()}
        arrays["mu_pris_param"] = arrays["mu_pris_param"][None]
        with Path(path).open("wb") as file:  # a name alone would be given an ending by numpy
            np.savez(file, **arrays)


def _check_shapes(mean: Tensor, covariance: Tensor, window: Tensor) -> None:
    sides = window.shape
    odd_square = len(sides) == 2 and sides[0] == sides[1] and sides[0] % 2 == 1
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES) or not odd_square:
        raise ValueError(
            f"a NIQE model has a mean of {FEATURES}, a covariance of {FEATURES} x {FEATURES} and "
            f"an odd square window, got {tuple(mean.shape)}, {tuple(covariance.shape)} and "
            f"{tuple(sides)}"
        )


def niqe(images: Float[Tensor, "b c h w"], model: NiqeModel) -> Float64[Tensor, " b"]:
    r"""Each image's distance from clean ones: about 3 to 5 for photographs, above 10 for bad ones.

    .. math:: \sqrt{(\nu_1 - \nu_2)^T ((\Sigma_1 + \Sigma_2) / 2)^+ (\nu_1 - \nu_2)}

    (Eq. 10.) Pixels right of and below the last whole block do not count, as in MATLAB. NaN for
    an image that holds a value that is not finite, or fewer than two blocks with any texture.

    Args:
        images: RGB in [0, 1], or their luma in [16/255, 235/255] as one channel.
        model: of clean images.

    Raises:
        ValueError: if there are not 1 or 3 channels, or not two blocks of 96 x 96 pixels.
    """
    rows, _ = block_features(images, model.window)
    mean, covariance = mean_and_covariance(rows)
    usable = covariance.isfinite().all((1, 2)) & images.sum((1, 2, 3)).isfinite()
    covariance = torch.where(usable[:, None, None], covariance, 0)
    middle = (covariance + model.covariance.to(covariance)) / 2
    offset = (mean - model.mean.to(mean))[:, None]
    square = offset @ torch.linalg.pinv(middle, hermitian=True) @ offset.mT
    return torch.where(usable, square.flatten().sqrt(), torch.nan)


def fit(
    batches: Iterable[Float[Tensor, "_ _ _ _"]], window: Float64[Tensor, "k k"] | None = None
) -> NiqeModel:
    """The model of clean images, from the sharpest blocks of each.

    A block counts where its mean deviation is above 0.75 of the greatest in its image. The
    features of all these blocks are kept until the end: 288 bytes a block.

    Args:
        batches: images as in `niqe`; each batch has one size.
        window: None is the paper's Gaussian.

    Raises:
        ValueError: if an image is not finite or too small, or if too few blocks were seen to
            know 36 variances.
    """
    window = gaussian_window() if window is None else window
    kept = []
    for images in batches:
        if not images.isfinite().all():
            raise ValueError("clean images must be finite, got NaN or infinity in one")
        rows, sharpness = block_features(images, window)
        kept.append(rows[sharpness > SHARP * sharpness.amax(1, keepdim=True)].cpu())
    found = torch.cat(kept) if kept else torch.empty(0, FEATURES, dtype=torch.float64)
    if (count := int(complete(found).sum())) <= FEATURES:
        raise ValueError(
            f"a NIQE model needs more than {FEATURES} sharp blocks, got {count}: give more images"
        )
    mean, covariance = mean_and_covariance(found[None])
    return NiqeModel(mean[0], covariance[0], window.cpu())


def block_features(
    images: Float[Tensor, "b c h w"], window: Float64[Tensor, "k k"]
) -> tuple[Float64[Tensor, "b n 36"], Float64[Tensor, "b n"]]:
    """The features of each block of 96 x 96 pixels at two scales, and its mean deviation.

    Args:
        images: as in `niqe`.
        window: of the surroundings.

    Raises:
        ValueError: as `niqe`.
    """
    # On a CPU an image at a time, which its cache holds, takes half as long as all together.
    parts = images.split(1 if images.is_cpu else len(images))
    rows, sharpness = zip(*(_block_features(part, window) for part in parts), strict=True)
    return torch.cat(rows), torch.cat(sharpness)


def _block_features(images: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    levels = _levels(images)
    contrast, deviation = local_contrast(levels, window)
    half = imresize(levels[:, None], 2)[:, 0]
    small, _ = local_contrast(half, window)
    cut = blocks(contrast, BLOCK), blocks(small, BLOCK // 2)
    rows = [features(each.flatten(0, 1)).unflatten(0, each.shape[:2]) for each in cut]
    return torch.cat(rows, 2), blocks(deviation, BLOCK).mean((2, 3))


def _levels(images: Tensor) -> Tensor:
    """Rounded luma of the whole blocks, in [0, 255]; halves go up, as in MATLAB."""
    channels, height, width = images.shape[1:]
    rows, columns = height // BLOCK, width // BLOCK
    if channels not in (1, 3) or rows * columns < 2:
        raise ValueError(
            f"NIQE takes 1 or 3 channels and at least two blocks of {BLOCK} x {BLOCK} pixels, got "
            f"{channels} channels of {height} x {width}: take larger images or leave NIQE out"
        )
    whole = images.detach()[..., : rows * BLOCK, : columns * BLOCK].double()
    single = luma(whole) if channels == 3 else whole
    return single[:, 0].mul(255).add_(_HALF).floor_()


@final
class NIQE(MeanOfImages):
    """The mean of `niqe` over all images seen, on all processes.

    An image that has no value makes the mean NaN: it has to show.

    Args:
        parameters: of clean images, from `NiqeModel.read` or `fit`.
        kwargs: of torchmetrics' Metric.
    """

    higher_is_better = False

    def __init__(self, parameters: NiqeModel, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = parameters

    def update(self, images: Float[Tensor, "b c h w"]) -> None:
        """Take a batch of images into the mean; see `niqe`."""
        self.add(niqe(images, self.model))
