"""Selective self-attention: only imperfect tokens are rewritten, and only from clean ones.

Paper: RetouchFormer (AAAI 2024), "Selective self-attention". Written from the equations; the
authors' code differs (see `Reading`).
"""

from collections.abc import Callable
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.dispatch import exporting

TokenMap = Callable[[Tensor], Tensor]


class Projections(NamedTuple):
    """The affine maps (..., d) -> (..., d) of the attention, and the heads that share d."""

    query: TokenMap
    key: TokenMap
    value: TokenMap
    heads: int


class Reading(NamedTuple):
    """Where the paper's text and the authors' code part; the defaults are the text.

    Attributes:
        masked_keys: K sees f * (1 - m) as in print; False: the unmasked f of the released code.
        hard_blend: False: the printed convex blend by m; True: the released code's (m > 0.5).
    """

    masked_keys: bool = True
    hard_blend: bool = False


PAPER = Reading()


class _Context(NamedTuple):
    """What the selected tokens are rewritten from."""

    tokens: Tensor
    mask: Tensor
    projections: Projections
    masked_keys: bool


class _Rewriting(NamedTuple):
    """The tokens with their masks, and which rows change by how much."""

    tokens: Tensor
    mask: Tensor
    blend: Tensor
    selected: Tensor
    transform: TokenMap | None


def selective_attention(
    q_tokens: Float[Tensor, "b n d"],
    kv_tokens: Float[Tensor, "b m d"],
    mask: Float[Tensor, "b n"] | Float[Tensor, "b n #d"],
    projections: Projections,
    *,
    kv_mask: Float[Tensor, "b m"] | Float[Tensor, "b m #d"] | None = None,
    threshold: float = 1 / 255,
    reading: Reading = PAPER,
    transform: TokenMap | None = None,
) -> Float[Tensor, "b n d"]:
    r"""`q_tokens` with the imperfect ones rewritten from what is clean in `kv_tokens`.

    .. math::
        Q = W_q(f m) + b_q,\; K = W_k(f (1 - m)) + b_k,\; V = W_v(f (1 - m)) + b_v

        \Delta = softmax(Q K^T / \sqrt\Lambda) V,\quad \hat f = f (1 - m) + \Delta m

    A row that takes less than `threshold` of :math:`\Delta` is skipped: its output is its input,
    bit for bit, and its Q and attention are never computed. No matrix of scores is stored in
    either pass. Where all is masked, K and V are their biases, which is finite.

    Deviation: the skipping. A mask out of a sigmoid is never exactly 0; 1/255 is the least weight
    that an 8-bit image could show (`test_the_threshold_changes_the_output_by_less_than_itself`).
    A skipped row passes no gradient to its own mask by the blend, only as a key and a value.

    While compiled or exported every row is computed and the same rows are chosen at the end, so
    that no shape depends on the data.

    Args:
        q_tokens: the tokens f to rewrite.
        kv_tokens: the tokens to rewrite them from; usually the same.
        mask: m of `q_tokens` in [0, 1], 1 = imperfect; one weight a token or one a channel.
        projections: W and b of the equations; Lambda is d / heads.
        kv_mask: m of `kv_tokens`; `mask` by default.
        threshold: least weight that counts, in [0, 1]; 1/255 is one grey level.
        reading: the text's equations or the released code's.
        transform: an MLP, say, of (rows, d), applied to :math:`\Delta`'s computed rows.

    Raises:
        ValueError: if `threshold` is not in [0, 1], d is no multiple of the heads, or `kv_mask`
            is left out although `kv_tokens` are not as many as `q_tokens`.
    """
    _check(q_tokens, kv_tokens, kv_mask, projections.heads, threshold)
    mask = mask if mask.dim() == q_tokens.dim() else mask.unsqueeze(-1)
    kv_mask = mask if kv_mask is None else kv_mask
    kv_mask = kv_mask if kv_mask.dim() == kv_tokens.dim() else kv_mask.unsqueeze(-1)
    blend = (mask > 0.5).to(mask.dtype) if reading.hard_blend else mask
    dtype = q_tokens.dtype
    rewriting = _Rewriting(
        q_tokens, mask.to(dtype), blend.to(dtype), blend.amax(-1) >= threshold, transform
    )
    context = _Context(kv_tokens, kv_mask.to(dtype), projections, reading.masked_keys)
    if torch.compiler.is_compiling() or exporting():
        return _rewrite_all(rewriting, context)
    return _rewrite_selected(rewriting, context)


def _check(q: Tensor, kv: Tensor, kv_mask: Tensor | None, heads: int, threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], the range of a mask, got {threshold}")
    if q.shape[-1] % heads:
        raise ValueError(
            f"the width of the tokens must be a multiple of the {heads} heads, got {q.shape[-1]}"
        )
    if kv_mask is None and q.shape[1] != kv.shape[1]:
        raise ValueError(
            f"give kv_mask: the {kv.shape[1]} kv_tokens cannot use the mask of "
            f"{q.shape[1]} q_tokens"
        )


def _rewrite_selected(this: _Rewriting, context: _Context) -> Tensor:
    """The tokens with the selected rows gathered, rewritten and put back."""
    counts = this.selected.sum(1).tolist()
    if not any(counts):
        return this.tokens
    rows = this.selected.flatten().nonzero().squeeze(1)
    flat, mask, blend = (
        x.flatten(0, 1).index_select(0, rows) for x in (this.tokens, this.mask, this.blend)
    )
    # A loop, not padding: images differ in how much is masked, and those without a selected row
    # need no keys at all.
    delta = torch.cat(
        [
            _attend(queries.unsqueeze(0), context, slice(i, i + 1)).squeeze(0)
            for i, queries in enumerate((flat * mask).split(counts))
            if len(queries)
        ]
    )
    rewritten = _blend(flat, delta, blend, this.transform)
    return this.tokens.flatten(0, 1).index_copy(0, rows, rewritten).view_as(this.tokens)


def _rewrite_all(this: _Rewriting, context: _Context) -> Tensor:
    """The same as `_rewrite_selected` in shapes that do not depend on the mask."""
    delta = _attend(this.tokens * this.mask, context, slice(None))
    flat, rows, blend = (x.reshape(-1, x.shape[-1]) for x in (this.tokens, delta, this.blend))
    rewritten = _blend(flat, rows, blend, this.transform).view_as(this.tokens)
    return torch.where(this.selected.unsqueeze(-1), rewritten, this.tokens)


def _attend(queries: Tensor, context: _Context, images: slice) -> Tensor:
    """Delta of the masked `queries` (b, s, d) over these `images` of the context."""
    tokens, mask = context.tokens[images], context.mask[images]
    clean = tokens * (1 - mask)
    q, k, v = (
        x.unflatten(-1, (context.projections.heads, -1)).transpose(1, 2)
        for x in (
            context.projections.query(queries),
            context.projections.key(clean if context.masked_keys else tokens),
            context.projections.value(clean),
        )
    )
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _blend(tokens: Tensor, delta: Tensor, weight: Tensor, transform: TokenMap | None) -> Tensor:
    """The convex blend f (1 - m) + Delta m, in the dtype of f."""
    delta = delta if transform is None else transform(delta)
    return (tokens * (1 - weight) + delta * weight).to(tokens.dtype)


@final
class SelectiveAttention(nn.Module):
    """`selective_attention` with learned projections.

    Args:
        dim: width of the tokens.
        heads: of the attention; divides `dim`.
        threshold: least weight that counts, in [0, 1].
        masked_keys: False for the released code's keys.
        hard_blend: True for the released code's blend.
        mlp: applied to the computed rows of the attention's output, (rows, dim) -> (rows, dim).

    Raises:
        ValueError: if `heads` does not divide `dim`, or `threshold` is not in [0, 1].
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        threshold: float = 1 / 255,
        masked_keys: bool = True,
        hard_blend: bool = False,
        mlp: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got dim {dim} and heads {heads}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], the range of a mask, got {threshold}")
        self.heads, self.threshold = heads, threshold
        self.reading = Reading(masked_keys, hard_blend)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.mlp = mlp

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        mask: Float[Tensor, "b n"] | Float[Tensor, "b n #d"],
        kv_tokens: Float[Tensor, "b m d"] | None = None,
        kv_mask: Float[Tensor, "b m"] | Float[Tensor, "b m #d"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """`tokens` with the masked ones rewritten from `kv_tokens`, by default from themselves."""
        return selective_attention(
            tokens,
            tokens if kv_tokens is None else kv_tokens,
            mask,
            Projections(self.query, self.key, self.value, self.heads),
            kv_mask=kv_mask,
            threshold=self.threshold,
            reading=self.reading,
            transform=self.mlp,
        )
