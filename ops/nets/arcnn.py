"""ARCNN (Dong et al., ICCV 2015), which removes artifacts of compression.

Changed from the paper: three channels instead of luminance; all layers but the last start with
He's variance, where weights of deviation 0.001 would take the paper's millions of steps.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import centred
from ops.nets.fsrcnn import image_convolution


class ARCNN(nn.Module):
    """Four convolutions: features, their enhancement, a mapping and the image.

    Deviation: ARCNN gives the image itself. Here it gives what is missing from its input, as the
    other baselines of the same data do, so that a comparison is about the networks and training
    starts at the untouched image (`test_an_untrained_network_all_but_returns_its_input`).

    Args:
        widths: channels of the first three layers.
        kernels: sides of the four, odd.
        channels: of the image.

    Raises:
        ValueError: if a number is below 1, or a kernel is even.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (64, 32, 16),
        kernels: tuple[int, int, int, int] = (9, 7, 1, 5),
        channels: int = 3,
    ) -> None:
        super().__init__()
        if min(channels, *widths, *kernels) < 1 or any(side % 2 == 0 for side in kernels):
            raise ValueError(f"widths must be positive and kernels odd, got {widths} and {kernels}")
        inputs = (channels, *widths)
        layers: list[nn.Module] = []
        for before, after, side in zip(inputs, widths, kernels, strict=False):
            layers += [nn.Conv2d(before, after, side, padding=side // 2), nn.ReLU()]
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(*layers, image_convolution(widths[-1], channels, kernels[-1]))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The image without artifacts, not clamped, for an image in [0, 1] of any size."""
        return image + self.layers(centred(image))
