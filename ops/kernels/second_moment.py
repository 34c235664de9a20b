"""Second moment of all patches of a stream of maps, without cutting a single patch.

What the components of Makeup-Go (ICCV 2017, Section 4.1) and their scales are computed from.
"""

from typing import Literal, final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Float64
from scipy.fft import next_fast_len
from torch import Tensor, nn

Mode = Literal["per_channel", "joint_rgb"]
_CHUNK = 2**19  # numbers transformed at a time: 4 MiB of float64


def channels_of(mode: Mode) -> int:
    """How many channels a patch spans: 1 where R, G and B share the components, else 3.

    Raises:
        ValueError: if there is no such mode.
    """
    if mode not in ("per_channel", "joint_rgb"):
        raise ValueError(f"mode must be per_channel or joint_rgb, got {mode}")
    return 1 if mode == "per_channel" else 3


def as_planes(maps: Float[Tensor, "b c h w"], mode: Mode) -> Float[Tensor, "planes k h w"]:
    """The maps cut into what patches are taken from: single channels, or all three together.

    Raises:
        ValueError: if there is no such mode, or it is joint_rgb and c is not 3.
    """
    if channels_of(mode) == 1:
        return maps.flatten(0, 1).unsqueeze(1)
    if maps.shape[1] != 3:
        raise ValueError(f"joint_rgb needs maps of 3 channels, got {maps.shape[1]}")
    return maps


def fast_length(length: int) -> int:
    """The least length, of those that are quick to transform, that is at least `length`.

    Multiples of 4: odd lengths take almost twice the time.

    Raises:
        ValueError: if `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    return 4 * int(next_fast_len(-(-length // 4)))


def second_moment(planes: Float[Tensor, "planes k h w"], patch_size: int) -> Float64[Tensor, "n n"]:
    r"""The sum of v v^T over the stride-1 patches v of all planes, n = k * patch_size^2.

    .. math:: M_{st} = \sum_z X(z + s) X(z + t)

    Over a plane with zeros around it, M depends on t - s only: it is the plane's autocorrelation,
    which one Fourier transform gives. Patches that reach over the border lie, with all that they
    cover of the plane, in a strip of patch_size - 1 rows (columns), so that their share comes
    from the products of these few rows and is taken off. Exact up to the rounding of float64.

    Args:
        planes: what patches are taken from, k channels at once; h and w at least `patch_size`.
        patch_size: side of a patch.

    Raises:
        ValueError: if `patch_size` is below 1 or a plane is smaller than a patch.
    """
    count, k, h, w = planes.shape
    if not 1 <= patch_size <= min(h, w):
        raise ValueError(f"patch_size must be from 1 to the maps' {(h, w)}, got {patch_size}")
    n = k * patch_size**2
    moment = torch.zeros(n, n, dtype=torch.float64, device=planes.device)
    with torch.no_grad(), torch.autocast(planes.device.type, enabled=False):
        for chunk in planes.split(max(1, _CHUNK // (k * h * w))) if count else ():
            moment += _moment(chunk.double(), patch_size).reshape(n, n)
    return moment


def _moment(planes: Tensor, m: int) -> Tensor:
    """The moment of a few planes, (k, m, m, k, m, m)."""
    turned = planes.mT
    margin = m - 1
    rows = _above(planes, m, margin) + _above(planes.flip(-2), m, margin).flip(1, 4)
    # Patches above and below are gone by now, so these columns have no margin.
    columns = _above(turned, m, 0) + _above(turned.flip(-2), m, 0).flip(1, 4)
    return _with_zeros_around(planes, m) - rows - columns.permute(0, 2, 1, 3, 5, 4)


def _with_zeros_around(planes: Tensor, m: int) -> Tensor:
    """The moment of all patches that touch the planes, these continued by zeros."""
    size = [fast_length(side + m - 1) for side in planes.shape[-2:]]
    spectrum = torch.fft.rfft2(planes, s=size)
    power = (spectrum.conj().unsqueeze(2) * spectrum.unsqueeze(1)).sum(0)
    lags = torch.fft.irfft2(power, s=size)
    offset = torch.arange(m, device=planes.device)
    lag = offset - offset.unsqueeze(1)
    rows, columns = lag % size[0], lag % size[1]
    found = lags[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return found.permute(0, 2, 3, 1, 4, 5)


def _above(planes: Tensor, m: int, margin: int) -> Tensor:
    """The moment of the patches that begin above the first row and end below it.

    `margin` columns of zeros are added left and right. A patch that begins s rows above sees the
    first m - s rows in its last ones: sums of the strip's products along its diagonals.
    """
    k = planes.shape[1]
    strip = F.pad(planes[:, :, : m - 1], (margin, margin))
    windows = strip.unfold(-1, m, 1).movedim(3, 1)
    flat = windows.reshape(windows.shape[0] * windows.shape[1], k * (m - 1) * m)
    products = (flat.mT @ flat).view(k, m - 1, m, k, m - 1, m)
    moment = planes.new_zeros(k, m, m, k, m, m)
    for row in range(1, m):
        moment[:, row, :, :, 1:] = moment[:, row - 1, :, :, :-1] + products[:, row - 1]
    return moment


@final
class SecondMoment(nn.Module):
    """`second_moment` of a stream of maps and the number of patches; the memory does not grow.

    Attributes:
        total: the sum of v v^T, (n, n), float64; it must not be cast.
        patches: how many patches were seen, int64.

    Args:
        patch_size: side of a patch.
        mode: whether a patch is of one channel or of all three.

    Raises:
        ValueError: if `patch_size` is below 1 or there is no such mode.
    """

    total: Tensor
    patches: Tensor

    def __init__(self, patch_size: int, mode: Mode) -> None:
        super().__init__()
        if patch_size < 1:
            raise ValueError(f"patch_size must be at least 1, got {patch_size}")
        self.patch_size, self.mode = patch_size, mode
        n = channels_of(mode) * patch_size**2
        self.register_buffer("total", torch.zeros(n, n, dtype=torch.float64))
        self.register_buffer("patches", torch.zeros((), dtype=torch.int64))

    def update(self, maps: Float[Tensor, "b c h w"]) -> None:
        """Takes all patches of the maps in.

        Raises:
            ValueError: if a map is smaller than a patch or holds a number that is not finite, or
                if the mode is joint_rgb and c is not 3.
        """
        planes = as_planes(maps, self.mode)
        moment = second_moment(planes, self.patch_size)
        if not moment.isfinite().all():
            raise ValueError("maps must be finite, got a NaN or an infinite number in them")
        height, width = (side - self.patch_size + 1 for side in planes.shape[-2:])
        self.total += moment.to(self.total.device)
        self.patches += planes.shape[0] * height * width

    def merge(self, other: "SecondMoment") -> None:
        """Takes all that `other` has seen in.

        Raises:
            ValueError: if the two are not of one patch size and mode.
        """
        if (self.patch_size, self.mode) != (other.patch_size, other.mode):
            raise ValueError(
                f"only moments of {self.patch_size} x {self.patch_size} patches {self.mode} can "
                f"be merged with this one, got {other.patch_size} and {other.mode}"
            )
        self.total += other.total.to(self.total.device)
        self.patches += other.patches.to(self.patches.device)

    def sum_over_ranks(self) -> None:
        """Gives every process what all have seen; once, at the end, and called by all of them.

        Raises:
            RuntimeError: if the processes' way of talking cannot reach this module's device.
        """
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.total)
            dist.all_reduce(self.patches)

    def mean(self) -> Float64[Tensor, "n n"]:
        """The mean of v v^T over all patches seen.

        Raises:
            ValueError: if none was seen.
        """
        if not self.patches:
            raise ValueError("no patch was seen: call update with at least one map first")
        return self.total / self.patches
