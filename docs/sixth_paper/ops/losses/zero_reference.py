"""What makes a bright picture good without knowing how it should look (Zero-DCE, Section 3.3)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def contrast_loss(
    output: Float[Tensor, "b c h w"], image: Float[Tensor, "b c h w"], region: int = 4
) -> Float[Tensor, ""]:
    r"""How much the contrast of neighbouring regions has changed (Zero-DCE Eq. 4).

    .. math:: L_{spa} = \frac1K \sum_i \sum_{j \in \Omega(i)} (|Y_i - Y_j| - |I_i - I_j|)^2

    Args:
        output: the bright picture.
        image: the dark one.
        region: side of a region in pixels.

    Raises:
        ValueError: if the picture is smaller than a region.
    """
    bright, dark = _regions(output, region), _regions(image, region)
    total = output.new_zeros(())
    for axis in (2, 3):
        change = bright.diff(dim=axis).abs() - dark.diff(dim=axis).abs()
        total = total + 2 * change.square().sum()  # each pair of regions is seen from both
    return total / bright.numel()


def exposure_loss(
    output: Float[Tensor, "b c h w"], level: float = 0.6, region: int = 16
) -> Float[Tensor, ""]:
    """How far regions are from a well exposed grey, on average (Zero-DCE Eq. 5).

    Args:
        output: the bright picture, in [0, 1].
        level: E, the grey that is wanted.
        region: side of a region in pixels.

    Raises:
        ValueError: if the picture is smaller than a region.
    """
    return (_regions(output, region) - level).abs().mean()


def colour_loss(output: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """The squared differences of the mean red, green and blue, summed (Zero-DCE Eq. 6)."""
    means = output.mean((2, 3))
    return (means - means.roll(1, dims=1)).square().sum(1).mean()


def smoothness_loss(curves: Float[Tensor, "b nc h w"], channels: int = 3) -> Float[Tensor, ""]:
    r"""How fast the curves change from pixel to pixel (Zero-DCE Eq. 7).

    .. math:: L_{tv} = \frac1N \sum_n \sum_c (|\nabla_x A_n^c| + |\nabla_y A_n^c|)^2

    Deviation: printed is no mean over pixels. With it the weight means the same at every size
    (`test_smoothness_does_not_depend_on_the_size`).

    Args:
        curves: the strengths A, N times `channels` of them.
        channels: of the image.
    """
    across = curves.diff(dim=3)[..., :-1, :].abs()
    down = curves.diff(dim=2)[..., :-1].abs()
    return channels * (across + down).square().mean()


def _regions(image: Tensor, size: int) -> Tensor:
    """The mean grey of each whole square of `size` pixels."""
    if min(image.shape[-2:]) < size:
        height, width = image.shape[-2:]
        raise ValueError(f"{height}x{width} pixels are less than a region of {size}: enlarge them")
    return F.avg_pool2d(image.mean(1, keepdim=True), size)
