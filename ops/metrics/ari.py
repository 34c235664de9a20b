"""How much of each component of an edit a method undoes (Makeup-Go, Eq. 1 and 7)."""

from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

# Of the largest energy: far above what rounding leaves in an empty component in float64 sums,
# far below the noise of 8-bit images.
TOLERANCE = 1e-10


@runtime_checkable
class Components(Protocol):
    """What the metrics need of a basis: `ops.kernels.component.ComponentBasis` is one."""

    @property
    def count(self) -> int:
        """The number n of components."""

    def energies(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, " n"]:
        """Each component's sum of squares over all stride-1 patches of the maps."""


def comparable(before: Float[Tensor, " n"], tolerance: float = TOLERANCE) -> Bool[Tensor, " n"]:
    """The components that the edit changed, by their energies in the discrepancy.

    A component that is empty up to rounding has no improvement to speak of: dividing by its
    energy would give any number, and a large one.

    Args:
        before: sums of e_i^2.
        tolerance: the least energy that counts, relative to the largest.

    Raises:
        ValueError: if `tolerance` is not in [0, 1).
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be in [0, 1), got {tolerance}")
    return before > tolerance * before.max()


def relative_improvement(
    before: Float[Tensor, " n"], after: Float[Tensor, " n"], tolerance: float = TOLERANCE
) -> Float[Tensor, " n"]:
    r"""d_i, at most 1 and 0 for the untouched input, NaN where not `comparable` (Eq. 1).

    .. math:: d_i = \sum_j (e_{ij}^2 - \hat e_{ij}^2) / \sum_j e_{ij}^2

    Args:
        before: sums of e_i^2, of target minus input.
        after: sums of the squared components of target minus output.
        tolerance: see `comparable`.

    Raises:
        ValueError: if `tolerance` is not in [0, 1).
    """
    return torch.where(comparable(before, tolerance), (before - after) / before, torch.nan)


def accumulated_relative_improvement(
    before: Float[Tensor, " n"], after: Float[Tensor, " n"], tolerance: float = TOLERANCE
) -> Float[Tensor, ""]:
    r"""ARI, the sum of d_i over the components that are `comparable` (Eq. 7).

    .. math:: \mathrm{ARI} = \sum_i d_i

    At most their number, which belongs beside every value. NaN where there is none.

    Args:
        before: as in `relative_improvement`.
        after: as in `relative_improvement`.
        tolerance: see `comparable`.

    Raises:
        ValueError: if `tolerance` is not in [0, 1).
    """
    kept = comparable(before, tolerance)
    # Not nansum over all: an output that is not a number has to show.
    total = relative_improvement(before, after, tolerance)[kept].sum()
    return torch.where(kept.any(), total, torch.nan)


@final
class AccumulatedRelativeImprovement(Metric):
    """`accumulated_relative_improvement` over all images seen, on all processes.

    Args:
        basis: the components; it may be fitted or loaded later, in place.
        tolerance: see `comparable`.
        kwargs: of torchmetrics' Metric.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    before: Tensor
    after: Tensor

    def __init__(self, basis: Components, tolerance: float = TOLERANCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.basis, self.tolerance = basis, tolerance
        zeros = torch.zeros(basis.count, dtype=torch.float64)
        self.add_state("before", zeros, dist_reduce_fx="sum")
        self.add_state("after", zeros.clone(), dist_reduce_fx="sum")

    def update(
        self,
        image: Float[Tensor, "b c h w"],
        output: Float[Tensor, "b c h w"],
        target: Float[Tensor, "b c h w"],
    ) -> None:
        """Take a batch of edited images, their restorations and the originals into the sums.

        Raises:
            ValueError: if the shapes differ.
        """
        if not image.shape == output.shape == target.shape:
            raise ValueError(
                f"image, output and target must have one shape, got {tuple(image.shape)}, "
                f"{tuple(output.shape)} and {tuple(target.shape)}"
            )
        target = target.float()  # differences in bf16 would be nothing but its rounding
        self.before += self.basis.energies(target - image.float())
        self.after += self.basis.energies(target - output.float())

    def compute(self) -> Float[Tensor, ""]:
        """ARI, NaN where no component is `comparable`."""
        return accumulated_relative_improvement(self.before, self.after, self.tolerance)

    def improvement(self) -> Float[Tensor, " n"]:
        """d_i of each component, NaN where not `comparable`; every process has to call this."""
        with self.sync_context():
            return relative_improvement(self.before, self.after, self.tolerance)

    def counted(self) -> int:
        """The number of `comparable` components; every process has to call this."""
        with self.sync_context():
            return int(comparable(self.before, self.tolerance).sum())
