"""Vector quantisation: each feature replaced by the nearest of K learned codes.

Paper: RetouchFormer (AAAI 2024), "Clean face prior", after van den Oord et al., "Neural discrete
representation learning" (2017). Written from the equations.
"""

from typing import NamedTuple, final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ops.kernels.dispatch import exporting

# Scores of one chunk: 2 MiB of float32, so that they stay in a core's cache until their argmax.
_CHUNK = 2**19


def nearest_code(
    z: Float[Tensor, "b d h w"], codebook: Float[Tensor, "k d"]
) -> Int[Tensor, "b h w"]:
    r"""The index (int64) of the code nearest to each feature.

    .. math:: \arg\min_k |z - e_k|^2 = \arg\max_k (z \cdot e_k - |e_k|^2 / 2)

    One product with a bias for a chunk of positions at a time; the distances of all of them never
    exist together. Computed in float32 (float64 where `z` is), whatever autocast says: in bf16
    near codes are confused. Codes are taken from their mean, which costs nothing and keeps the
    digits where all lie far from 0. No gradient. Of equally near codes any may be given.

    Args:
        z: features.
        codebook: k codes, as wide as the features.

    Raises:
        ValueError: if the codebook is empty or not as wide as the features.
    """
    if codebook.shape[0] == 0 or codebook.shape[1] != z.shape[1]:
        raise ValueError(
            f"the codebook must hold codes of {z.shape[1]} numbers like the features, "
            f"got shape {tuple(codebook.shape)}"
        )
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        codes = codebook.to(dtype)
        mean = codes.mean(0)
        centred = codes - mean
        bias = -(centred * (centred / 2 + mean)).sum(1)
        return _best(z, centred.t(), bias)


def _best(z: Tensor, codes: Tensor, bias: Tensor) -> Tensor:
    """The argmax over k of z . codes (d, k) + bias (k,) at each position of `z`."""
    b, d, h, w = z.shape
    if torch.compiler.is_compiling() or exporting():
        # A loop over a size would fix that size in the graph.
        flat = z.movedim(1, -1).reshape(-1, d).to(bias.dtype)
        return torch.addmm(bias, flat, codes).argmax(1).view(b, h, w)
    step = max(1, _CHUNK // len(bias))
    indices = torch.empty(b, h * w, dtype=torch.int64, device=z.device)
    for features, out in zip(z.flatten(2), indices, strict=True):
        for start in range(0, h * w, step):
            chunk = features[:, start : start + step].t().to(bias.dtype)
            out[start : start + step] = torch.addmm(bias, chunk, codes).argmax(1)
    return indices.view(b, h, w)


def straight_through(
    z: Float[Tensor, "*shape"], quantized: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """`quantized`, bit for bit, with the gradient handed to `z` as if they were equal.

    Raises:
        ValueError: if the shapes differ.
    """
    if z.shape != quantized.shape:
        raise ValueError(
            f"quantized must have the features' shape {tuple(z.shape)}, "
            f"got {tuple(quantized.shape)}"
        )
    # z - z is exactly 0 where z is finite, so no rounding gets into the codes.
    return (z - z.detach()) + quantized.detach()


def prior_loss(
    z: Float[Tensor, "*shape"], quantized: Float[Tensor, "*shape"], commitment: float
) -> Float[Tensor, ""]:
    r"""How far features and their codes are apart, for both to learn from (RetouchFormer L_prior).

    .. math:: mean |sg(z) - e|^2 + \beta\, mean |z - sg(e)|^2

    Deviation: printed is :math:`\sum |E(y) - \rho_*|^2`, minimised over encoder and codes alike.
    Stop-gradients split it, as in VQ-VAE, so that the encoder's pull is `commitment` times the
    codes' and features do not collapse onto untrained codes; the mean makes it independent of the
    size (`test_the_prior_loss_pulls_codes_and_features_with_different_strength`).

    Args:
        z: features, (b, d, h, w) say.
        quantized: the code of each, with its graph.
        commitment: beta, >= 0; VQ-VAE uses 0.25.

    Raises:
        ValueError: if `commitment` is negative.
    """
    if commitment < 0:
        raise ValueError(f"commitment must be at least 0, got {commitment}")
    with torch.autocast(z.device.type, enabled=False):
        z, quantized = (x if x.dtype == torch.float64 else x.float() for x in (z, quantized))
        pull_codes = F.mse_loss(quantized, z.detach())
        return pull_codes + commitment * F.mse_loss(z, quantized.detach())


def perplexity(indices: Int[Tensor, "*shape"], codes: int) -> Float[Tensor, ""]:
    """How many of the `codes` are in use: the exponential of the entropy, from 1 to `codes`.

    Raises:
        ValueError: if there is no index.
    """
    if indices.numel() == 0:
        raise ValueError("perplexity needs at least one index, got none")
    share = torch.bincount(indices.flatten(), minlength=codes) / indices.numel()
    return torch.special.entr(share).sum().exp()


class Quantized(NamedTuple):
    """Features as codes (b, d, h, w), the codes' indices (b, h, w) and L_prior."""

    values: Tensor
    indices: Tensor
    loss: Tensor


@final
class Codebook(nn.Module):
    """The learned codes (the dictionary of clean faces in RetouchFormer).

    The codes learn by `prior_loss`; after each optimiser step `restart_dead_codes` keeps them in
    use. `forward` changes no state, so it may be called any number of times a step.

    Attributes:
        codes: the codes, (codes, dim).
        usage: each code's share of the features, a moving average over about `restart_after`
            updates.
        unused: updates since each code was last used.
        started: whether the codes have been taken from data.

    Args:
        codes: how many, K; the paper uses 1024.
        dim: width of a feature.
        commitment: weight of the encoder's half of the loss, >= 0.
        restart_after: updates without use after which a code is dead.

    Raises:
        ValueError: if `codes`, `dim` or `restart_after` is below 1, or `commitment` negative.
    """

    usage: Tensor
    unused: Tensor
    started: Tensor

    def __init__(
        self,
        codes: int = 1024,
        dim: int = 256,
        commitment: float = 0.25,
        restart_after: int = 100,
    ) -> None:
        super().__init__()
        if min(codes, dim, restart_after) < 1 or commitment < 0:
            raise ValueError(
                "codes, dim and restart_after must be at least 1 and commitment at least 0, "
                f"got {codes}, {dim}, {restart_after} and {commitment}"
            )
        self.commitment, self.restart_after = commitment, restart_after
        self.codes = nn.Parameter(torch.randn(codes, dim) / dim**0.5)
        self.register_buffer("usage", torch.full((codes,), 1 / codes))
        self.register_buffer("unused", torch.zeros(codes, dtype=torch.int64))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, z: Float[Tensor, "b d h w"]) -> Quantized:
        """The features as their nearest codes, straight-through, with L_prior."""
        indices = nearest_code(z, self.codes)
        quantized = F.embedding(indices, self.codes).movedim(-1, 1)
        loss = prior_loss(z, quantized, self.commitment)
        return Quantized(straight_through(z, quantized.to(z.dtype)), indices, loss)

    @torch.no_grad()
    def restart_dead_codes(
        self,
        z: Float[Tensor, "b d h w"],
        indices: Int[Tensor, "b h w"] | None = None,
        generator: torch.Generator | None = None,
    ) -> int:
        """The number of codes replaced by features of `z`; to be called once after each step.

        The first call takes all codes from `z`; later ones those that no feature was nearest to
        for `restart_after` calls. Features that are not finite are neither counted nor taken.
        Among several processes uses are summed and rank 0's features go to all, so that all hold
        the same codes; each of them must call this.

        Args:
            z: the features that `forward` was given.
            indices: what `forward` gave for them, to spare a second search.
            generator: of the draw, on the CPU; the global one by default.

        Raises:
            ValueError: if `z` is not as wide as the codes.
        """
        indices = nearest_code(z, self.codes) if indices is None else indices
        finite = z.isfinite().all(1)
        self._count(indices[finite])
        dead = (self.unused >= self.restart_after) | ~self.started
        wanted = int(dead.sum())
        if not wanted:
            return 0
        fresh = _shared_from_rank_0(_draw(z, finite, wanted, generator).to(self.codes.dtype))
        if not fresh.isfinite().all():
            return 0
        self.codes[dead] = fresh
        self.unused[dead] = 0
        self.started.fill_(True)
        return wanted

    def _count(self, indices: Tensor) -> None:
        """Bring `usage` and `unused` up to date with the uses of one step in all processes."""
        uses = _sum_over_ranks(torch.bincount(indices, minlength=len(self.codes)))
        share = uses / uses.sum().clamp(min=1)
        self.usage.lerp_(share.to(self.usage.dtype), 1 / self.restart_after)
        self.unused.add_(1).masked_fill_(uses > 0, 0)


def _draw(z: Tensor, finite: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` random finite features (count, d) of `z`, or NaN where it has none."""
    features = z.movedim(1, -1)[finite]
    # Drawn even where there is nothing to draw from: the generators of all processes stay alike.
    drawn = torch.randint(max(1, len(features)), (count,), generator=generator)
    if not len(features):
        return z.new_full((count, z.shape[1]), torch.nan)
    return features[drawn.to(z.device)]


def _parallel() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _sum_over_ranks(counts: Tensor) -> Tensor:
    if _parallel():
        dist.all_reduce(counts)
    return counts


def _shared_from_rank_0(values: Tensor) -> Tensor:
    values = values.contiguous()
    if _parallel():
        dist.broadcast(values, src=0)
    return values
