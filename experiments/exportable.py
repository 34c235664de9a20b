"""What of a trained method goes into an exported file: a module of tensors alone, and its sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from experiments.networks import view_of
from experiments.settings import SettingsError
from lightning_modules.base import Training
from lightning_modules.embedder import FaceEmbedding
from lightning_modules.inversion import FeedForwardInversion
from lightning_modules.run import Run
from lightning_modules.search import FusionSearch
from ops.nets.embedder import Embedder
from ops.nets.guidance import EPMap
from ops.nets.inverter import GuidedInverter
from ops.nets.ispl import ISPL
from ops.nets.retouchformer import RetouchFormer

LEAST: Final = 64  # pixels a side, enough for every network to halve and to reflect
MOST: Final = 16384

Tensors = tuple[Tensor, ...]


class Restorer(nn.Module):
    """An image to the image that `Training.restore` gives.

    Args:
        method: trained.
    """

    def __init__(self, method: Training) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        """The restored image, in [0, 1]."""
        return self.method.restore({"image": image}).image


class MaskingRestorer(nn.Module):
    """An image to the image and the mask that `Training.restore` gives.

    Args:
        method: trained, one that gives masks.
    """

    def __init__(self, method: Training) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The restored image and where something was changed, both in [0, 1]."""
        restored = self.method.restore({"image": image})
        assert restored.mask is not None, "a method that masks gives its mask"
        return restored.image, restored.mask


class ParsedRestorer(nn.Module):
    """An image and its parsing map to the image that `Training.restore` gives.

    Args:
        method: trained, one that is guided by parsing maps.
    """

    def __init__(self, method: Training) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor, parsing: Tensor) -> Tensor:
        """The restored image, in [0, 1]."""
        return self.method.restore({"image": image, "parsing": parsing}).image


@dataclass(frozen=True)
class Input:
    """One input of an exported network.

    Attributes:
        meaning: in a few words.
        shape: behind the batch; None for a height or a width that is free.
    """

    meaning: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Exportable:
    """A network as it is exported.

    Attributes:
        method: that was trained.
        module: from the inputs, in their order, to the outputs.
        inputs: by name.
        outputs: what each is, by name.
        size: pixels of a side in training, the longer one.
        least: pixels that a free side has at least.
        most: and at most.
    """

    method: Run
    module: nn.Module
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str]
    size: int
    least: int = LEAST
    most: int = MOST

    @property
    def free(self) -> bool:
        """Whether height and width are free."""
        return any(None in one.shape for one in self.inputs.values())

    def example(self, batch: int, height: int, width: int, seed: int = 0) -> Tensors:
        """Inputs of uniform numbers in [0, 1], always the same for a seed."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.rand(batch, *_filled(one.shape, height, width), generator=generator)
            for one in self.inputs.values()
        )

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Batch, height and width of what a file is checked with: two sizes if they are free."""
        side = min(max(self.size, self.least), self.most)
        if not self.free:
            return [(1, side, side), (3, side, side)]
        return [(1, side, side), (2, max(self.least, 3 * side // 4 + 1), self.least + 5)]

    def answer(self, given: Tensors) -> Tensors:
        """What the network itself gives."""
        with torch.no_grad():
            found = self.module(*given)
        return (found,) if isinstance(found, Tensor) else tuple(found)


def _filled(shape: tuple[int | None, ...], height: int, width: int) -> list[int]:
    """The shape with its free sides, which are the last two, set."""
    *channels, rows, columns = shape if len(shape) > 1 else (*shape, 0, 0)
    sides = [height if rows is None else rows, width if columns is None else columns]
    return [int(each or 0) for each in channels] + (sides if len(shape) > 1 else [])


def idle_parts(method: Run) -> set[str]:
    """The parts of a method that take no part in its answers: judges, and what others trained."""
    named = {"discriminator", "criterion", "loss", "scores", *method.frozen, *method.training_only}
    return named & {name for name, _ in method.named_children()}


def exportable(method: Run) -> Exportable:
    """The network of a trained method, as it is exported; the method loses its idle parts.

    Args:
        method: trained, in evaluation mode, with the settings of its run.

    Raises:
        SettingsError: if it has no network that could be exported.
    """
    if isinstance(method, FusionSearch):
        raise SettingsError(
            "a search has no network to export: it holds every operator at once; train nasfe with "
            "the genotype that it found"
        )
    for name in idle_parts(method):
        delattr(method, name)
    if isinstance(method, Training):
        return _restorer(method, max(view_of(method).size))
    if isinstance(method, FaceEmbedding):
        return _embedder(method)
    if isinstance(method, FeedForwardInversion):
        return _inverter(method)
    raise SettingsError(
        f"{type(method).__name__} has no network to export: there is one in methods that restore "
        "images, in face embedders and in inversions in one pass"
    )


def _restorer(method: Training, size: int) -> Exportable:
    image = {"image": Input("RGB in [0, 1]", (3, None, None))}
    restored = {"restored": "RGB in [0, 1], at the size of the image"}
    network = getattr(method, "network", None)
    if method.masked:
        masked = restored | {"mask": "where something was changed, in [0, 1], one channel"}
        module: nn.Module = MaskingRestorer(method)
        window = network.window if isinstance(network, RetouchFormer) else 0
        return Exportable(method, module, image, masked, size, *_range(window, size))
    if isinstance(network, ISPL) and isinstance(network.prior, EPMap):
        classes = network.prior.classes
        parsing = Input(f"probabilities of {classes} classes of a face", (classes, None, None))
        module = ParsedRestorer(method)
        return Exportable(method, module, image | {"parsing": parsing}, restored, size=size)
    return Exportable(method, Restorer(method), image, restored, size=size)


def _range(window: int, size: int) -> tuple[int, int]:
    """The sizes that one program serves: beyond a window attention is another than inside."""
    if window <= LEAST:
        return max(LEAST, window + 1), MOST
    return (LEAST, window) if size <= window else (window + 1, MOST)


def _embedder(method: FaceEmbedding) -> Exportable:
    network: Embedder = method.network
    side = round(network.size / network.view)  # its middle has the trunk's size: no resizing
    image = {"image": Input("RGB in [0, 1]", (3, side, side))}
    told = {"embedding": f"{network.dimensions} numbers; compare by the cosine of their angle"}
    return Exportable(method, network, image, told, size=side)


def _inverter(method: FeedForwardInversion) -> Exportable:
    network = method.network
    inputs = {"embedding": Input("unnormalised, of the embedder inverted", (network.dimensions,))}
    if isinstance(network, GuidedInverter):
        guide = Input("RGB in [0, 1], whose pose is taken", (3, network.size, network.size))
        inputs |= {"guide": guide}
    made = {"image": f"RGB in [0, 1], {network.size} x {network.size} pixels"}
    return Exportable(method, network, inputs, made, size=network.size)
