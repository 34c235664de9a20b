"""PSNR over a part of the image: what changed inside the blemishes, and what did outside."""

from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric


def masked_psnr(
    prediction: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    mask: Bool[Tensor, "b 1 h w"] | Float[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    r"""The PSNR in dB over the selected pixels of all images together.

    .. math:: -10 \log_{10}(\sum m |x - y|^2 / \sum m)

    The squared error is pooled before the logarithm: an image without a blemish then adds
    nothing, where a mean of decibels over images would be infinite. Infinite where the selected
    pixels are equal, NaN where none is selected.

    Args:
        prediction: image in [0, 1].
        target: image in [0, 1].
        mask: the pixels that count, or their weights in [0, 1]; `~mask` gives the other part.

    Raises:
        ValueError: if the images' shapes differ, or `mask` is not one channel of their size.
    """
    return _decibels(*_sums(prediction, target, mask))


def _sums(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The squared error over the selected values, and how many these are."""
    b, channels, h, w = prediction.shape
    if prediction.shape != target.shape or mask.shape != (b, 1, h, w):
        raise ValueError(
            f"target must be shaped like the prediction {tuple(prediction.shape)} and mask "
            f"{(b, 1, h, w)}, got {tuple(target.shape)} and {tuple(mask.shape)}"
        )
    weight = mask.float()
    error = (prediction.float() - target.float()).square().sum(1, keepdim=True)
    return (error * weight).sum(dtype=torch.float64), weight.sum(dtype=torch.float64) * channels


def _decibels(error: Tensor, weight: Tensor) -> Tensor:
    return (-10 * torch.log10(error / weight)).float()


@final
class MaskedPSNR(Metric):
    """`masked_psnr` over all images seen, on all processes."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    error: Tensor
    weight: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("error", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        prediction: Float[Tensor, "b c h w"],
        target: Float[Tensor, "b c h w"],
        mask: Bool[Tensor, "b 1 h w"] | Float[Tensor, "b 1 h w"],
    ) -> None:
        """Take a batch of images in [0, 1] and the pixels that count into the sums."""
        error, weight = _sums(prediction, target, mask)
        self.error += error
        self.weight += weight

    def compute(self) -> Float[Tensor, ""]:
        """The PSNR in dB, NaN where no pixel was selected."""
        return _decibels(self.error, self.weight)
