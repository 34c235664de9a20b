"""nearest_code against torch.cdist and argmin: 64 x 64 features of 256, 1024 codes."""

import torch

from benchmarks.timing import Row, Work, compare
from ops.kernels.quantize import nearest_code


def by_cdist(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """The peer: all distances, then the least."""
    b, d, h, w = z.shape
    return torch.cdist(z.movedim(1, -1).reshape(-1, d), codebook).argmin(1).view(b, h, w)


def cases(small: bool = False) -> dict[str, Work]:
    """Both forms on the same features."""
    torch.manual_seed(0)
    side = 8 if small else 64
    z, codebook = torch.randn(1, 256, side, side), torch.randn(1024, 256)
    if small and not torch.equal(nearest_code(z, codebook), by_cdist(z, codebook)):
        raise AssertionError("nearest_code and cdist disagree, so there is nothing to compare")
    return {
        "cdist and argmin": lambda: by_cdist(z, codebook),
        "nearest_code": lambda: nearest_code(z, codebook),
    }


def run() -> list[Row]:
    """nearest_code against cdist."""
    return compare("benchmarks.bench_quantize", cases(), 25, "cdist and argmin")
