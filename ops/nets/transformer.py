"""Tokens of several encoder levels on one grid, and the blocks that transform them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.selective_attention import SelectiveAttention
from ops.kernels.windows import merge, partition
from ops.nets.blocks import SLOPE, shrink

THRESHOLD = 1 / 255  # a mask below it changes no 8-bit pixel


class Tokenizer(nn.Module):
    """Maps of several sizes as tokens of one width on the grid of the coarsest.

    Each cell of the grid is projected whole: a convolution whose kernel is its stride. A learned
    vector says which level a token is from, and fixed sine waves where it lies.

    Args:
        levels: channels of each map, and how many times finer than the grid it is.
        dim: channels of a token.
    """

    def __init__(self, levels: list[tuple[int, int]], dim: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Conv2d(width, dim, stride, stride) for width, stride in levels
        )
        self.level = nn.Parameter(0.02 * torch.randn(len(levels), dim, 1, 1))

    def forward(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b l d h w"]:
        """The tokens, in the order of the maps."""
        pairs = zip(self.projections, maps, strict=True)
        tokens = torch.stack([project(x) for project, x in pairs], dim=1)
        return tokens + self.level + position_waves(tokens)


class Detokenizer(nn.Module):
    """Tokens back as maps at the size of their levels: the adjoint of `Tokenizer`.

    Without bias, so that a token of zero leaves its whole cell at zero. The weights start small:
    the transformer's change should not drown the encoder's features before it means anything.

    Args:
        levels: channels of each map, and how many times finer than the grid it is.
        dim: channels of a token.
    """

    def __init__(self, levels: list[tuple[int, int]], dim: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.ConvTranspose2d(dim, width, stride, stride, bias=False) for width, stride in levels
        )
        for layer in self.projections:
            nn.init.normal_(layer.weight, std=0.1 / math.sqrt(dim))  # type: ignore[arg-type]

    def forward(self, tokens: Float[Tensor, "b l d h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """One map a level."""
        pairs = zip(self.projections, tokens.unbind(1), strict=True)
        return [project(x) for project, x in pairs]


class SharedMasks(nn.Module):
    """f_H at the tokens: the mean of the soft mask over each cell, the same for all levels.

    Args:
        levels: number of levels that give tokens.
        dim: channels of a token, which one weight serves.
        stride: side of a cell in pixels.
    """

    def __init__(self, levels: int, dim: int, stride: int) -> None:
        super().__init__()
        self.levels, self.stride = levels, stride

    def forward(self, mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b l 1 h2 w2"]:
        """The weights of the tokens."""
        small = shrink(mask, mask.shape[-2] // self.stride, mask.shape[-1] // self.stride)
        return small.unsqueeze(1).expand(-1, self.levels, -1, -1, -1)


class WideMasks(nn.Module):
    """f_H with a learned weight for each level and channel of a token (released code).

    Deviation: the released code adapts features of the mask network's decoder; here the soft mask
    itself is adapted, cell by cell, and a cell that it leaves out stays out: a sigmoid alone
    would select every token (`test_wide_masks_select_no_token_that_the_mask_leaves_out`).

    Args:
        levels: number of levels that give tokens.
        dim: channels of a token.
        stride: side of a cell in pixels.
    """

    def __init__(self, levels: int, dim: int, stride: int) -> None:
        super().__init__()
        self.shared = SharedMasks(levels, dim, stride)
        self.cells = nn.Conv2d(1, dim, stride, stride)
        self.adapter = nn.Conv2d(dim, levels * dim, 1)
        # Open at first: with a weight of a half, a hard blend would replace nothing.
        nn.init.constant_(self.adapter.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b l d h2 w2"]:
        """The weights of the tokens' channels."""
        shared = self.shared(mask)
        wide = self.adapter(F.leaky_relu(self.cells(mask), SLOPE)).sigmoid()
        return wide.unflatten(1, (shared.shape[1], -1)) * (shared >= THRESHOLD)


def position_waves(tokens: Float[Tensor, "b l d h w"]) -> Float[Tensor, "d h w"]:
    """Sine and cosine of row and column at geometric wavelengths, for any size of grid.

    Channels beyond the last full group of four stay zero.
    """
    dim, height, width = tokens.shape[-3:]
    count = dim // 4
    rates = 10000.0 ** (-torch.arange(count, device=tokens.device) / max(count, 1))
    rows = rates[:, None, None] * torch.arange(height, device=tokens.device)[None, :, None]
    columns = rates[:, None, None] * torch.arange(width, device=tokens.device)[None, None, :]
    rows, columns = rows.expand(count, height, width), columns.expand(count, height, width)
    waves = torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()])
    return F.pad(waves, (0, 0, 0, 0, 0, dim - 4 * count)).to(tokens.dtype)


class ResidualMlp(nn.Module):
    """x + linear(gelu(linear(norm(x)))), `ratio` times as wide in the middle."""

    def __init__(self, dim: int, ratio: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.first, self.second = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """The rows, each refined on its own."""
        return x + self.second(F.gelu(self.first(self.norm(x))))


class SelectiveBlock(nn.Module):
    """Selective self-attention and a perceptron, on the selected tokens alone (SSAB).

    The normalisation lies behind the attention, on what replaces a token. In front of it, it
    would also change the tokens that must come through bit for bit.

    Deviation: the printed equation blends Delta itself into the tokens. Here Delta passes the
    perceptron first. Attention alone only averages values, and a perceptron behind the blend
    would rewrite the tokens that the mask leaves alone too
    (`test_a_selective_block_returns_unmasked_tokens_bit_for_bit`).

    Args:
        dim: channels of a token.
        heads: of the attention; divides `dim`.
        ratio: width of the perceptron over `dim`.
        masked_keys: keys see clean tokens only (paper), or all tokens (released code).
        hard_blend: replace where the mask is above a half (released code), or blend (paper).

    Raises:
        ValueError: if `heads` does not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        ratio: int = 2,
        masked_keys: bool = True,
        hard_blend: bool = False,
    ) -> None:
        super().__init__()
        self.attention = SelectiveAttention(
            dim,
            heads,
            masked_keys=masked_keys,
            hard_blend=hard_blend,
            mlp=ResidualMlp(dim, ratio),
        )

    def forward(
        self, tokens: Float[Tensor, "b n d"], mask: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b n d"]:
        """The tokens; those whose mask is below 1/255 unchanged."""
        return self.attention(tokens, mask)


class GlobalBlock(nn.Module):
    """Plain self-attention over all tokens that it is given: the ablation "w/ GSA", without a mask.

    Args:
        dim: channels of a token.
        heads: of the attention; divides `dim`.
        ratio: width of the perceptron over `dim`.

    Raises:
        ValueError: if `heads` does not divide `dim`.
    """

    def __init__(self, dim: int, heads: int = 8, ratio: int = 2) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got dim {dim} and heads {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.project, self.output = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = ResidualMlp(dim, ratio)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        mask: Float[Tensor, "b n c"],
    ) -> Float[Tensor, "b n d"]:
        """The tokens, all of them transformed."""
        qkv = self.project(self.norm(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.transpose(1, 3).unbind(2)
        found = F.scaled_dot_product_attention(query, key, value)
        return self.mlp(tokens + self.output(found.transpose(1, 2).flatten(2)))


class Transformer(nn.Module):
    """Blocks in sequence, over the whole image or in windows that shift every second block (T).

    Args:
        dim: channels of a token.
        count: number of blocks.
        block: gives a block, called as (tokens (b, n, d), mask (b, n, c)), for a token dimension.
        window: side of the windows in tokens; 0 for the whole image. A grid that fits into one
            window is treated whole.

    Raises:
        ValueError: if `count` or `window` is negative.
    """

    def __init__(
        self, dim: int, count: int, block: Callable[[int], nn.Module], window: int = 0
    ) -> None:
        super().__init__()
        if count < 0 or window < 0:
            raise ValueError(f"blocks and window must be 0 or more, got {count} and {window}")
        self.window = window
        self.blocks = nn.ModuleList(block(dim) for _ in range(count))

    def forward(
        self, tokens: Float[Tensor, "b l d h w"], mask: Float[Tensor, "b l c h w"]
    ) -> Float[Tensor, "b l d h w"]:
        """The transformed tokens."""
        height, width = tokens.shape[-2:]
        # An exported program is asked for the larger side without asking which it is.
        if self.window == 0 or torch.sym_max(height, width) <= self.window:
            return self._whole(tokens, mask)
        for index, block in enumerate(self.blocks):
            shift = self.window // 2 if index % 2 else 0
            pieces = block(
                partition(tokens, self.window, shift), partition(mask, self.window, shift)
            )
            tokens = merge(pieces, (height, width), self.window, shift)
        return tokens

    def _whole(self, tokens: Tensor, mask: Tensor) -> Tensor:
        # Channels are moved last, not reshaped: a token keeps its own channels together.
        flat, weights = (x.movedim(2, -1).flatten(1, 3) for x in (tokens, mask))
        for block in self.blocks:
            flat = block(flat, weights)
        return flat.unflatten(1, (tokens.shape[1], *tokens.shape[-2:])).movedim(-1, 2)
