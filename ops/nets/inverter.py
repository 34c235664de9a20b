"""Feed-forward inversion: from an embedding to an image in one pass (inversion paper, Section 4).

No code was published. Biases, the activation at the end and the guide's branch in its details are
this project's choice; where the paper speaks, its numbers are the defaults.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import centred

KERNEL = 5
_COARSEST = 8  # pixels a side of the map that the embedding becomes
_SEEDS = 16  # channels of that map
_COLOURS = 3
_FEW = 4  # channels up to which the sub-pixel form is faster


def doubled(
    x: Float[Tensor, "b i h w"], weight: Float[Tensor, "i o 5 5"], bias: Float[Tensor, " o"]
) -> Float[Tensor, "b o h2 w2"]:
    """The 5x5 deconvolution of stride 2, at exactly twice the size."""
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=2, output_padding=1)


def doubled_by_sub_pixels(
    x: Float[Tensor, "b i h w"], weight: Float[Tensor, "i o 5 5"], bias: Float[Tensor, " o"]
) -> Float[Tensor, "b o h2 w2"]:
    """The same as `doubled`, as a 3x3 convolution that gives the four pixels of each as channels.

    Two and a half times as fast on a CPU where there are three channels to give, of which a
    deconvolution fills no vector; slower where there are many.
    """
    inputs, outputs = weight.shape[:2]
    taps = F.pad(weight, (0, 1, 0, 1)).view(inputs, outputs, 3, 2, 3, 2).flip(2, 4)
    kernel = taps.permute(1, 3, 5, 0, 2, 4).reshape(4 * outputs, inputs, 3, 3)
    return F.pixel_shuffle(F.conv2d(x, kernel, bias.repeat_interleave(4), padding=1), 2)


class Doubling(nn.Module):
    """A 5x5 deconvolution of stride 2 with a bias that starts at 0.

    Args:
        inputs: channels of the input.
        outputs: channels of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """The features at twice the size."""
        form = doubled_by_sub_pixels if len(self.bias) <= _FEW else doubled
        return form(x, self.weight, self.bias)


Layers = Sequence[Doubling | nn.Conv2d]
Initialisation = Callable[[Layers], None]


@torch.no_grad()
def smooth_and_grey(layers: Layers) -> None:
    """Nothing; starts layers as interpolations between random filters, the last one in grey.

    The paper's start (Section 5.2), from which it saw training converge faster. Every filter is
    the same smooth kernel times a number of Xavier's matrix between the channels, and the filters
    of the last layer are the same for all three colours.

    Deviation: it is called smooth and no more. Here it is 1, 4, 6, 4, 1 each way, the kernel by
    which a Laplacian pyramid expands: it uses all five taps and both sets of them that meet a
    pixel have the same sum, which a triangle of five taps lacks
    (`test_a_smooth_start_keeps_a_constant_map_constant_inside`).

    Args:
        layers: in their order, all but the last followed by a ReLU.
    """
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
    for layer in layers:
        weight, phases = _inputs_first(layer)
        kernel = torch.outer(line, line) * (phases / line.sum() ** 2)
        between = torch.empty(weight.shape[:2])
        nn.init.xavier_normal_(between, _gain(layer, layers))
        if layer is layers[-1]:
            between = between[:, :1]
        weight.copy_(between[:, :, None, None] * kernel)


@torch.no_grad()
def xavier(layers: Layers) -> None:
    """Nothing; starts layers from Xavier's normal numbers, every tap its own.

    Args:
        layers: in their order, all but the last followed by a ReLU.
    """
    for layer in layers:
        nn.init.xavier_normal_(layer.weight, _gain(layer, layers))


class Inverter(nn.Module):
    """An image that an embedder shall see as a given embedding (inversion paper, Section 4.1).

    A fully connected layer gives 8 x 8 pixels of 16 channels, each deconvolution doubles the side
    with ReLUs between, and the middle of the last map is the image. For 224 pixels there are five
    deconvolutions, to 256; for another size as many as reach it, so 112 is the middle of 128. What
    lies so far out that no pixel of the image depends on it is not computed.

    The image is a sigmoid of the last map, hence in [0, 1]; the paper does not say how it keeps
    to a range. It starts around 0.5.

    Args:
        dimensions: length of the embedding.
        size: side of the image in pixels: what the embedder was made for.
        filters: channels L of all maps between; the paper has 50, 112 and 250.
        initialisation: of the deconvolutions; `smooth_and_grey` or `xavier`.

    Raises:
        ValueError: if a number is below 1.
    """

    def __init__(
        self,
        dimensions: int = 128,
        size: int = 224,
        filters: int = 112,
        initialisation: Initialisation = smooth_and_grey,
    ) -> None:
        super().__init__()
        _check(dimensions, size, filters)
        self.dimensions, self.size = dimensions, size
        self.start = _start(dimensions)
        widths = [_SEEDS, *[filters] * (doublings(size) - 1), _COLOURS]
        self.layers = nn.ModuleList(Doubling(a, b) for a, b in itertools.pairwise(widths))
        self.margins = unseen_margins(size)
        initialisation([*self.layers])

    def forward(self, embedding: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 _ _"]:
        """Images in [0, 1] for embeddings, unnormalised."""
        x = _seeded(self.start, embedding)
        for layer, margin in zip(self.layers, self.margins, strict=True):
            x = layer(_without(F.relu(x), margin))
        return torch.sigmoid(_middle(x, self.size))


class GuidedInverter(nn.Module):
    """An image that an embedder shall see as a given embedding, in a guide's pose (Section 4.2).

    The guide, with a border of zeros up to the full side, goes through convolutions of stride 2.
    What they give at 8 pixels a side and each double of it is joined to the maps of `Inverter`
    there, and the guide itself to the last one, L_8 = 3 channels without a ReLU; one more
    convolution makes the image of these six.

    The paper gives neither the guide's channels nor the sides of its kernels. Here those are a
    setting and 5; guides are in [-1, 1] inside, so that the border is grey.

    Args:
        dimensions: length of the embedding.
        size: side of the image and the guide in pixels.
        filters: channels L of the maps between.
        guide_filters: channels of the guide's maps.
        initialisation: of the deconvolutions and the last convolution.

    Raises:
        ValueError: if a number is below 1.
    """

    def __init__(
        self,
        dimensions: int = 128,
        size: int = 224,
        filters: int = 112,
        guide_filters: int = 32,
        initialisation: Initialisation = smooth_and_grey,
    ) -> None:
        super().__init__()
        _check(dimensions, size, filters, guide_filters)
        self.dimensions, self.size = dimensions, size
        self.start = _start(dimensions)
        count = doublings(size)
        self.side = _COARSEST * 2**count
        self.encoder = nn.ModuleList(
            _halving(guide_filters if step else _COLOURS, guide_filters) for step in range(count)
        )
        widths = [_SEEDS, *[filters] * (count - 1), _COLOURS]
        self.layers = nn.ModuleList(
            Doubling(a + guide_filters, b) for a, b in itertools.pairwise(widths)
        )
        self.last = nn.Conv2d(2 * _COLOURS, _COLOURS, KERNEL, padding=KERNEL // 2)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        initialisation([*self.layers, self.last])

    def forward(
        self, embedding: Float[Tensor, "b d"], guide: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """Images in [0, 1] for embeddings, unnormalised, and guides in [0, 1] of the size.

        Raises:
            ValueError: if a guide has another size.
        """
        if guide.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"a guide must have {self.size} x {self.size} pixels, got {guide.shape[-2]} x "
                f"{guide.shape[-1]}"
            )
        whole = _framed(centred(guide), self.side)
        maps = self._guidance(whole)
        x = _seeded(self.start, embedding)
        for layer in self.layers[:-1]:
            x = F.relu(layer(torch.cat([x, maps.pop()], 1)))
        x = self.layers[-1](torch.cat([x, maps.pop()], 1))
        return torch.sigmoid(_middle(self.last(torch.cat([x, whole], 1)), self.size))

    def _guidance(self, guide: Tensor) -> list[Tensor]:
        """The guide's maps, finest first."""
        maps = []
        for layer in self.encoder:
            guide = F.relu(layer(guide))
            maps.append(guide)
        return maps


def doublings(size: int) -> int:
    """How often 8 pixels must be doubled to reach `size`, once at least."""
    return max(1, (-(-size // _COARSEST) - 1).bit_length())


def unseen_margins(size: int) -> list[int]:
    """How many border pixels each deconvolution's input can lose, coarsest first.

    A pixel of a deconvolution depends on inputs up to one pixel away from its place. Each margin
    is counted on a map that has lost those of the coarser maps.
    """
    outside = [(_COARSEST * 2 ** doublings(size) - size) // 2]
    for _ in range(doublings(size)):
        outside.insert(0, max(0, outside[0] // 2 - 1))
    return [outside[0], *[b - 2 * a for a, b in itertools.pairwise(outside[:-1])]]


def _check(*numbers: int) -> None:
    if min(numbers) < 1:
        raise ValueError(f"dimensions, size and channels must be 1 or more, got {numbers}")


def _start(dimensions: int) -> nn.Linear:
    layer = nn.Linear(dimensions, _SEEDS * _COARSEST**2)
    nn.init.xavier_normal_(layer.weight, nn.init.calculate_gain("relu"))
    nn.init.zeros_(layer.bias)
    return layer


def _seeded(start: nn.Module, embedding: Tensor) -> Tensor:
    x = F.relu(start(embedding)).unflatten(1, (_SEEDS, _COARSEST, _COARSEST))
    # Every later map follows, and is a tenth faster on a CPU.
    return x.contiguous(memory_format=torch.channels_last)


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, KERNEL, stride=2, padding=KERNEL // 2)
    nn.init.xavier_normal_(layer.weight, nn.init.calculate_gain("relu"))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _gain(layer: nn.Module, layers: Layers) -> float:
    return 1.0 if layer is layers[-1] else nn.init.calculate_gain("relu")


def _inputs_first(layer: Doubling | nn.Conv2d) -> tuple[Tensor, int]:
    """The filters with the inputs as first axis, and how many sets of taps meet pixels in turn."""
    if isinstance(layer, Doubling):
        return layer.weight, 4
    return layer.weight.transpose(0, 1), 1


def _middle(x: Tensor, size: int) -> Tensor:
    start = (x.shape[-1] - size) // 2
    return x[..., start : start + size, start : start + size]


def _without(x: Tensor, margin: int) -> Tensor:
    height, width = x.shape[-2:]
    part = x[..., margin : height - margin, margin : width - margin]
    return part.contiguous(memory_format=torch.channels_last)


def _framed(x: Tensor, side: int) -> Tensor:
    """The image in the middle of zeros."""
    before = (side - x.shape[-1]) // 2
    after = side - x.shape[-1] - before
    return F.pad(x, (before, after, before, after))
