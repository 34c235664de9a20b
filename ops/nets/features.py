"""Frozen networks whose feature maps measure how alike two images look."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.weights import read_weights

# Channels of the 3 x 3 convolutions of VGG; "M" halves the size. Configurations D and E.
_VGG16 = (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3, "M")
_VGG19 = (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M")
_VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
_VGG_FACE_URL = "https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn/vgg_face_dag.pth"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FACE_MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)  # of 255, RGB


class Vgg19Features(nn.Module):
    """Feature maps of a trained VGG-19.

    Args:
        weights: file with the state dict of torchvision's VGG-19 (.pth or .safetensors).
        layers: indices into torchvision's `vgg19().features`, in ascending order; the default is
            relu1_1, relu2_1, relu3_1, relu4_1, relu5_1.
        imagenet: subtract ImageNet's mean and divide by its deviation first, as in training.
        sha256: what the file must hash to; see `ops.nets.weights.read_weights`.

    Raises:
        FileNotFoundError: if there is no file at `weights`.
        ValueError: if the file has another hash or holds something else, or a layer does not exist.
    """

    comparable = True
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: str,
        layers: tuple[int, ...] = (1, 6, 11, 20, 29),
        imagenet: bool = True,
        sha256: str | None = None,
    ) -> None:
        super().__init__()
        self.layers = layers
        stack = vgg19_stack()
        _check_layers(layers, len(stack), "VGG-19")
        load_vgg19(stack, weights, sha256)
        self.stack = nn.ModuleList(list(stack)[: layers[-1] + 1])
        mean, std = (_MEAN, _STD) if imagenet else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of the chosen layers, in their order; the image in [0, 1]."""
        return _taps(self.stack, self.layers, (image - self.mean) / self.std)


class VggFaceFeatures(nn.Module):
    """Feature maps of VGG-Face, a VGG-16 that tells people apart (Parkhi et al., 2015).

    Args:
        weights: file with the state dict of Oxford's conversion, vgg_face_dag.pth, whose names
            are conv1_1.weight and so on.
        layers: indices into the stack of convolutions, rectifiers and poolings, in ascending
            order; the default is pool3, (b, 256, h / 8, w / 8), of which NASFE takes the identity.
        native: subtract the mean face from pixels of [0, 255] first, as in training; NASFE's
            author feeds [0, 1] as it is in his other code.
        sha256: what the file must hash to; see `ops.nets.weights.read_weights`.

    Raises:
        FileNotFoundError: if there is no file at `weights`.
        ValueError: if the file has another hash or holds something else, or a layer does not exist.
    """

    comparable = True
    mean: Tensor

    def __init__(
        self,
        weights: str,
        layers: tuple[int, ...] = (16,),
        native: bool = True,
        sha256: str | None = None,
    ) -> None:
        super().__init__()
        self.layers, self.scale = layers, 255.0 if native else 1.0
        stack = _stack(_VGG16)
        _check_layers(layers, len(stack), "VGG-Face")
        load_vgg_face(stack, weights, sha256)
        self.stack = nn.ModuleList(list(stack)[: layers[-1] + 1])
        mean = torch.tensor(_FACE_MEAN if native else (0.0,) * 3).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of the chosen layers, in their order; the image in [0, 1]."""
        return _taps(self.stack, self.layers, self.scale * image - self.mean)


class RandomFeatures(nn.Module):
    """Feature maps of a small random pyramid, for runs without trained weights.

    Random filters do see edges and texture, which is enough to exercise a training step; what
    they measure is not comparable with any published number, hence `comparable`.

    Args:
        width: channels of the first level; each of the three levels has twice the one before.
        seed: of the weights, whatever the global generator's state.
    """

    comparable = False

    def __init__(self, width: int = 16, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.levels = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False)
            for a, b in ((3, width), (width, 2 * width), (2 * width, 4 * width))
        )
        for level in self.levels:
            nn.init.kaiming_normal_(level.weight, generator=generator)  # type: ignore[arg-type]
        self.eval().requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Three maps, at 1/2, 1/4 and 1/8 of the size."""
        x, maps = image, []
        for level in self.levels:
            x = F.relu(level(x))
            maps.append(x)
        return maps


def vgg19_stack() -> nn.Sequential:
    """VGG-19's convolutions, rectifiers and poolings, at torchvision's indices, untrained."""
    return _stack(_VGG19)


def load_vgg19(stack: nn.Sequential, weights: str, sha256: str | None = None) -> None:
    """Fills `stack` from the file `weights`; what belongs to VGG-19's classifier is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another hash, or its names and shapes are not VGG-19's.
    """
    state = _found(weights, sha256, "VGG-19", _VGG19_URL)
    prefix = "features."
    kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    _load(stack, kept, f"{weights} does not hold torchvision's VGG-19: replace it by {_VGG19_URL}")


def load_vgg_face(stack: nn.Sequential, weights: str, sha256: str | None = None) -> None:
    """Fills `stack` from the file `weights`; what belongs to VGG-Face's classifier is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another hash, or its names and shapes are not VGG-Face's.
    """
    state = _found(weights, sha256, "VGG-Face", _VGG_FACE_URL)
    indices = [index for index, layer in enumerate(stack) if isinstance(layer, nn.Conv2d)]
    depths = (2, 2, 3, 3, 3)
    names = [f"conv{i}_{j}" for i, depth in enumerate(depths, 1) for j in range(1, depth + 1)]
    kept = {
        f"{index}.{part}": state[f"{name}.{part}"]
        for index, name in zip(indices, names, strict=True)
        for part in ("weight", "bias")
        if f"{name}.{part}" in state
    }
    _load(stack, kept, f"{weights} does not hold Oxford's VGG-Face: replace it by {_VGG_FACE_URL}")


def timm_network(name: str, num_classes: int | None = None) -> Any:
    """The network that timm calls `name`, untrained.

    Args:
        name: of a backbone.
        num_classes: of its classifier; None is what it was published with, 0 leaves it out.

    Raises:
        ValueError: if timm has no such network.
    """
    import timm  # takes seconds, which settings can be checked without

    if name not in timm.list_models():
        near = timm.list_models(f"*{name}*")[:5]
        hint = f"there are {', '.join(near)}" if near else "see timm.list_models()"
        raise ValueError(f"timm has no backbone '{name}'; {hint}")
    return timm.create_model(name, pretrained=False, num_classes=num_classes)


def _stack(channels: tuple[int | str, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    last = 3
    for entry in channels:
        if isinstance(entry, int):
            layers += [nn.Conv2d(last, entry, 3, padding=1), nn.ReLU()]
            last = entry
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _taps(stack: nn.ModuleList, layers: tuple[int, ...], x: Tensor) -> list[Tensor]:
    maps = []
    for index, layer in enumerate(stack):
        x = layer(x)
        if index in layers:
            maps.append(x)
    return maps


def _check_layers(layers: tuple[int, ...], count: int, name: str) -> None:
    if (
        not layers
        or list(layers) != sorted(set(layers))
        or not 0 <= layers[0] <= layers[-1] < count
    ):
        raise ValueError(f"layers must be ascending indices below {count} ({name}), got {layers}")


def _found(weights: str, sha256: str | None, name: str, url: str) -> dict[str, Tensor]:
    """The state dict of a file; what is wrong with it, and where the right one is."""
    if not Path(weights).is_file():
        entry = {"VGG-19": "vgg19", "VGG-Face": "vgg_face"}[name]
        raise FileNotFoundError(
            f"no {name} weights at {weights}: download {url} to there (make weights ARGS={entry})"
        )
    try:
        return read_weights(weights, sha256)
    except ValueError as error:
        raise ValueError(f"{error}; {name} is at {url}") from error


def _load(network: nn.Module, state: dict[str, Tensor], otherwise: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(otherwise) from error
