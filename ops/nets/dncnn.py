"""DnCNN (Zhang et al., IEEE TIP 2017), a denoiser that finds the noise.

Changed from the paper: layers see images in [-1, 1], as all residual baselines here do, and the
last one starts close to zero, so that training starts at the untouched image.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import centred
from ops.nets.fsrcnn import image_convolution


class DnCNN(nn.Module):
    """An image minus the noise that a stack of convolutions with batch normalisation sees in it.

    Args:
        depth: number of 3x3 convolutions: 17 for a known strength of the noise, 20 for any.
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
        layers: list[nn.Module] = [_convolution(channels, width, bias=True), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [_convolution(width, width, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, image_convolution(width, channels))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The image without noise, not clamped, for an image in [0, 1] of any size."""
        return image - self.layers(centred(image))


def _convolution(inputs: int, outputs: int, bias: bool) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer
