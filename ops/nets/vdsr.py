"""VDSR (Kim, Lee and Lee, CVPR 2016): what Makeup-Go's Table 3 compares with.

Changed from the paper: three channels in and out instead of luminance. The convolutions have no
bias, as in the common public implementation; the paper does not say.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import centred


class VDSR(nn.Module):
    """An image plus the residual that `depth` convolutions find in it.

    He's initialisation in every layer, the last one too: the residual of an untrained network is
    noise about as strong as the image.

    Deviation: VDSR sees an image in [0, 1]. Here its layers see it in [-1, 1], in which it learns
    faster, as CRN does, so that a comparison is about the networks
    (`test_the_layers_see_the_image_around_zero_and_give_a_residual`). Without biases they leave
    an image of nothing but 0.5 as it is, as they would leave a black one otherwise.

    Args:
        depth: number of 3x3 convolutions; the paper has 20.
        width: channels between them.
        channels: of the image.

    Raises:
        ValueError: if `depth` is below 2, or a number of channels below 1.
    """

    def __init__(self, depth: int = 20, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"depth must be at least 2, got {depth}")
        if width < 1 or channels < 1:
            raise ValueError(f"a layer needs at least one channel, got {width} and {channels}")
        layers: list[nn.Module] = [_convolution(channels, width)]
        for outputs in [width] * (depth - 2) + [channels]:
            layers += [nn.ReLU(inplace=True), _convolution(width, outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The restored image, not clamped, for an image in [0, 1] of any size."""
        return image + self.layers(centred(image))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer
