"""Subspace embeddings of a degraded image, and how they are fused to guidance (ISPL 3.3, 3.4).

Lists of maps are in the order of the paper's indices: 0 is the innermost, coarsest one. Widths
are given finest first, as to every network here.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.pac import PixelAdaptiveConv2d
from ops.nets.blocks import SLOPE, convolution, shrink

Maps = list[Float[Tensor, "b _ _ _"]]


class AdaptiveConvolution(nn.Module):
    """A pixel-adaptive 3x3 convolution that is its own guide (ISPL Eq. 8 and 9).

    Args:
        inputs: channels of the input, and of the guide.
        outputs: channels of the output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.adaptive = PixelAdaptiveConv2d(inputs, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The filtered features, at the same size."""
        return self.adaptive(x, x)


def plain_convolution(inputs: int, outputs: int) -> nn.Module:
    """A common 3x3 convolution, for the rows of Table 1 without PAC."""
    return convolution(inputs, outputs)


class InformedNorm(nn.Module):
    r"""Instance normalisation that adds what it takes away to its result.

    .. math:: \frac{z - \mu}{\sigma} + a \mu + b \sigma

    Deviation: the released code has plain instance normalisation (the paper names none). With
    x_0 = y_0, as the paper has it, no embedding would then tell how bright an image is or how
    strong its contrast, and the output could only guess it
    (`test_brightness_and_contrast_pass_the_normalisation`).

    Args:
        channels: of the features.
        eps: added to the variance, > 0.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gains = nn.Parameter(torch.ones(2, channels, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of variance 1, shifted by their former mean and deviation."""
        whole = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(whole, dim=(2, 3), correction=0, keepdim=True)
        deviation = torch.sqrt(variance + self.eps)
        shift = self.gains[0] * mean + self.gains[1] * deviation
        return ((whole - mean) / deviation + shift).to(x.dtype)


class Embedding(nn.Module):
    """The subspace embeddings y of an image (E_LQ): one a level, each at half the size.

    A level is a convolution, a normalisation and a leaky ReLU, with bilinear x2 sampling between
    levels; on even sides that is the mean of 2x2 pixels.

    Args:
        widths: channels of the levels, finest first.
        conv: gives a level's convolution for its numbers of input and output channels.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024),
        conv: Callable[[int, int], nn.Module] = AdaptiveConvolution,
    ) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.convolutions = nn.ModuleList(conv(a, b) for a, b in zip(inputs, widths, strict=True))
        self.norms = nn.ModuleList(InformedNorm(width) for width in widths)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Maps:
        """y_0 to y_{n-1} of an image in [-1, 1] whose sides can be halved n - 1 times."""
        x, maps = image, []
        for level, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = conv(F.avg_pool2d(x, 2) if level else x)
            x = F.leaky_relu(norm(x), SLOPE)
            maps.append(x)
        return maps[::-1]


class UNet(nn.Module):
    """f_i = y_i: every level is guided by its own embedding (ISP-unet, HiFaceGAN).

    Attributes:
        channels: of the guidance of each level.

    Args:
        widths: channels of the embeddings, innermost first.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = widths

    def forward(self, embeddings: Maps) -> Maps:
        """The embeddings."""
        return embeddings


class Y0(nn.Module):
    """f_i = y_0, enlarged: one embedding guides all levels (ISP-Y0; StyleGAN's case).

    Attributes:
        channels: of the guidance of each level.

    Args:
        widths: channels of the embeddings, innermost first.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = (widths[0],) * len(widths)

    def forward(self, embeddings: Maps) -> Maps:
        """y_0 at the size of every level."""
        return [aligned(embeddings[0], like) for like in embeddings]


class Concat(nn.Module):
    """f_i = [y_0; ...; y_{n-1}], all at the size of level i (ISP-concat).

    At the published width the finest guidance of a 512 px image has 3008 channels, 3.2 GB.

    Attributes:
        channels: of the guidance of each level.

    Args:
        widths: channels of the embeddings, innermost first.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = (sum(widths),) * len(widths)

    def forward(self, embeddings: Maps) -> Maps:
        """All embeddings beside each other, at the size of every level."""
        return [torch.cat([aligned(y, like) for y in embeddings], 1) for like in embeddings]


class Matrix(nn.Module):
    r"""f_i = \sum_j W_ij y_j with a learned matrix W (ISP-matrix).

    The paper does not say where W starts. Here it is the identity, so that training begins at
    the UNet's guidance.

    Attributes:
        channels: of the guidance of each level.

    Args:
        widths: channels of the embeddings, innermost first.
        aligned_channels: what a 1x1 convolution brings each embedding to.
    """

    def __init__(self, widths: tuple[int, ...], aligned_channels: int = 128) -> None:
        super().__init__()
        self.channels = (aligned_channels,) * len(widths)
        self.align = nn.ModuleList(nn.Conv2d(width, aligned_channels, 1) for width in widths)
        self.matrix = nn.Parameter(torch.eye(len(widths)))

    def forward(self, embeddings: Maps) -> Maps:
        """The weighted sums, at the size of every level."""
        ys = [align(y) for align, y in zip(self.align, embeddings, strict=True)]
        return [self._weighted(row, ys, like) for row, like in zip(self.matrix, ys, strict=True)]

    def _weighted(self, row: Tensor, ys: list[Tensor], like: Tensor) -> Tensor:
        total = torch.zeros_like(like)
        for weight, y in zip(row, ys, strict=True):
            total = total + weight.to(y.dtype) * aligned(y, like)
        return total


class Unguided(nn.Module):
    """f_i = 1 everywhere: no guidance at all, for the ISP(k, n) of Definition 1.

    Attributes:
        channels: of the guidance of each level.

    Args:
        widths: channels of the embeddings, innermost first.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = (1,) * len(widths)

    def forward(self, embeddings: Maps) -> Maps:
        """Maps of ones, at the size of every level."""
        return [torch.ones_like(y[:, :1]) for y in embeddings]


def aligned(
    x: Float[Tensor, "b c h w"], like: Float[Tensor, "b _ h2 w2"]
) -> Float[Tensor, "b c h2 w2"]:
    """`x` at the size of another level, by bilinear interpolation.

    Towards coarser levels it is bilinear from level to level, as in the embedding, which is the
    mean over the pixels that fall together; one step of bilinear sampling would leave most out.
    """
    height, width = like.shape[-2:]
    if x.shape[-2:] == like.shape[-2:]:
        return x
    if height < x.shape[-2]:
        return shrink(x, height, width)
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
