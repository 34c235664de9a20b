"""Laplacian pyramid (Burt and Adelson, 1983), and gradients balanced by it.

An image is cut into bands of about an octave each, finest first, and what is left of it. Beyond
its border it goes on with the values at the border, so that a constant image stays constant.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEVELS = 4
FLOOR = 1e-10  # of a band's strength; an empty band stays empty
_ROWS, _COLUMNS = 2, 3


def reduce(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The image at half the size, rounded up, blurred by 1, 4, 6, 4, 1 (sixteenths) each way."""
    return _reduced(_reduced(image, _ROWS), _COLUMNS)


def expand(
    image: Float[Tensor, "b c h2 w2"], height: int, width: int
) -> Float[Tensor, "b c {height} {width}"]:
    """The image at about twice the size, interpolated by the weights of `reduce`.

    Args:
        image: to enlarge.
        height: of the result, twice that of `image` or one less.
        width: of the result, in the same way.

    Raises:
        ValueError: if that is no size that `reduce` makes into the image's.
    """
    if (-(-height // 2), -(-width // 2)) != tuple(image.shape[-2:]):
        raise ValueError(
            f"{image.shape[-2]} x {image.shape[-1]} pixels expand to twice as many or one less, "
            f"got {height} x {width}"
        )
    return _expanded(_expanded(image, _COLUMNS, width), _ROWS, height)


def decompose(
    image: Float[Tensor, "b c h w"], levels: int = LEVELS
) -> list[Float[Tensor, "b c _ _"]]:
    r"""The bands of an image, finest first, and last what is left (inversion paper, Appendix C).

    .. math:: L_k = g_k - \hat e g_{k+1}, \qquad g_{k+1} = \hat r g_k, \qquad g_0 = p

    Args:
        image: of any size; a side of one pixel is not halved any more.
        levels: number of bands, without what is left.

    Raises:
        ValueError: if `levels` is negative.
    """
    if levels < 0:
        raise ValueError(f"levels must be 0 or more, got {levels}")
    bands = []
    for _ in range(levels):
        small = reduce(image)
        bands.append(image - expand(small, *image.shape[-2:]))
        image = small
    return [*bands, image]


def reconstruct(bands: list[Float[Tensor, "b c _ _"]]) -> Float[Tensor, "b c h w"]:
    """The image of which `decompose` gave these bands, exactly up to rounding.

    Raises:
        ValueError: if there are no bands, or one is not half as large as the one before it.
    """
    if not bands:
        raise ValueError("an image is put together of one band or more, got none")
    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + expand(image, *band.shape[-2:])
    return image


@torch.no_grad()
def normalise_gradient(
    gradient: Float[Tensor, "b c h w"], levels: int = LEVELS
) -> Float[Tensor, "b c h w"]:
    r"""A gradient whose bands are equally strong, so that coarse and fine structure grow alike.

    .. math:: \sum_n \hat e^n \frac{L_n(g)}{\max(\mathrm{rms}\, L_n(g), \epsilon)}

    Laplacian-pyramid gradient normalisation as in DeepDream (Mordvintsev et al., 2015), which the
    inversion paper takes it from. The strength of a band is the root of its mean square, mean
    included, over channels and pixels of one image, what is left at the end included. A factor on
    the gradient changes nothing, so a learning rate behind it is a step in pixel values.
    :math:`\epsilon` is `FLOOR`. Computed in float32 at least.

    Args:
        gradient: of a loss by an image.
        levels: number of bands, without what is left.

    Raises:
        ValueError: if `levels` is negative.
    """
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    bands = [band / _strength(band).clamp(min=FLOOR) for band in decompose(wide, levels)]
    return reconstruct(bands).to(gradient.dtype)


def _strength(band: Tensor) -> Tensor:
    """The root of the mean square of each image's band."""
    norm: Tensor = torch.linalg.vector_norm(band, dim=(1, 2, 3), keepdim=True)
    return norm / math.sqrt(band.shape[1:].numel())


def _reduced(x: Tensor, axis: int) -> Tensor:
    """Every other number of an axis, each a weighted mean of five."""
    # Slices take half the time of a convolution, whose three channels fill no vector.
    half = -(-x.shape[axis] // 2)
    x = _continued(x, axis, 2)
    far, near, middle, next_near, next_far = (
        _every_other(x, axis, start, half) for start in range(5)
    )
    ends, inner = far + next_far, near + next_near
    return ends.add_(inner, alpha=4).add_(middle, alpha=6).mul_(1 / 16)


def _every_other(x: Tensor, axis: int, start: int, count: int) -> Tensor:
    chosen = slice(start, start + 2 * count - 1, 2)
    return x[:, :, chosen] if axis == _ROWS else x[..., chosen]


def _expanded(x: Tensor, axis: int, length: int) -> Tensor:
    """`length` numbers of an axis, between those that are there and at their places."""
    size = x.shape[axis]
    x = _continued(x, axis, 1)
    before, here, after = (x.narrow(axis, start, size) for start in range(3))
    at = (before + after).add_(here, alpha=6).mul_(1 / 8)
    between = (here + after).mul_(1 / 2)
    return torch.stack([at, between], axis + 1).flatten(axis, axis + 1).narrow(axis, 0, length)


def _continued(x: Tensor, axis: int, margin: int) -> Tensor:
    """The map with its first and last line repeated `margin` times along an axis."""
    pad = (0, 0, margin, margin) if axis == _ROWS else (margin, margin, 0, 0)
    return F.pad(x, pad, mode="replicate")
