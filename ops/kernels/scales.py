"""By how much each component of a discrepancy is divided (Makeup-Go, Scale Normalization)."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ops.kernels.component import ComponentBasis
from ops.kernels.second_moment import Mode, SecondMoment

# A component below this share of the largest scale is mostly the rounding of 8-bit images.
FLOOR = 1e-3


class Scales(NamedTuple):
    """What the targets of the heads are divided by.

    Attributes:
        components: a scale for each component, (n,), positive.
        rest: the scale of what one head predicts of many components at once.
        floored: how many of `components` are the floor instead of what was measured.
    """

    components: Tensor
    rest: float
    floored: int


@final
class ScaleMeter(nn.Module):
    r"""Measures the deviations of the components I^(i) of a stream of maps, exactly.

    I^(i) is a filter of l x l, l = 2m - 1, applied to the map with zeros around it, so that its sum
    of squares over all pixels, up to the border, is a quadratic form in the second moment of the
    l x l patches of that widened map: no component is ever computed. Sums are of float64, and
    do not depend on the basis.

    Deviations are taken from 0, like the eigenvalues, not from the mean: with it a head that
    answers 0 has the loss 1, whatever its component.

    Args:
        patch_size: side m of a component.
        mode: see `ComponentBasis`.

    Raises:
        ValueError: if `patch_size` is below 1 or there is no such mode.
    """

    def __init__(self, patch_size: int = 11, mode: Mode = "per_channel") -> None:
        super().__init__()
        self.patch_size = patch_size
        self.moment = SecondMoment(2 * patch_size - 1, mode)

    def update(self, maps: Float[Tensor, "b c h w"]) -> None:
        """Takes all maps in; they may be smaller than a patch.

        Raises:
            ValueError: if a map holds a number that is not finite, or the mode is joint_rgb and
                c is not 3.
        """
        self.moment.update(F.pad(maps, (self.patch_size - 1,) * 4))

    def merge(self, other: "ScaleMeter") -> None:
        """Takes all that `other` has seen in.

        Raises:
            ValueError: if the two are not of one patch size and mode.
        """
        self.moment.merge(other.moment)

    def sum_over_ranks(self) -> None:
        """Gives every process what all have seen; once, at the end, and called by all of them.

        Raises:
            RuntimeError: if the processes' way of talking cannot reach this module's device.
        """
        self.moment.sum_over_ranks()

    def deviations(
        self, kernels: Float64[Tensor, "filters k k l l"]
    ) -> Float64[Tensor, " filters"]:
        """The root mean square over all pixels seen of the maps filtered by each kernel.

        Raises:
            ValueError: if no map was seen.
        """
        filters, k = kernels.shape[:2]
        # A kernel convolves, a patch is correlated with.
        rows = kernels.flip(-2, -1).reshape(filters * k, -1).to(self.moment.total.device)
        squares = ((rows @ self.moment.mean()) * rows).sum(1).view(filters, k).mean(1)
        return squares.clamp(min=0).sqrt().to(kernels.device)

    def scales(self, basis: ComponentBasis, dedicated: int) -> Scales:
        """sigma_i of each component, and the deviation of the scaled sum from `dedicated` on.

        With dedicated = 0 the latter is the deviation of the maps themselves: the paper's baseline,
        in which "all components are mixed", is scaled like the others, so that it differs from
        them in nothing but the mixing.

        Args:
            basis: the components.
            dedicated: how many components have a head of their own.

        Raises:
            ValueError: if no map was seen, or all that were seen are 0, or `dedicated` is not a
                number of components.
        """
        check_dedicated(dedicated, basis.count)
        kernels = basis.kernels([[i] for i in range(basis.count)])
        components, floored = with_floor(self.deviations(kernels))
        weights = 1 / components.double() if dedicated else torch.ones_like(kernels[:, 0, 0, 0, 0])
        whitened = torch.einsum("i,ijkyx->jkyx", weights[dedicated:], kernels[dedicated:])
        return Scales(components, float(self.deviations(whitened.unsqueeze(0))), floored)


def check_dedicated(dedicated: int, count: int) -> None:
    """Refuses a number of heads of their own that leaves no component to the last head.

    Raises:
        ValueError: if `dedicated` is not from 0 to `count` - 1.
    """
    if not 0 <= dedicated < count:
        raise ValueError(f"dedicated must be from 0 to {count - 1}, got {dedicated}")


def with_floor(scales: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], int]:
    """The scales in float32, none below `FLOOR` times the largest, and how many were.

    Raises:
        ValueError: if no scale is positive.
    """
    least = FLOOR * scales.max()
    if not least > 0:
        raise ValueError(
            "all components are 0: the maps must differ from 0, so compare pairs that differ"
        )
    return scales.clamp(min=least).float(), int((scales < least).sum())


def eigenvalue_scales(basis: ComponentBasis, dedicated: int = 7) -> Scales:
    r"""The printed scales, :math:`\sqrt{\lambda_i}`; what is mixed of several is left as it is.

    Deviation: not the default. They are deviations of u_i^T v, not of I^(i), whose overlapping
    patches average most of it away, and by a different factor for each component
    (`test_printed_scales_leave_the_components_of_different_size`).

    Args:
        basis: the components.
        dedicated: how many components have a head of their own; with 0 the scale of the whole
            is the deviation of a patch's pixels.

    Raises:
        ValueError: if all eigenvalues are 0, or `dedicated` is not a number of components.
    """
    check_dedicated(dedicated, basis.count)
    components, floored = with_floor(basis.eigenvalues.sqrt())
    rest = 1.0 if dedicated else float(basis.eigenvalues.double().mean().sqrt())
    return Scales(components, rest, floored)


def common_scale(basis: ComponentBasis, dedicated: int = 7) -> Scales:
    """The deviation of the whole map for every component: the paper's "w/o ScaleNorm".

    Deviation: to the letter there is no scale at all. But the loss of maps in [0, 1] is then some
    thousand times smaller than with scales, and the one learning rate too small for all components,
    the first included. With one scale for all, only what Section 4.3 speaks of differs: the sizes
    of the components beside each other (`test_one_scale_for_all_leaves_the_components_unequal`).

    Args:
        basis: the components.
        dedicated: how many components have a head of their own.

    Raises:
        ValueError: if `dedicated` is not a number of components.
    """
    check_dedicated(dedicated, basis.count)
    deviation = basis.eigenvalues.double().mean().sqrt()
    rest = 1.0 if dedicated else float(deviation)
    return Scales(deviation.float().expand(basis.count).clone(), rest, 0)
