"""Pixel-adaptive convolution (ISPL Eq. 8 and 9) against its formula on unfolded maps.

Tap weights from 16 features and a 3 x 3 convolution of 64 channels to 64, float32, at 128 x 128 and
256 x 256. A plain convolution is there as the floor. Where there is a GPU, its times by the wall
follow: a call and the wait for its end, in whichever form runs there.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.timing import Row, Work, compare, interleaved, summary
from ops.kernels.pac import adaptive_kernel, pixel_adaptive_conv2d

CHANNELS, FEATURES = 64, 16
SIDES = (128, 256)
ROUNDS = {"forward": 9, "forward and backward": 5}


class Given(NamedTuple):
    """What a layer gets; all of it wants gradients."""

    x: torch.Tensor
    features: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


def unfolded(given: Given) -> torch.Tensor:
    """The peer: both equations on the k^2-fold columns of the maps."""
    x, features, weight, bias = given
    b, _, h, w = x.shape
    seen = F.unfold(features, 3, padding=1).view(b, FEATURES, 9, h, w)
    kernel = torch.tanh((seen * features.unsqueeze(2)).sum(1) / math.sqrt(FEATURES))
    columns = F.unfold(x, 3, padding=1).view(b, CHANNELS, 9, h, w) * kernel.unsqueeze(1)
    out = weight.flatten(1) @ columns.view(b, 9 * CHANNELS, h * w)
    return out.view(b, CHANNELS, h, w) + bias[:, None, None]


def ours(given: Given) -> torch.Tensor:
    """The same by our two functions."""
    kernel = adaptive_kernel(given.features, 3, padding=1)
    return pixel_adaptive_conv2d(given.x, kernel, given.weight, given.bias, padding=1)


def plain(given: Given) -> torch.Tensor:
    """A convolution without tap weights."""
    return F.conv2d(given.x, given.weight, given.bias, padding=1)


WAYS = {"unfold": unfolded, "ours": ours, "plain convolution": plain}


def inputs(side: int, device: str = "cpu") -> Given:
    """Maps and weights of one size."""
    torch.manual_seed(0)
    sizes = [(1, CHANNELS, side, side), (1, FEATURES, side, side), (CHANNELS, CHANNELS, 3, 3)]
    maps = [torch.randn(*size, device=device) for size in sizes]
    maps[2] /= math.sqrt(9 * CHANNELS)
    bias = torch.randn(CHANNELS, device=device)
    return Given(*(one.requires_grad_() for one in (*maps, bias)))


def works(way: Callable[[Given], torch.Tensor], given: Given) -> dict[str, Work]:
    """The way in one pass and in both."""

    def both() -> object:
        leaves = [one for i, one in enumerate(given) if i != 1 or way is not plain]
        out = way(given)
        return torch.autograd.grad(out, leaves, torch.ones_like(out))

    return {"forward": torch.no_grad()(lambda: way(given)), "forward and backward": both}


def check(given: Given) -> None:
    """Whether both ways agree.

    Raises:
        AssertionError: if they do not, so that there is nothing to compare.
    """
    found = [(way(given), works(way, given)["forward and backward"]()) for way in (unfolded, ours)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


def cases(small: bool = False) -> dict[str, Work]:
    """Every way, pass and size; in small the sizes are smaller under the same names."""
    if small:
        check(inputs(24))
    return {
        f"{name}, {side}, {passes}": work
        for side in SIDES
        for name, way in WAYS.items()
        for passes, work in works(way, inputs(24 if small else side)).items()
    }


def on_gpu() -> list[Row]:
    """The forward and both passes at 256 x 256 by the wall, TensorFloat-32 allowed for all."""
    check(inputs(24, "cuda"))
    torch.backends.cuda.matmul.allow_tf32 = True
    given, rows = inputs(SIDES[-1], "cuda"), []

    def waited(work: Work) -> Work:
        def call() -> None:
            work()
            torch.cuda.synchronize()

        return call

    for passes in ROUNDS:
        ways = {
            f"{name}, {SIDES[-1]}, {passes}, GPU": waited(works(way, given)[passes])
            for name, way in WAYS.items()
        }
        seconds = interleaved(ways, 50, time.perf_counter)
        rows += [summary(name, times) for name, times in seconds.items()]
    return rows


def run() -> list[Row]:
    """Each size and pass against the unfolded map."""
    every, rows = cases(), []
    for side in SIDES:
        for passes, rounds in ROUNDS.items():
            chosen = {x: y for x, y in every.items() if x.endswith(f", {side}, {passes}")}
            baseline = f"unfold, {side}, {passes}"
            rows += compare("benchmarks.bench_pac", chosen, rounds, baseline)
    return rows + (on_gpu() if torch.cuda.is_available() else [])
