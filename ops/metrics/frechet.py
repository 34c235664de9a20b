"""The Frechet distance between two sets of features; with Inception's features it is FID."""

from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric


class Moments(NamedTuple):
    """What is kept of a set of features, as if they were normally distributed."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]  # divided by n - 1


def frechet_distance(a: Moments, b: Moments) -> Float[Tensor, ""]:
    r"""The squared Frechet distance between two normal distributions (Heusel et al., 2017).

    .. math:: \|\mu_a - \mu_b\|^2 + \mathrm{tr}(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2})

    The trace of the root is that of a symmetric matrix: with :math:`\Sigma_a = L L^T`, the
    products :math:`\Sigma_a \Sigma_b` and :math:`L^T \Sigma_b L` have the same eigenvalues other
    than 0. Negative ones, which are rounding, count as 0.

    Args:
        a: in float64; fewer samples than features are allowed.
        b: of features by the same network.
    """
    root = _root(a.covariance)
    shared = torch.linalg.eigvalsh(root.T @ b.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (a.mean - b.mean).square().sum()
    return apart + a.covariance.trace() + b.covariance.trace() - 2 * shared


def _root(covariance: Tensor) -> Tensor:
    """L of a covariance, (d, r), by Cholesky or, at a rank r below d, by its eigenvectors."""
    triangle, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return triangle
    values, vectors = torch.linalg.eigh(covariance)
    rounding = len(values) * torch.finfo(values.dtype).eps * values[-1]
    kept = values > rounding
    return vectors[:, kept] * values[kept].sqrt()


@final
class FrechetDistance(Metric):
    """`frechet_distance` between all outputs' and all targets' features, over all processes.

    torchmetrics' FrechetInceptionDistance runs a network of its own on both sets; this one takes
    features, which a judge has already.

    Args:
        dimensions: length d of the features.
        kwargs: of torchmetrics' Metric.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    sums: Tensor
    products: Tensor
    counts: Tensor

    def __init__(self, dimensions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sums = torch.zeros(2, dimensions, dtype=torch.float64)
        products = torch.zeros(2, dimensions, dimensions, dtype=torch.float64)
        self.add_state("sums", sums, dist_reduce_fx="sum")
        self.add_state("products", products, dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Float[Tensor, "b d"], target: Float[Tensor, "n d"]) -> None:
        """Take features of outputs and of targets into the sums; their numbers may differ."""
        for row, features in enumerate((output.double(), target.double())):
            self.sums[row] += features.sum(0)
            self.products[row] += features.T @ features
            self.counts[row] += len(features)

    def compute(self) -> Float[Tensor, ""]:
        """The squared distance, NaN where either set has fewer than two samples."""
        if int(self.counts.min()) < 2:
            return self.sums.new_tensor(torch.nan)
        return frechet_distance(*(self._moments(row) for row in range(2)))

    def _moments(self, row: int) -> Moments:
        mean = self.sums[row] / self.counts[row]
        spread = self.products[row] - self.counts[row] * mean.outer(mean)
        return Moments(mean, spread / (self.counts[row] - 1))
