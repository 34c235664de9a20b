"""Frozen networks whose feature maps measure how alike two images look."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Channels of VGG-19's 16 convolutions; "M" halves the size. Configuration E of the VGG paper.
_VGG19 = (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M")
_VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg19Features(nn.Module):
    """Feature maps of a trained VGG-19.

    Args:
        weights: file with the state dict of torchvision's VGG-19 (.pth or .safetensors).
        layers: indices into torchvision's `vgg19().features`, in ascending order; the default is
            relu1_1, relu2_1, relu3_1, relu4_1, relu5_1.
        imagenet: subtract ImageNet's mean and divide by its deviation first, as in training.

    Raises:
        FileNotFoundError: if there is no file at `weights`.
        ValueError: if the file holds something else, or a layer does not exist.
    """

    comparable = True
    mean: Tensor
    std: Tensor

    def __init__(
        self, weights: str, layers: tuple[int, ...] = (1, 6, 11, 20, 29), imagenet: bool = True
    ) -> None:
        super().__init__()
        self.layers = layers
        stack = vgg19_stack()
        if not layers or list(layers) != sorted(set(layers)) or not 0 <= layers[-1] < len(stack):
            raise ValueError(
                f"layers must be ascending indices below {len(stack)} (VGG-19), got {layers}"
            )
        load_vgg19(stack, weights)
        self.stack = nn.ModuleList(list(stack)[: layers[-1] + 1])
        mean, std = (_MEAN, _STD) if imagenet else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of the chosen layers, in their order; the image in [0, 1]."""
        x, maps = (image - self.mean) / self.std, []
        for index, layer in enumerate(self.stack):
            x = layer(x)
            if index in self.layers:
                maps.append(x)
        return maps


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
    layers: list[nn.Module] = []
    channels = 3
    for entry in _VGG19:
        if isinstance(entry, int):
            layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU()]
            channels = entry
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def load_vgg19(stack: nn.Sequential, weights: str) -> None:
    """Fills `stack` from the file `weights`; what belongs to VGG-19's classifier is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its names and shapes are not VGG-19's.
    """
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"no VGG-19 weights at {path}: download {_VGG19_URL} to there")
    prefix = "features."
    try:
        state = _read(path)
        kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        stack.load_state_dict(kept)
    except Exception as error:  # whatever a foreign file provokes, the remedy is the same
        raise ValueError(
            f"{path} does not hold torchvision's VGG-19: replace it by {_VGG19_URL}"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(str(path))
    return torch.load(path, map_location="cpu", weights_only=True)
