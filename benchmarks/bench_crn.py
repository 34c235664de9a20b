"""CRN, VDSR and FSRCNN restoring an image of 512x512: images a second, FLOPs, parameters.

CRN has eight heads, in both forms of the shared one: a whitened map of the components that have no
head of their own (24 maps in all), or a map for each of them (363). Its row holds the assembly of
the image too; nothing is decomposed.
"""

import dataclasses
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, Work, compare
from ops.kernels.component import ComponentBasis
from ops.kernels.scales import Scales
from ops.kernels.whitening import Heads, Maps, Whitened
from ops.nets.crn import CRN
from ops.nets.fsrcnn import FSRCNN
from ops.nets.vdsr import VDSR

BASELINE = "VDSR"


class Restoring(nn.Module):
    """CRN with the heads that make an image of its maps."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads, self.network = heads, CRN(heads.channels)

    def forward(self, image: Tensor) -> Tensor:
        """The restored image."""
        return image + self.heads.assemble(self.network(image))


def networks() -> dict[str, nn.Module]:
    """All of them at their published sizes, in channels_last, which is faster for each."""
    basis = ComponentBasis.empty()
    scales = Scales(torch.ones(basis.count), 1.0, 0)
    found: dict[str, nn.Module] = {
        BASELINE: VDSR(),
        "FSRCNN": FSRCNN(),
        "CRN, one map of the rest": Restoring(Whitened(basis, 7, scales)),
        "CRN, every component a map": Restoring(Maps(basis, 7, scales)),
    }
    for net in found.values():
        net.eval()
        for layer in (layer for layer in net.modules() if isinstance(layer, nn.Conv2d)):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return found


def picture(small: bool = False) -> Tensor:
    """What the networks get."""
    side = 32 if small else 512
    return torch.rand(1, 3, side, side).contiguous(memory_format=torch.channels_last)


def cases(small: bool = False) -> dict[str, Work]:
    """The restoration by each network."""
    torch.manual_seed(0)
    image = picture(small)

    def restoring(net: nn.Module) -> Work:
        return cast("Work", torch.inference_mode()(lambda: net(image)))

    return {name: restoring(net) for name, net in networks().items()}


def costs(net: nn.Module) -> dict[str, object]:
    """GFLOP of 512x512 by torch's counter, two a multiply-add in convolutions; parameters."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(picture())
    return {
        "GFLOP": f"{counter.get_total_flops() / 1e9:.1f}",
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }


def run() -> list[Row]:
    """Each network against VDSR."""
    rows = compare("benchmarks.bench_crn", cases(), 5, BASELINE)
    found = {name: costs(net) for name, net in networks().items()}
    return [
        dataclasses.replace(row, extras={"images/s": f"{1 / row.median_s:.2f}", **found[row.name]})
        for row in rows
    ]
