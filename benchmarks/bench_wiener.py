"""Wiener deconvolution (NASFE Eq. 2) against its formula on complex transforms, float32.

At the sizes of NASFE's features, at one that is easy to transform, and at one whose sides are
primes. The real transforms with torch's own gradients are there to show what the backward pass
written by hand is worth.
"""

from collections.abc import Callable

import torch

from benchmarks.timing import Row, Work, compare
from ops.kernels.wiener import wiener

Form = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SHAPES = ((8, 64, 44, 36), (1, 64, 128, 128), (8, 64, 47, 37))
SMALL = (1, 4, 8, 6)
PEER, REAL, OURS = "complex transforms", "real transforms", "ours"
ROUNDS = {"forward": 21, "forward and backward": 11}


def by_complex_transforms(signal: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The peer: the formula as it stands."""
    first, second = (torch.fft.fft2(maps, norm="ortho") for maps in (signal, kernel))
    product = second.conj() * first / (second.abs() ** 2 + 0.01)
    sharp: torch.Tensor = torch.fft.ifft2(product, norm="ortho").real
    return sharp


def by_real_transforms(signal: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The same on half of the Fourier domain, with torch's gradients."""
    first, second = (torch.fft.rfft2(maps, norm="ortho") for maps in (signal, kernel))
    product = second.conj() * first / (second.abs() ** 2 + 0.01)
    sharp: torch.Tensor = torch.fft.irfft2(product, s=signal.shape[-2:], norm="ortho")
    return sharp


WAYS: dict[str, Form] = {PEER: by_complex_transforms, REAL: by_real_transforms, OURS: wiener}


def named(way: str, shape: tuple[int, ...], passes: str) -> str:
    """The name of a case."""
    return f"{way}, {'x'.join(map(str, shape))}, {passes}"


def works(shape: tuple[int, ...], given: tuple[int, ...], check: bool) -> dict[str, Work]:
    """Both passes of all ways at `given`, under the name of `shape`."""
    torch.manual_seed(0)
    signal, kernel = (torch.randn(given, requires_grad=True) for _ in range(2))
    slope = torch.randn(given)
    found: dict[str, Work] = {}
    for way, form in WAYS.items():

        def forward(form: Form = form) -> torch.Tensor:
            with torch.no_grad():
                return form(signal, kernel)

        def both(form: Form = form) -> tuple[torch.Tensor, ...]:
            return torch.autograd.grad(form(signal, kernel), (signal, kernel), slope)

        if check:
            peer = torch.autograd.grad(
                by_complex_transforms(signal, kernel), (signal, kernel), slope
            )
            torch.testing.assert_close(forward(), by_complex_transforms(signal, kernel).detach())
            torch.testing.assert_close(both(), peer, rtol=1e-4, atol=1e-4)
        found[named(way, shape, "forward")] = forward
        found[named(way, shape, "forward and backward")] = both
    return found


def cases(small: bool = False) -> dict[str, Work]:
    """All ways at all shapes; in small they are compared with each other first."""
    found: dict[str, Work] = {}
    for shape in SHAPES:
        found |= works(shape, SMALL if small else shape, check=small)
    return found


def run() -> list[Row]:
    """Each pass at each shape against the complex transforms."""
    cases(small=True)
    every, rows = cases(), []
    for shape in SHAPES:
        for passes, rounds in ROUNDS.items():
            names = [named(way, shape, passes) for way in WAYS]
            group = {name: every[name] for name in names}
            rows += compare("benchmarks.bench_wiener", group, rounds, names[0])
    return rows
