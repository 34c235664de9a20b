"""RetouchFormer (Xie et al., AAAI 2024), after the text of the paper.

The authors' public code departs from the text on most points; its readings are the arguments
`hard_blend` and `masked_keys` of SelectiveBlock, and the classes SeparatePrior and WideMasks.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import (
    SLOPE,
    Encoder,
    Merge,
    ResidualBlock,
    centred,
    cropped,
    pad_to_multiple,
    zero_convolution,
)
from ops.nets.mask_unet import MaskNetwork
from ops.nets.prior import Reconstruction, SharedPrior
from ops.nets.transformer import (
    THRESHOLD,
    Detokenizer,
    SelectiveBlock,
    SharedMasks,
    Tokenizer,
    Transformer,
)


@dataclass(frozen=True)
class TokenSize:
    """How features become tokens.

    Attributes:
        dim: channels of a token.
        levels: of the encoder, 0 the finest, that give tokens; the last alone is the paper's
            "w/ SPS" (single-scale patches).
        blocks: number of transformer blocks.
        window: side of the shifted windows, in tokens; 0 attends to the whole image. A grid that
            fits into one window, as that of a 128 px image, is always treated whole.

    Deviation: the text names neither windows nor a number of blocks. Attention over all 24,576
    tokens of a 512 px image costs more than the rest of the network as soon as a twentieth of
    them is selected; windows of 16, as in the released code, and three blocks keep inference
    below RestoreFormer's 0.683 TFLOP up to a quarter of them
    (`test_the_published_size_costs_less_than_restoreformer`).
    """

    dim: int = 512
    levels: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    blocks: int = 3
    window: int = 16


@dataclass(frozen=True)
class MaskSize:
    """Size of the mask network; what its attributes mean is said in MaskNetwork."""

    sees_prior: bool = True
    base: int = 32
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    start: float = 0.1


class Retouched(NamedTuple):
    """What inference gives: the restored image, the soft mask, the clean reconstruction."""

    restored: Tensor
    mask: Tensor
    reconstruction: Tensor


class SynthesisDecoder(nn.Module):
    """A residual image from the features of all levels, coarse to fine (G).

    Args:
        widths: channels of the levels, finest first.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.merges = nn.ModuleList(Merge(coarse, fine) for fine, coarse in pairs)
        self.blocks = nn.ModuleList(ResidualBlock(width, width // 2) for width in widths)
        self.head = zero_convolution(widths[0], 3)

    def forward(self, features: list[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b 3 h w"]:
        """The residual: zero before training."""
        x = self.blocks[-1](features[-1])
        for level in reversed(range(len(self.merges))):
            x = self.blocks[level](self.merges[level](x, features[level]))
        return self.head(F.leaky_relu(x, SLOPE))


class RetouchFormer(nn.Module):
    """Finds the imperfections of a face and replaces them by skin synthesised from the rest of it.

    Args:
        widths: channels of the encoder's levels, finest first; the paper has six.
        downs: how many of the steps between levels halve the size; the token grid is that much
            smaller than the image.
        tokens: how features become tokens, and how many blocks transform them.
        block: gives a transformer block for a token dimension: SelectiveBlock, or GlobalBlock for
            the paper's "w/ GSA".
        prior: gives the clean-face prior for the width of the last level.
        masks: size of the mask network.
        token_masks: gives what brings the mask to the tokens, for the number of levels, the
            token dimension and the stride of the grid: SharedMasks, or WideMasks.

    Raises:
        ValueError: if `tokens` names a level that is not there.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512),
        downs: int = 3,
        tokens: TokenSize = TokenSize(),
        block: Callable[[int], nn.Module] = SelectiveBlock,
        prior: Callable[[int], nn.Module] = SharedPrior,
        masks: MaskSize = MaskSize(),
        token_masks: Callable[[int, int, int], nn.Module] = SharedMasks,
    ) -> None:
        super().__init__()
        if not tokens.levels or not set(tokens.levels) <= set(range(len(widths))):
            raise ValueError(f"token levels must be in 0..{len(widths) - 1}, got {tokens.levels}")
        self.levels = tokens.levels
        self.encoder = Encoder(widths, downs)
        self.prior = prior(widths[-1])
        self.masks = MaskNetwork(masks.sees_prior, masks.base, masks.multipliers, masks.start)
        chosen = [(widths[level], 2 ** max(downs - level, 0)) for level in tokens.levels]
        self.token_masks = token_masks(len(chosen), tokens.dim, self.encoder.stride)
        self.tokenizer = Tokenizer(chosen, tokens.dim)
        self.transformer = Transformer(tokens.dim, tokens.blocks, block, tokens.window)
        self.detokenizer = Detokenizer(chosen, tokens.dim)
        self.decoder = SynthesisDecoder(widths)
        self.stride = max(self.encoder.stride, self.masks.stride)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """E(x): the maps of all levels, finest first; h and w must be multiples of `stride`."""
        return self.encoder(centred(image))

    def reconstruct(
        self, image: Float[Tensor, "b 3 h w"], features: list[Float[Tensor, "b _ _ _"]]
    ) -> Reconstruction:
        """R(E_rho(x)): the image as the dictionary of clean faces can say it."""
        return self.prior(image, features)

    def mask_logits(
        self, image: Float[Tensor, "b 3 h w"], reconstruction: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """H(x, x~): the student's logits."""
        return self.masks(image, reconstruction)

    def soft_mask(
        self, image: Float[Tensor, "b 3 h w"], reconstruction: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """f_H: the teacher's mask in (0, 1), without a gradient."""
        return self.masks.soft_mask(image, reconstruction)

    def update_teacher(self, decay: float = 0.99) -> None:
        """Moves the teacher of the mask network a step towards its student.

        Raises:
            ValueError: if `decay` is not in [0, 1].
        """
        self.masks.update_teacher(decay)

    def retouch(
        self,
        image: Float[Tensor, "b 3 h w"],
        features: list[Float[Tensor, "b _ _ _"]],
        mask: Float[Tensor, "b 1 h w"],
    ) -> Float[Tensor, "b 3 h w"]:
        r"""The image with what the mask selects replaced, not clamped (G(T(E(x)))).

        .. math:: \hat y = x + m \cdot G(f_E + \Delta), \quad m = f_H \cdot [f_H \ge 1/255]

        Deviation: in the paper the decoder synthesises the whole image. Copying the input scores
        above 43 dB on retouching pairs, so any loss on untouched skin costs more than all
        retouching gains. Here the decoder gives a residual that acts where the mask does, and
        untouched pixels keep their bits (`test_a_mask_of_zero_returns_the_image_bit_for_bit`).
        """
        mask = torch.where(mask < THRESHOLD, torch.zeros_like(mask), mask)
        return image + mask * self.decoder(self.transformed(features, mask))

    def transformed(
        self, features: list[Float[Tensor, "b _ _ _"]], mask: Float[Tensor, "b 1 h w"]
    ) -> list[Float[Tensor, "b _ _ _"]]:
        """The features with the transformer's change added at the levels that give tokens.

        Deviation: the paper hands the transformed features to G. A token stands for a whole cell
        of a finer level and cannot hold all of it, so G gets the encoder's features and, added
        to them, what the transformer changed, as in the released code; where the mask is zero
        they come through as they are
        (`test_features_outside_the_masks_cells_are_those_of_the_encoder`).
        """
        tokens = self.tokenizer([features[level] for level in self.levels])
        changes = self.detokenizer(self.transformer(tokens, self.token_masks(mask)) - tokens)
        result = list(features)
        for level, change in zip(self.levels, changes, strict=True):
            result[level] = features[level] + change
        return result

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Retouched:
        """The retouched image, not clamped, for an image of any size from 32x32."""
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.multiple(torch.sym_max(height, width)))
        features = self.encode(padded)
        reconstruction = self.reconstruct(padded, features).image
        mask = self.soft_mask(padded, reconstruction)
        restored = self.retouch(padded, features, mask)
        whole = (restored, mask, reconstruction)
        return Retouched(*(cropped(each, height, width) for each in whole))

    def multiple(self, side: int) -> int:
        """What the sides of an image must be multiples of, if its longer one is `side`."""
        window = self.window
        return math.lcm(self.stride, window) if 0 < window < side else self.stride

    @property
    def window(self) -> int:
        """The side of a window of tokens in pixels, beyond which there are several; 0 for none."""
        return self.transformer.window * self.encoder.stride

    def restore(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The retouched image in [0, 1], as evaluation and users want it."""
        return self(image).restored.clamp(0, 1)
