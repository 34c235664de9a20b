"""Principal components of the patches of an image, and an image as the sum of its components.

Paper: Makeup-Go, "Blind Reversion of Portrait Edit" (ICCV 2017), Sections 3 and 4.1. The authors
published no code. Written from the equations.
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ops.kernels.second_moment import (
    Mode,
    SecondMoment,
    as_planes,
    channels_of,
    fast_length,
    second_moment,
)


@final
class ComponentBasis(nn.Module):
    """The principal components u_i of patches, by falling eigenvalue (Makeup-Go, Section 3).

    Attributes:
        vectors: the components as rows, (n, n), orthonormal; a row is a patch in the order
            channel, row, column.
        eigenvalues: the mean square of each component over the patches, (n,), falling.

    Both are float32, which loses nothing against images of 8 bits and which every device has.

    Args:
        vectors: as above.
        eigenvalues: as above.
        patch_size: side m of a patch.
        mode: "per_channel", where one basis of n = m^2 is shared by all channels (the printed
            ARI of up to 60.5 means n = 121), or "joint_rgb" with n = 3 m^2.

    Raises:
        ValueError: if the shapes do not belong to `patch_size` and `mode`.
    """

    vectors: Tensor
    eigenvalues: Tensor

    def __init__(
        self,
        vectors: Float[Tensor, "rows columns"],
        eigenvalues: Float[Tensor, " values"],
        patch_size: int = 11,
        mode: Mode = "per_channel",
    ) -> None:
        super().__init__()
        n = channels_of(mode) * patch_size**2
        if vectors.shape != (n, n) or eigenvalues.shape != (n,):
            raise ValueError(
                f"patches of side {patch_size} {mode} need vectors {(n, n)} and eigenvalues {(n,)},"
                f" got {tuple(vectors.shape)} and {tuple(eigenvalues.shape)}"
            )
        self.patch_size, self.mode = patch_size, mode
        self.register_buffer("vectors", vectors.float())
        self.register_buffer("eigenvalues", eigenvalues.float())

    @classmethod
    def empty(cls, patch_size: int = 11, mode: Mode = "per_channel") -> "ComponentBasis":
        """A basis to be filled by `load_state_dict`; until then its components are the pixels.

        Raises:
            ValueError: if there is no such mode.
        """
        n = channels_of(mode) * patch_size**2
        return cls(torch.eye(n), torch.ones(n), patch_size, mode)

    @property
    def count(self) -> int:
        """The number n of components."""
        return len(self.eigenvalues)

    @property
    def channels(self) -> int:
        """The number of channels that a component spans."""
        return channels_of(self.mode)

    def decompose(
        self, image: Float[Tensor, "b c h w"], groups: Sequence[Sequence[int]]
    ) -> list[Float[Tensor, "b c h w"]]:
        """The part of the image that each group of components makes up (Makeup-Go, Eq. 5 and 6).

        The parts of a full partition sum to the image at every pixel. They are computed in
        float32 (float64 where the image is) whatever autocast says, and given in its dtype.

        Args:
            image: of any size from 1 x 1.
            groups: indices of components, from 0.

        Raises:
            ValueError: if a group is empty, names a component twice or one that is not there, or
                if the basis is joint_rgb and c is not 3.
        """
        return apply_kernels(image, self.kernels(groups), self.mode)

    def kernels(self, groups: Sequence[Sequence[int]]) -> Float64[Tensor, "groups k k l l"]:
        r"""The one filter of l = 2m - 1 that each group comes to, from channel to channel.

        .. math:: A = \frac{1}{m^2} \sum_i \kappa_i' * \kappa_i

        Deviation: Eq. 6 prints no 1/m^2. Each pixel lies in m^2 patches, so that without it the
        components sum to m^2 times the image. The first convolution is a "full" and the second a
        "valid" one; with "same" twice, corners keep only 30 % of their energy
        (`test_components_of_a_full_partition_sum_to_the_image_up_to_its_corners`).

        Args:
            groups: indices of components, from 0.

        Raises:
            ValueError: if a group is empty, names a component twice or one that is not there.
        """
        m, k = self.patch_size, self.channels
        for group in groups:
            _check_group(group, self.count)
        patches = self.vectors.double().view(-1, k, m, m)
        spectrum = torch.fft.fft2(patches, s=(2 * m - 1, 2 * m - 1))
        kernels = self.vectors.new_zeros(
            len(groups), k, k, 2 * m - 1, 2 * m - 1, dtype=torch.float64
        )
        for kernel, group in zip(kernels, groups, strict=True):
            chosen = spectrum[list(group)]
            power = torch.einsum("ijyx,ikyx->jkyx", chosen, chosen.conj())
            kernel.copy_(torch.fft.ifft2(power).real)
        return torch.fft.fftshift(kernels, (-2, -1)) / m**2

    def energies(self, maps: Float[Tensor, "b c h w"]) -> Float64[Tensor, " n"]:
        r"""Each component's sum of squares over all stride-1 patches of the maps.

        .. math:: \sum_j e_{ij}^2 = u_i^T (\sum_j v_j v_j^T) u_i

        Args:
            maps: h and w at least the patch's side.

        Raises:
            ValueError: if a map is smaller than a patch, or the basis is joint_rgb and c is not 3.
        """
        moment = second_moment(as_planes(maps, self.mode), self.patch_size)
        vectors = self.vectors.double()
        # Rounding can bring an empty component's sum below 0.
        return ((vectors @ moment) * vectors).sum(1).clamp(min=0)


def _check_group(group: Sequence[int], count: int) -> None:
    if not group or len({*group}) < len(group) or not 0 <= min(group) <= max(group) < count:
        raise ValueError(
            f"a group must name one or more components from 0 to {count - 1}, each once, "
            f"got {list(group)}"
        )


def apply_kernels(
    image: Float[Tensor, "b c h w"], kernels: Float[Tensor, "groups k k l l"], mode: Mode
) -> list[Float[Tensor, "b c h w"]]:
    """The image filtered by each kernel, with zeros around it; as large as before.

    By one transform of the image and one back for each kernel, in float32 (float64 where the
    image is) whatever autocast says; the dtype is kept.

    Args:
        image: what to filter.
        kernels: from channel (second k) to channel (first k), their origin in the middle; l odd.
        mode: how the image is cut into k channels.

    Raises:
        ValueError: if the mode is joint_rgb and c is not 3.
    """
    planes = as_planes(image, mode)
    if not image.numel():
        return [image.clone() for _ in kernels]
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    h, w = image.shape[-2:]
    length = kernels.shape[-1]
    start = length // 2
    # What wraps around at this size falls on rows and columns that are cut off.
    size = (fast_length(h + start), fast_length(w + start))
    spectrum = torch.fft.rfft2(planes.to(dtype), s=size)
    parts = []
    for kernel in kernels.to(dtype):
        # Rows first: only these few are not zero.
        gain = torch.fft.fft(torch.fft.rfft(kernel, n=size[1]), n=size[0], dim=-2)
        product = gain[:, 0] * spectrum[:, :1]
        for channel in range(1, gain.shape[1]):
            product = product + gain[:, channel] * spectrum[:, channel, None]
        part = torch.fft.irfft2(product, s=size)[..., start : start + h, start : start + w]
        parts.append(part.reshape(image.shape).to(image.dtype))
    return parts


@final
class PatchPCA(nn.Module):
    """Principal components of all stride-1 patches of a stream of maps (Makeup-Go, Section 3).

    Uncentred, since Eq. 3 and 6 know no mean: u_i are the eigenvectors of the mean of v v^T, which
    is summed in float64 in memory that does not depend on the number of maps.

    Args:
        patch_size: side of a patch; the paper uses 11.
        mode: see `ComponentBasis`.

    Raises:
        ValueError: if `patch_size` is below 1 or there is no such mode.
    """

    def __init__(self, patch_size: int = 11, mode: Mode = "per_channel") -> None:
        super().__init__()
        self.moment = SecondMoment(patch_size, mode)

    def update(self, maps: Float[Tensor, "b c h w"]) -> None:
        """Takes all patches of the maps in.

        Raises:
            ValueError: see `SecondMoment.update`.
        """
        self.moment.update(maps)

    def merge(self, other: "PatchPCA") -> None:
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

    def basis(self) -> ComponentBasis:
        """The components of what was seen.

        Each is given the sign that makes its largest entry positive. In the components of
        pictures, entries of opposite place are often equal up to rounding: of all within a
        thousandth of the largest, the first in the order of the patch counts. Components of one
        eigenvalue are only defined together.

        Raises:
            ValueError: if no patch was seen.
        """
        eigenvalues, vectors = torch.linalg.eigh(self.moment.mean())
        rows = with_fixed_signs(vectors.mT.flip(0))
        patch_size, mode = self.moment.patch_size, self.moment.mode
        return ComponentBasis(rows, eigenvalues.flip(0).clamp(min=0), patch_size, mode)


def with_fixed_signs(rows: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """The rows, each times 1 or -1, so that the first of its largest entries is positive.

    Largest are all whose magnitude is within a thousandth of the row's greatest.
    """
    magnitude = rows.abs()
    largest = magnitude >= 0.999 * magnitude.amax(1, keepdim=True)
    first = largest.to(torch.uint8).argmax(1, keepdim=True)
    return torch.where(rows.gather(1, first) < 0, -rows, rows)
