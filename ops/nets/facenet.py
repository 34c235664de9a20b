"""FaceNet's public substitute: Inception-ResNet-v1 with the weights of facenet-pytorch.

Architecture: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning" (AAAI 2017), Figures 10 to 15, in the variant of David Sandberg's FaceNet,
whose stem ends in a strided convolution and whose residuals are scaled by 0.17, 0.10 and 0.20.
Modules are named as in facenet-pytorch (MIT), so that its files load key by key.
"""

from collections.abc import Sequence
from typing import Final, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.weights import origin, read_weights

_EPS = 1e-3  # of every BatchNorm, as in the TensorFlow original
_PEOPLE = 8631  # classes of the VGGFace2 weights


class ConvNormRelu(nn.Module):
    """A convolution without bias, BatchNorm and a rectifier.

    Args:
        inputs: channels of the input.
        outputs: channels of the result.
        kernel: side of the kernel, or its height and width.
        stride: in both directions.
        padding: rows and columns of zeros on each side; None keeps the size at stride 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = (height // 2, width // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, pads, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_EPS)

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        """The rectified, normalised convolution."""
        return F.relu(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Parallel branches, joined by a 1 x 1 convolution and added to the input on a scale.

    Args:
        branches: their results are stacked in this order.
        joined: channels of all results together.
        channels: of the input and the result.
        scale: of what is added.
        rectified: whether a rectifier follows; the last block of the network has none.
    """

    def __init__(
        self,
        branches: Sequence[nn.Module],
        joined: int,
        channels: int,
        scale: float,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        self.count, self.scale, self.rectified = len(branches), scale, rectified
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)
        self.conv2d = nn.Conv2d(joined, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input and what the branches add to it."""
        parts = [self.get_submodule(f"branch{index}")(x) for index in range(self.count)]
        x = x + self.scale * self.conv2d(torch.cat(parts, 1))
        return F.relu(x) if self.rectified else x


class Reduction(nn.Module):
    """Parallel branches that halve the size, stacked with the largest values of 3 x 3 pixels.

    Args:
        branches: their results are stacked in this order, before the largest values.
    """

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.count = len(branches)
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        """The stacked results at half the size."""
        parts = [self.get_submodule(f"branch{index}")(x) for index in range(self.count)]
        return torch.cat([*parts, F.max_pool2d(x, 3, stride=2)], 1)


def _block35() -> Residual:
    branches = (
        ConvNormRelu(256, 32, 1),
        nn.Sequential(ConvNormRelu(256, 32, 1), ConvNormRelu(32, 32, 3)),
        nn.Sequential(ConvNormRelu(256, 32, 1), ConvNormRelu(32, 32, 3), ConvNormRelu(32, 32, 3)),
    )
    return Residual(branches, 96, 256, scale=0.17)


def _block17() -> Residual:
    rows, columns = ConvNormRelu(128, 128, (1, 7)), ConvNormRelu(128, 128, (7, 1))
    branches = (
        ConvNormRelu(896, 128, 1),
        nn.Sequential(ConvNormRelu(896, 128, 1), rows, columns),
    )
    return Residual(branches, 256, 896, scale=0.10)


def _block8(scale: float = 0.20, rectified: bool = True) -> Residual:
    rows, columns = ConvNormRelu(192, 192, (1, 3)), ConvNormRelu(192, 192, (3, 1))
    branches = (
        ConvNormRelu(1792, 192, 1),
        nn.Sequential(ConvNormRelu(1792, 192, 1), rows, columns),
    )
    return Residual(branches, 384, 1792, scale, rectified)


def _halving(inputs: int, outputs: int) -> ConvNormRelu:
    return ConvNormRelu(inputs, outputs, 3, stride=2, padding=0)


def _mixed_6a() -> Reduction:
    long = (ConvNormRelu(256, 192, 1), ConvNormRelu(192, 192, 3), _halving(192, 256))
    return Reduction((_halving(256, 384), nn.Sequential(*long)))


def _mixed_7a() -> Reduction:
    long = (ConvNormRelu(896, 256, 1), ConvNormRelu(256, 256, 3), _halving(256, 256))
    return Reduction(
        (
            nn.Sequential(ConvNormRelu(896, 256, 1), _halving(256, 384)),
            nn.Sequential(ConvNormRelu(896, 256, 1), _halving(256, 256)),
            nn.Sequential(*long),
        )
    )


@final
class InceptionResnetV1(nn.Module):
    """The whole network, untrained, with the classifier that the published weights end in.

    Args:
        people: classes of that classifier.
    """

    def __init__(self, people: int = _PEOPLE) -> None:
        super().__init__()
        self.conv2d_1a = _halving(3, 32)
        self.conv2d_2a = ConvNormRelu(32, 32, 3, padding=0)
        self.conv2d_2b = ConvNormRelu(32, 64, 3)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = ConvNormRelu(64, 80, 1)
        self.conv2d_4a = ConvNormRelu(80, 192, 3, padding=0)
        self.conv2d_4b = _halving(192, 256)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = _mixed_6a()
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = _mixed_7a()
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(scale=1.0, rectified=False)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=_EPS)
        self.logits = nn.Linear(512, people)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 512"]:
        """The embedding of images in about [-1, 1], unnormalised."""
        return self.embed(self.maps(x)["block8"])

    def embed(self, x: Float[Tensor, "b 1792 h w"]) -> Float[Tensor, "b 512"]:
        """The embedding by the last maps.

        The original drops parts of the mean at random while it trains; here nobody trains it.
        """
        return self.last_bn(self.last_linear(x.mean((2, 3))))

    def maps(self, x: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """The result of every stage, by name, from the first to the last."""
        found: dict[str, Tensor] = {}
        for name, stage in self.named_children():
            if name == "last_linear":
                break
            x = found[name] = stage(x)
        return found


@final
class FaceNet(nn.Module):
    """A frozen face embedder; gradients reach the image alone.

    The pixels v of [0, 255] go in as (v - 127.5) / 128. Faces are expected as MTCNN crops them,
    with a margin around the face and not aligned.

    Args:
        weights: file of facenet-pytorch's release v2.2.9 (or .safetensors with its names); None
            leaves the network untrained, for tests and dry runs.
        sha256: what the file must hash to; see `ops.nets.weights.read_weights`.
        size: side in pixels that every image is brought to; the weights were trained at 160.
        seed: of untrained weights, whatever the global generator's state.

    Attributes:
        names: of the stages, from the first to the last.
        dimensions: of an embedding.
        comparable: whether it is trained.
        origin: whose weights it has.

    Raises:
        FileNotFoundError: if there is no file at `weights`.
        ValueError: if the file has another hash or holds another network.
    """

    names: Final = (
        *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a"),
        *("conv2d_4b", "repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"),
    )
    dimensions: Final = 512

    def __init__(
        self,
        weights: str | None = None,
        sha256: str | None = None,
        size: int = 160,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size, self.comparable = size, weights is not None
        self.origin = "FaceNet without weights"
        if weights is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.network = InceptionResnetV1()
        else:
            self.network = load_facenet(weights, sha256)
            self.origin = f"FaceNet of {origin(weights)}"
        self.eval().requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 512"]:
        """The embedding of images in [0, 1], unnormalised."""
        return self.network.eval()(self._seen(image))

    def normalised(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 512"]:
        """The embedding at length 1, in float32; products of two are the cosine similarity."""
        return F.normalize(self(image).float())

    def activations(
        self, image: Float[Tensor, "b 3 h w"], names: Sequence[str]
    ) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """The maps of the stages called `names`, for images in [0, 1].

        Raises:
            ValueError: if there is no stage of a name.
        """
        if not names or not set(names) <= set(self.names):
            raise ValueError(f"activations are those of {', '.join(self.names)}; got {list(names)}")
        maps = self.network.eval().maps(self._seen(image))
        return {name: maps[name] for name in names}

    def _seen(self, image: Tensor) -> Tensor:
        if image.shape[-2:] != (self.size, self.size):
            shape = (self.size, self.size)
            image = F.interpolate(image, shape, mode="bilinear", antialias=True)
        return (255 * image - 127.5) / 128


def load_facenet(weights: str, sha256: str | None = None) -> InceptionResnetV1:
    """The network with the weights of a file, whose classifier tells how many people it knows.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has another hash or holds another network.
    """
    state = read_weights(weights, sha256)
    people = len(state["logits.bias"]) if "logits.bias" in state else _PEOPLE
    with torch.device("meta"):
        network = InceptionResnetV1(people)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"{weights} does not hold facenet-pytorch's InceptionResnetV1: {_first(error)}"
        ) from error
    return network.float()


def _first(error: RuntimeError) -> str:
    """The first difference of the many that torch lists."""
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    return lines[0][:200] if lines else str(error)
