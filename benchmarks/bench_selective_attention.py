"""Selective attention against softmax(QK^T)V written out: 4096 tokens of 512, 10 % masked."""

import math
from typing import cast

import torch

from benchmarks.timing import Row, Work, compare
from ops.kernels.selective_attention import SelectiveAttention

HEADS, WIDTH = 8, 512


def written_out(
    layer: SelectiveAttention, tokens: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The paper's equations as they stand, every row computed and the scores stored."""
    mask = mask.unsqueeze(-1)
    clean = tokens * (1 - mask)
    query, key, value = (
        project(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for project, x in (
            (layer.query, tokens * mask),
            (layer.key, clean),
            (layer.value, clean),
        )
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
    delta: torch.Tensor = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    return tokens * (1 - mask) + delta * mask


def cases(small: bool = False) -> dict[str, Work]:
    """Forward, and forward with backward, of both forms."""
    torch.manual_seed(0)
    count = 64 if small else 4096
    layer = SelectiveAttention(WIDTH, HEADS)
    tokens = torch.randn(1, count, WIDTH, requires_grad=True)
    mask = torch.zeros(1, count)
    mask[0, torch.randperm(count)[: count // 10]] = 1

    def selective() -> torch.Tensor:
        return cast("torch.Tensor", layer(tokens, mask))

    def naive() -> torch.Tensor:
        return written_out(layer, tokens, mask)

    if small:
        torch.testing.assert_close(selective(), naive(), rtol=1e-4, atol=1e-4)
    return {
        "written out, forward": torch.no_grad()(naive),
        "selective, forward": torch.no_grad()(selective),
        "written out, forward and backward": lambda: torch.autograd.backward(naive().sum()),
        "selective, forward and backward": lambda: torch.autograd.backward(selective().sum()),
    }


def run() -> list[Row]:
    """Each pass against its own baseline."""
    found, module = cases(), "benchmarks.bench_selective_attention"
    rows = []
    for passes in ("forward", "forward and backward"):
        pair = {name: work for name, work in found.items() if name.endswith(f", {passes}")}
        rows += compare(module, pair, 5, f"written out, {passes}")
    return rows
