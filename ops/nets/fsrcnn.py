"""FSRCNN (Dong, Loy and Tang, ECCV 2016) at the size of its input, and the layers CRN has of it.

Changed from the paper: the last layer, a transposed convolution that enlarges, is the 9x9
convolution it becomes at a scale of one, and gives a residual; three channels instead of one.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import centred

DEVIATION = 0.001  # of the weights of a layer that gives an image: a network starts close to zero


def rectified(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """A convolution that keeps the size, and a PReLU with a slope for each channel.

    The weights' variance is 2 / (outputs * kernel^2): it keeps the size of the gradients that
    come back, and that of the features over a path that narrows and widens again.

    Raises:
        ValueError: if a number is below 1, or `kernel` is even.
    """
    layer = _convolution(inputs, outputs, kernel)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.PReLU(outputs))


def image_convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """The convolution that ends a network: small weights and no rectification behind it.

    Raises:
        ValueError: if a number is below 1, or `kernel` is even.
    """
    layer = _convolution(inputs, outputs, kernel)
    nn.init.normal_(layer.weight, std=DEVIATION)
    return layer


def narrow_mapping(width: int, shrink: int, expand: int, mapping: int) -> nn.Sequential:
    """Features of `width` channels mapped in `shrink` channels and brought to `expand`.

    1x1 to the narrow width, `mapping` 3x3 convolutions there, 1x1 out of it.

    Raises:
        ValueError: if a number is below 1.
    """
    if mapping < 1:
        raise ValueError(f"mapping must be at least one layer, got {mapping}")
    layers = [rectified(shrink, shrink) for _ in range(mapping)]
    return nn.Sequential(rectified(width, shrink, 1), *layers, rectified(shrink, expand, 1))


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    if inputs < 1 or outputs < 1:
        raise ValueError(f"a layer needs at least one channel, got {inputs} to {outputs}")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be odd to keep the size, got {kernel}")
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class FSRCNN(nn.Module):
    """An image plus the residual of a thin network: the shallow baseline of Makeup-Go.

    Deviation: FSRCNN gives the image itself. Here it gives what is missing from its input, as
    VDSR and CRN do, so that a comparison is about the networks and training starts at the
    untouched image (`test_an_untrained_network_all_but_returns_its_input`). It sees that image
    in [-1, 1], as CRN does (`test_the_layers_see_the_image_around_zero`).

    Args:
        width: channels of the features (FSRCNN's d).
        shrink: channels of the mapping (its s).
        mapping: number of mapping layers (its m).
        channels: of the image.

    Raises:
        ValueError: if a number is below 1.
    """

    def __init__(
        self, width: int = 56, shrink: int = 12, mapping: int = 4, channels: int = 3
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            rectified(channels, width, 5),
            narrow_mapping(width, shrink, width, mapping),
            image_convolution(width, channels, 9),
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The restored image, not clamped, for an image in [0, 1] of any size."""
        return image + self.layers(centred(image))
