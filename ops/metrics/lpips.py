"""LPIPS with weights from files, so that nothing is downloaded."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.weights import read_weights

LEAST = 31  # pixels a side: what AlexNet's poolings leave something of


class Lpips:
    """Learned perceptual distance, AlexNet form, version 0.1 (Zhang et al., CVPR 2018).

    Its linear heads come with the package `lpips`; the backbone is torchvision's AlexNet, whose
    weights are not part of any package.

    Args:
        weights: file with AlexNet's state dict in torchvision's naming (alexnet-owt-*.pth).
        sha256: what the file must hash to; see `ops.nets.weights.read_weights`.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it has another hash or is not AlexNet's state dict.
        ModuleNotFoundError: if `lpips` is not installed.
    """

    def __init__(self, weights: str, sha256: str | None = None) -> None:
        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"no AlexNet weights at {weights}: give the path of torchvision's alexnet-owt "
                "file (make weights ARGS=alexnet), or leave measures.lpips empty"
            )
        state = read_weights(weights, sha256)
        self._network = _with_backbone(_untrained(), state, weights).eval().requires_grad_(False)

    def __call__(
        self, output: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, " b"]:
        """The distance of each pair of images in [0, 1].

        Raises:
            ValueError: if a side is below 31 pixels.
        """
        if min(output.shape[-2:]) < LEAST:
            height, width = output.shape[-2:]
            raise ValueError(
                f"LPIPS needs at least {LEAST} pixels a side, got {height} x {width}: take larger "
                "images or leave measures.lpips empty"
            )
        network = self._network.to(output.device)
        with torch.no_grad():
            return network(output, target, normalize=True).flatten()


def _untrained() -> nn.Module:
    try:
        import lpips
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "LPIPS needs the package lpips: pip install -e '.[lpips]'"
        ) from error
    network: nn.Module = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    return network


def _with_backbone(network: nn.Module, state: dict[str, Tensor], weights: str) -> nn.Module:
    backbone = network.get_submodule("net")
    wanted = {  # slice1.0.weight in lpips is features.0.weight in torchvision
        name: "features." + name.split(".", 1)[1] for name in backbone.state_dict()
    }
    if not set(wanted.values()) <= state.keys():
        raise ValueError(f"{weights} does not hold AlexNet's weights in torchvision's naming")
    backbone.load_state_dict({ours: state[theirs] for ours, theirs in wanted.items()})
    return network
