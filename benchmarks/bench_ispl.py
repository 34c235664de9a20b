"""ISPL's generator restoring one image of 512x512, in float32 and in bfloat16.

With pixel-adaptive convolutions, with plain ones, and as its code was released (learned pooling,
the image itself as guide); at the published widths, untrained.
"""

import dataclasses
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, Work, compare
from ops.nets.guidance import Implicit
from ops.nets.hifacegan import LipPrior, SpectralGenerator
from ops.nets.ispl import ISPL
from ops.nets.subspace import plain_convolution

BASELINE = "plain convolutions"
HALF = ", bfloat16"


def networks() -> dict[str, nn.Module]:
    """The variants at their published sizes."""
    torch.manual_seed(0)
    found: dict[str, nn.Module] = {
        "pixel-adaptive convolutions": ISPL(),
        BASELINE: ISPL(prior=lambda widths: Implicit(widths, conv=plain_convolution)),
        "released": ISPL(prior=LipPrior, generator=SpectralGenerator),
    }
    return {name: net.eval() for name, net in found.items()}


def restoring(net: nn.Module, image: Tensor, half: bool) -> Work:
    """The restoration of `image`, under autocast to bfloat16 if `half`."""

    @torch.inference_mode()
    def work() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return cast("Tensor", net(image))

    return work


def cases(small: bool = False) -> dict[str, Work]:
    """Each network in each precision."""
    side = 64 if small else 512
    image = torch.rand(1, 3, side, side)
    return {
        name + HALF * half: restoring(net, image, half)
        for name, net in networks().items()
        for half in (False, True)
    }


def costs(net: nn.Module) -> dict[str, object]:
    """TFLOP of 512x512 by torch's counter, two a multiply-add; parameters in millions."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.rand(1, 3, 512, 512))
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return {
        "TFLOP": f"{counter.get_total_flops() / 1e12:.3f}",
        "parameters M": f"{parameters / 1e6:.1f}",
    }


def run() -> list[Row]:
    """Each variant against plain convolutions in float32."""
    rows = compare("benchmarks.bench_ispl", cases(), 1, BASELINE)
    found = {name: costs(net) for name, net in networks().items()}
    return [dataclasses.replace(row, extras=found[row.name.removesuffix(HALF)]) for row in rows]
