"""The operators among which a fusion cell chooses (NASFE Section 3.1 and Fig. 3).

The paper says "ten" and lists eleven, the last being no connection at all; so there are eleven
here, "zero" first. The convolutions are those of DARTS (Liu, Simonyan and Yang, ICLR 2019): an
activation, convolutions, a normalisation without weights of its own, so that no operator gains by
being loud.

Deviation: DARTS normalises by the statistics of a batch. Here they are those of groups of channels
of one image (`test_no_operator_looks_at_another_image_of_the_batch`), for a batch may be 1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.deveil import Deveiling
from ops.kernels.residual import Residual
from ops.kernels.wiener import FFTOperator
from ops.nets.blocks import group_norm

SCALE = 4  # of a Res2Block: the parts into which it cuts the channels


def plain_norm(channels: int) -> nn.GroupNorm:
    """The groups of `ops.nets.blocks.group_norm`, without weights."""
    return nn.GroupNorm(group_norm(channels).num_groups, channels, affine=False)


class Zero(nn.Module):
    """No connection: zeros of the input's shape.

    Args:
        channels: not used; all operators are made from it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Zeros."""
        return torch.zeros_like(x)


class Skip(nn.Module):
    """The input itself.

    Args:
        channels: not used; all operators are made from it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input."""
        return x


def dilated(channels: int, kernel: int) -> nn.Sequential:
    """One depthwise convolution of rate 2 and a 1x1, as "dilated conv" in DARTS.

    It sees 5x5 pixels with a kernel of 3 and 9x9 with one of 5.
    """
    return nn.Sequential(nn.ReLU(), *_depthwise(channels, kernel, 2), plain_norm(channels))


def separable(channels: int, kernel: int) -> nn.Sequential:
    """Two depthwise convolutions, each with a 1x1, as "separable conv" in DARTS."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.ReLU(), *_depthwise(channels, kernel, 1), plain_norm(channels)]
    return nn.Sequential(*layers)


def _depthwise(channels: int, kernel: int, rate: int) -> list[nn.Module]:
    reach = rate * (kernel // 2)
    return [
        nn.Conv2d(
            channels, channels, kernel, padding=reach, dilation=rate, groups=channels, bias=False
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
    ]


def dilated_3(channels: int) -> nn.Sequential:
    """`dilated` with a kernel of 3."""
    return dilated(channels, 3)


def dilated_5(channels: int) -> nn.Sequential:
    """`dilated` with a kernel of 5."""
    return dilated(channels, 5)


def separable_3(channels: int) -> nn.Sequential:
    """`separable` with a kernel of 3."""
    return separable(channels, 3)


def separable_5(channels: int) -> nn.Sequential:
    """`separable` with a kernel of 5."""
    return separable(channels, 5)


class Res2Block(nn.Module):
    """Features plus what a hierarchy of small convolutions adds (Gao et al., "Res2Net", 2019).

    1x1, then four parts of the channels: the first as it is, each further one through a 3x3
    convolution together with the part before it; then 1x1 and the sum with the input.

    Args:
        channels: of the features, a multiple of 4.

    Raises:
        ValueError: if `channels` is no multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < SCALE or channels % SCALE:
            raise ValueError(
                f"a Res2Block cuts its channels into {SCALE} parts: they must be a multiple of "
                f"{SCALE}, got {channels}"
            )
        part = channels // SCALE
        self.enter = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False))
        self.parts = nn.ModuleList(nn.Conv2d(part, part, 3, padding=1) for _ in range(SCALE - 1))
        self.leave = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False), plain_norm(channels)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The refined features, same shape."""
        first, *others = self.enter(x).chunk(SCALE, dim=1)
        found = [first, self.parts[0](others[0])]
        for convolve, part in zip(self.parts[1:], others[1:], strict=True):
            found.append(convolve(part + F.relu(found[-1])))
        return x + self.leave(torch.cat(found, dim=1))


class SelfAttention(nn.Module):
    """Features plus what each place finds at all others (Zhang et al., "SAGAN", ICML 2019).

    Queries, keys and values have a quarter of the channels, and keys and values are the maxima of
    2x2 places, as in SAGAN's code: four times fewer to compare with. Of an odd side the last place
    is left out of them. No matrix of scores is kept.
    What is found is normalised; SAGAN multiplies it by a weight that starts at 0 instead, with
    which a fresh operator would be one more skip connection.

    Args:
        channels: of the features.

    Raises:
        ValueError: if `channels` is below 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"features need at least one channel, got {channels}")
        inner = max(1, channels // 4)
        self.query = nn.Conv2d(channels, inner, 1)
        self.context = nn.Conv2d(channels, 2 * inner, 1)
        self.leave = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), plain_norm(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features with what was found added, same shape.

        Raises:
            ValueError: if a side is below 2.
        """
        if min(x.shape[-2:]) < 2:
            raise ValueError(f"attention needs sides of 2 or more, got {tuple(x.shape[-2:])}")
        query = _tokens(self.query(x))
        context = F.max_pool2d(self.context(x), 2)
        key, value = (_tokens(part) for part in context.chunk(2, dim=1))
        found = F.scaled_dot_product_attention(query, key, value)
        maps = found.squeeze(1).transpose(1, 2).unflatten(2, x.shape[-2:])
        return x + self.leave(maps)


def _tokens(maps: Tensor) -> Tensor:
    """Maps (b, c, h, w) as tokens (b, 1, h w, c) of one head."""
    return maps.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()


OPERATORS: tuple[tuple[str, Callable[[int], nn.Module]], ...] = (
    ("zero", Zero),
    ("skip", Skip),
    ("dilated_3", dilated_3),
    ("dilated_5", dilated_5),
    ("separable_3", separable_3),
    ("separable_5", separable_5),
    ("res2", Res2Block),
    ("self_attention", SelfAttention),
    ("residual", Residual),
    ("deveiling", Deveiling),
    ("fft", FFTOperator),
)
NAMES = tuple(name for name, _ in OPERATORS)


def operator(name: str, channels: int) -> nn.Module:
    """A new operator of that name.

    Raises:
        ValueError: if there is no such operator, or it cannot be made for that many channels.
    """
    if name not in NAMES:
        raise ValueError(f"an operator must be one of {', '.join(NAMES)}, got {name!r}")
    return OPERATORS[NAMES.index(name)][1](channels)


def unit_power(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """A map of mean 0 and power 1 over all channels of an image, in which cells hand on features.

    Deviation: the paper tells of no such normalisation. A deveiling operator multiplies features
    by a mask made of themselves, so that each block would square their size: in a search it
    overflowed after some hundred steps (`test_blocks_in_a_row_neither_grow_nor_fade`).
    """
    return F.group_norm(x, 1)


def collector(blocks: int, channels: int) -> nn.Conv2d:
    """What makes a cell's output of the maps of its blocks, joined along the channels.

    1x1 back to `channels`, on which the paper is silent.
    """
    return nn.Conv2d(blocks * channels, channels, 1)
