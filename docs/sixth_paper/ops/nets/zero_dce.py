"""Zero-DCE (Guo et al., CVPR 2020): a dark picture made bright by curves of its own.

Changed from the paper: nothing but that all numbers of layers and channels can be given.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def brightened(
    image: Float[Tensor, "b c h w"], curves: Float[Tensor, "b nc h w"]
) -> Float[Tensor, "b c h w"]:
    r"""`image` after one curve after another, each with its own strength at every pixel (Eq. 3).

    .. math:: LE_n = LE_{n-1} + A_n LE_{n-1} (1 - LE_{n-1})

    What is in [0, 1] stays there, and black and white stay as they are.

    Args:
        image: in [0, 1].
        curves: A_1, A_2, ... in [-1, 1], each as many channels as the image has; 0 changes nothing.

    Raises:
        ValueError: if the channels of `curves` are no multiple of those of `image`.
    """
    channels = image.shape[1]
    if curves.shape[1] % channels:
        raise ValueError(
            f"curves need a multiple of the image's {channels} channels, got {curves.shape[1]}"
        )
    for strength in curves.split(channels, dim=1):
        image = image + strength * image * (1 - image)
    return image


class ZeroDCE(nn.Module):
    """DCE-Net: seven convolutions, the later ones joined with the earlier ones, and the curves.

    Args:
        width: channels of each layer; the paper has 32.
        curves: how many are applied one after another; the paper has 8.
        channels: of the image.

    Raises:
        ValueError: if a number is below 1.
    """

    def __init__(self, width: int = 32, curves: int = 8, channels: int = 3) -> None:
        super().__init__()
        if min(width, curves, channels) < 1:
            raise ValueError(f"all must be at least 1, got {width}, {curves} and {channels}")
        inputs = [channels, width, width, width]
        self.down = nn.ModuleList(_convolution(each, width) for each in inputs)
        self.up = nn.ModuleList(_convolution(2 * width, width) for _ in range(2))
        self.last = _convolution(2 * width, curves * channels)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b nc h w"]:
        """The curves for an image in [0, 1] of any size, each strength in [-1, 1]."""
        maps = [image]
        for layer in self.down:
            maps.append(layer(maps[-1]).relu())
        x = maps.pop()
        for layer in self.up:
            x = layer(torch.cat((maps.pop(), x), dim=1)).relu()
        return self.last(torch.cat((maps.pop(), x), dim=1)).tanh()


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
