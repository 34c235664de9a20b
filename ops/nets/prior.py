"""The clean-face prior of RetouchFormer: a dictionary of features of retouched faces."""

import itertools
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.quantize import Codebook, Quantized
from ops.nets.blocks import (
    SLOPE,
    Encoder,
    ResidualBlock,
    centred,
    convolution,
    zero_convolution,
)


class Reconstruction(NamedTuple):
    """An image rebuilt from dictionary elements, the elements, and the features they stand for."""

    image: Tensor
    quantized: Quantized
    encoded: Tensor


class ReconstructionDecoder(nn.Module):
    """An image in (0, 1) from a map of codes; nothing else of the input reaches it (R).

    Args:
        inputs: channels of the codes.
        widths: channels of the levels, finest first; each step doubles the size.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.stem = convolution(inputs, widths[-1])
        self.blocks = nn.ModuleList(ResidualBlock(width, width) for width in widths)
        self.projections = nn.ModuleList(convolution(coarse, fine, 1) for fine, coarse in pairs)
        self.head = zero_convolution(widths[0], 3)

    def forward(self, codes: Float[Tensor, "b d h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """The image, larger than the codes by 2 to the number of steps."""
        x = self.blocks[-1](self.stem(codes))
        for level in reversed(range(len(self.projections))):
            x = F.interpolate(self.projections[level](x), scale_factor=2.0, mode="nearest")
            x = self.blocks[level](x)
        return self.head(F.leaky_relu(x, SLOPE)).sigmoid()


class SharedPrior(nn.Module):
    """The prior on the features of the network's own encoder, trained with it (the paper).

    Args:
        width: channels of the encoder's last level.
        codes: K, elements of the dictionary.
        code_dim: channels of an element.
        commitment: weight of the term that ties the encoder to its elements.
        widths: of the reconstruction decoder, finest first; one more than the encoder has
            halvings.
    """

    def __init__(
        self,
        width: int,
        codes: int = 1024,
        code_dim: int = 256,
        commitment: float = 0.25,
        widths: tuple[int, ...] = (32, 64, 128, 256),
    ) -> None:
        super().__init__()
        self.head = nn.Conv2d(width, code_dim, 1)
        self.codebook = Codebook(codes, code_dim, commitment)
        self.decoder = ReconstructionDecoder(code_dim, widths)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        features: list[Float[Tensor, "b _ _ _"]],
    ) -> Reconstruction:
        """The reconstruction of `image` from the dictionary elements nearest to its features."""
        encoded = self.encoded(features)
        quantized = self.codebook(encoded)
        return Reconstruction(self.decoder(quantized.values), quantized, encoded)

    def encoded(self, features: list[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b d h w"]:
        """E(x) before quantisation; what `restart_dead_codes` of the codebook draws from."""
        return self.head(features[-1])


class SeparatePrior(nn.Module):
    """The prior behind an encoder of its own, trained first and then frozen (released code).

    Without `weights` it is trained like any other part: that run is the first of the two stages.
    With the checkpoint of that run as `weights` it stays as it is.

    Args:
        width: channels of the last level of the retouching encoder, which is not used.
        weights: checkpoint of a run with this class, or a state dict of it; none to train it.
        encoder: channels of its encoder, finest first.
        codes: K, elements of the dictionary.
        code_dim: channels of an element.
        commitment: weight of the term that ties the encoder to its elements.
        widths: of the reconstruction decoder, finest first; one more than there are halvings.

    Raises:
        FileNotFoundError: if there is no file at `weights`.
        ValueError: if the file holds another network.
    """

    def __init__(
        self,
        width: int,
        weights: str | None = None,
        encoder: tuple[int, ...] = (64, 64, 128, 256),
        codes: int = 1024,
        code_dim: int = 256,
        commitment: float = 0.25,
        widths: tuple[int, ...] = (32, 64, 128, 256),
    ) -> None:
        super().__init__()
        self.encoder = Encoder(encoder, downs=len(widths) - 1)
        self.shared = SharedPrior(encoder[-1], codes, code_dim, commitment, widths)
        if weights is not None:
            load_prior(self, weights)
            self.requires_grad_(False)

    @property
    def codebook(self) -> Codebook:
        """The dictionary."""
        return self.shared.codebook

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        features: list[Float[Tensor, "b _ _ _"]],
    ) -> Reconstruction:
        """The reconstruction of `image` from the dictionary elements nearest to its features."""
        return self.shared(image, self.encoder(centred(image)))


def load_prior(prior: nn.Module, weights: str) -> None:
    """Fills `prior` from a state dict of it, or from a checkpoint that holds it as `...prior.*`.

    Raises:
        FileNotFoundError: if there is no file at `weights`.
        ValueError: if the file holds another network.
    """
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"no weights of a prior at {path}: train one without weights first")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = loaded.get("state_dict", loaded)
        prefix = "prior."
        inside = {k.partition(prefix)[2]: v for k, v in state.items() if prefix in k}
        prior.load_state_dict(inside or state)
    except Exception as error:  # whatever a foreign file provokes, the remedy is the same
        raise ValueError(
            f"{path} does not hold this prior: give the checkpoint of a run with the same sizes"
        ) from error
