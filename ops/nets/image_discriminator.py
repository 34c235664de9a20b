"""The discriminator of SRGAN (Ledig et al., CVPR 2017) and ESRGAN: one judgement an image."""

import itertools

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import SLOPE, centred


class ImageDiscriminator(nn.Module):
    """Real or not, a whole image, by convolutions as in VGG and two dense layers.

    Batch normalisation always takes the batch's own statistics, real and made images each by
    themselves, in evaluation too: there is no state beside the weights.

    Deviation: printed is a network for patches of 96 pixels, whose last maps are 6x6. Here maps of
    any size are brought to 6x6 by area means, and at 96 pixels nothing changes
    (`test_patches_of_96_pixels_are_judged_without_reduction`).

    Args:
        widths: channels of the levels, each of a convolution and one that halves the size.
        hidden: channels between the dense layers.
        grid: side of the maps that the first of them sees.
    """

    def __init__(
        self, widths: tuple[int, ...] = (64, 128, 256, 512), hidden: int = 1024, grid: int = 6
    ) -> None:
        super().__init__()
        self.smallest = 2 ** len(widths) + 1  # pixels: two values for batch normalisation
        layers = [nn.Conv2d(3, widths[0], 3, padding=1), nn.LeakyReLU(SLOPE)]
        layers += _normalised(widths[0], widths[0], 2)
        for before, width in itertools.pairwise(widths):
            layers += _normalised(before, width, 1) + _normalised(width, width, 2)
        self.layers, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(grid)
        self.hidden = nn.Linear(widths[-1] * grid**2, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 1 1"]:
        """A logit for each image in [0, 1], positive for "real".

        Raises:
            ValueError: if both sides of the image are too short.
        """
        if max(image.shape[-2:]) < self.smallest:
            raise ValueError(
                f"an image needs a side of {self.smallest} pixels or more, "
                f"got {image.shape[-2]}x{image.shape[-1]}"
            )
        maps = self.pool(self.layers(centred(image)))
        logits = self.head(F.leaky_relu(self.hidden(maps.flatten(1)), SLOPE))
        return logits[..., None, None]


def _normalised(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs, track_running_stats=False),
        nn.LeakyReLU(SLOPE),
    ]
