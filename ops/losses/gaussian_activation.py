"""How unusual an image's activations are among those of many (inversion paper, Appendix A)."""

from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

_FEWEST = 2  # images that have a deviation


def gaussian_activation(
    activations: Float[Tensor, "b c h w"],
    mean: Float[Tensor, "c h w"],
    variance: Float[Tensor, "c h w"],
    smoothing: float,
) -> Float[Tensor, " b"]:
    r"""The squared deviations of a layer's activations in units of their own (Eq. 5), summed.

    .. math:: R_{Gauss}(p) = \sum_{n \in \ell} \frac
        {\nu (a_n - v_n)^2 \sigma_{max}^2}{\sigma_n^2 + \nu \sigma_{max}^2}

    The sum is over all numbers of the layer, as printed, and in float32 at least. Where nu is
    large it is the squared distance from the mean; where it is small, nu times that of Eq. 4,
    in units of the largest deviation.

    Args:
        activations: of a layer.
        mean: v, over the images of a collection.
        variance: sigma squared, over the same; not all 0.
        smoothing: nu, > 0: how much a number that hardly varies may count.

    Raises:
        ValueError: if `smoothing` is not positive.
    """
    if not smoothing > 0:
        raise ValueError(f"smoothing must be positive, got {smoothing}")
    wide = activations.to(torch.promote_types(activations.dtype, torch.float32))
    bound = smoothing * variance.max()
    return ((wide - mean).square() * (bound / (variance + bound))).sum((1, 2, 3))


@final
class GaussianActivation(nn.Module):
    """`gaussian_activation` with the statistics of a collection of images.

    Attributes:
        mean: of each number of the layer, (c, h, w).
        variance: of each over the images themselves, (c, h, w): divided by their number.
        images: how many there were, int64; 0 until `fit`.

    Args:
        shape: of the layer's maps, (c, h, w).
        smoothing: nu of Eq. 5; the paper calls it small and does not give it.

    Raises:
        ValueError: if `smoothing` is not positive.
    """

    mean: Tensor
    variance: Tensor
    images: Tensor

    def __init__(self, shape: tuple[int, int, int], smoothing: float = 0.01) -> None:
        super().__init__()
        if not smoothing > 0:
            raise ValueError(f"smoothing must be positive, got {smoothing}")
        self.smoothing = smoothing
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.zeros(shape))
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "_ c h w"]]) -> None:
        """Takes mean and variance of a stream of activations, in one pass with sums of float64.

        Sums are of differences from the first image, so that a number that is the same for all
        images has a variance of exactly 0. The order of the images and their batches do not
        matter beyond the rounding of float64.

        Args:
            batches: the layer's activations for all images of the collection; what was fitted
                before is forgotten.

        Raises:
            ValueError: if there are fewer than two images, maps of another shape, a number that
                is not finite, or no number that differs between images.
        """
        first = torch.zeros_like(self.mean, dtype=torch.float64)
        total, squares, count = torch.zeros_like(first), torch.zeros_like(first), 0
        for batch in batches:
            exact = self._checked(batch)
            if not count and len(exact):
                first = exact[0]
            total += (exact - first).sum(0)
            squares += (exact - first).square().sum(0)
            count += len(exact)
        self._take(first, total, squares, count)

    def forward(self, activations: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Equation 5 for each image's activations.

        Raises:
            RuntimeError: if nothing was fitted.
        """
        if not self.images:
            raise RuntimeError("the activations' statistics are unknown: call fit, or load them")
        return gaussian_activation(activations, self.mean, self.variance, self.smoothing)

    def _checked(self, batch: Tensor) -> Tensor:
        if batch.shape[1:] != self.mean.shape or not batch.isfinite().all():
            raise ValueError(
                f"activations must be finite and of shape {tuple(self.mean.shape)} an image, got "
                f"{tuple(batch.shape)}"
            )
        return batch.to(self.mean.device, torch.float64)

    def _take(self, first: Tensor, total: Tensor, squares: Tensor, count: int) -> None:
        if count < _FEWEST:
            raise ValueError(f"a deviation needs {_FEWEST} images or more, got {count}")
        variance = (squares / count - (total / count).square()).clamp(min=0)
        if not variance.any():
            raise ValueError(f"all {count} images have the same activations: take other images")
        self.mean.copy_(first + total / count)
        self.variance.copy_(variance)
        self.images.fill_(count)
