"""Wiener deconvolution between feature maps, and the operator that learns with it.

Paper: NASFE, "Network Architecture Search for Face Enhancement" (Yasarla, Vaezi Joze, Patel),
Section 3.1. The authors published no code. Written from the equation.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ops.kernels.dispatch import exporting

NORMS = ("ortho", "backward", "forward")


def wiener(
    signal: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "b c h w"],
    eps: float = 0.01,
    norm: str = "ortho",
) -> Float[Tensor, "b c h w"]:
    r"""`signal` divided by `kernel` in the Fourier domain, damped by `eps` (NASFE Eq. 2).

    .. math:: X_{out} = \overline{X_2} X_1 / (|X_2|^2 + \epsilon)

    Deviation: the paper prints :math:`X_2 X_1`. Without the conjugate the operator does not undo
    a blur (`test_wiener_undoes_a_circular_blur`), so this is Wiener's own formula; the printed one
    is `wiener_as_printed`.

    By real transforms, in float32 (float64 where an input is) whatever autocast says; the dtype of
    `signal` is kept. The maps are taken as periodic. It has first derivatives only: a second one
    is refused by torch with an error.

    While exported the transforms are products with matrices of cosines and sines, which every
    runtime knows; of the real inverse transform torch.export does not know that it gives every
    width.

    Args:
        signal: features to sharpen.
        kernel: their point spread function, the origin at index (0, 0).
        eps: inverse signal-to-noise ratio, > 0; the paper uses 0.01.
        norm: of the transforms, as in torch.fft. "ortho" makes `eps` mean the same at every size:
            maps of unit variance have unit power
            (`test_ortho_spectra_of_unit_maps_have_unit_power_at_every_size`). With "backward" the
            kernel of a blur of any size has the gain that it has as a convolution.

    Raises:
        ValueError: if `eps` is not positive, there is no such `norm`, or the shapes differ.
    """
    signal, kernel, dtype = _checked(signal, kernel, eps, norm)
    with torch.autocast(signal.device.type, enabled=False):
        if exporting():
            return _by_matrices(signal, kernel, eps, norm).to(dtype)
        if torch.is_grad_enabled():
            return _Wiener.apply(signal, kernel, eps, norm).to(dtype)
        spectra = _spectra(signal, kernel, eps, norm)
        product = spectra.damped.mul_(spectra.conjugate)
        return torch.fft.irfft2(product, s=signal.shape[-2:], norm=norm).to(dtype)


def wiener_as_printed(
    signal: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "b c h w"],
    eps: float = 0.01,
    norm: str = "ortho",
) -> Float[Tensor, "b c h w"]:
    r"""`signal` filtered by `kernel` as NASFE prints Eq. 2, for comparison only.

    .. math:: X_{out} = X_2 X_1 / (|X_2|^2 + \epsilon)

    It has the amplitudes of `wiener` but adds the phases of the blur a second time instead of
    taking them away (`test_the_printed_form_does_not_undo_a_blur_that_shifts`).

    Args:
        signal: as in `wiener`.
        kernel: as in `wiener`.
        eps: as in `wiener`.
        norm: as in `wiener`.

    Raises:
        ValueError: as in `wiener`.
    """
    signal, kernel, dtype = _checked(signal, kernel, eps, norm)
    with torch.autocast(signal.device.type, enabled=False):
        spectrum, transfer = (torch.fft.rfft2(maps, norm=norm) for maps in (signal, kernel))
        product = transfer * spectrum * _inverse_power(transfer, eps)
        return torch.fft.irfft2(product, s=signal.shape[-2:], norm=norm).to(dtype)


class _Waves(NamedTuple):
    """The discrete Fourier transform along an axis: cosines less i times sines, both symmetric."""

    cosines: Tensor  # (n, n)
    sines: Tensor

    def scaled(self, factor: Tensor) -> "_Waves":
        return _Waves(self.cosines * factor, self.sines * factor)


def _waves(n: int, like: Tensor) -> tuple[_Waves, Tensor]:
    """The unnormalised transform of `n` numbers, and `n` as a tensor."""
    steps = torch.arange(n, device=like.device)
    count = torch.ones_like(steps).sum()  # ONNX knows no remainder by a size
    turns = (steps[:, None] * steps % count).to(like.dtype) / count  # whole turns cost digits
    angles = 2 * torch.pi * turns
    return _Waves(angles.cos(), angles.sin()), count.to(like.dtype)


def _by_matrices(signal: Tensor, kernel: Tensor, eps: float, norm: str) -> Tensor:
    """Eq. 2 with a matrix for each transform, all numbers real."""
    there, back = {"ortho": (0.5, 0.5), "backward": (0.0, 1.0), "forward": (1.0, 0.0)}[norm]
    axes = [_waves(side, signal) for side in signal.shape[-2:]]
    rows, columns = (waves.scaled(count**-there) for waves, count in axes)
    (a, b), (c, d) = (_transformed(maps, rows, columns) for maps in (signal, kernel))
    damping = (c * c + d * d + eps).reciprocal()
    real, imaginary = (c * a + d * b) * damping, (c * b - d * a) * damping
    rows, columns = (waves.scaled(count**-back) for waves, count in axes)
    # The inverse takes plus i; of its result the real part alone is wanted.
    even = real @ columns.cosines - imaginary @ columns.sines
    odd = real @ columns.sines + imaginary @ columns.cosines
    return rows.cosines @ even - rows.sines @ odd


def _transformed(maps: Tensor, rows: _Waves, columns: _Waves) -> tuple[Tensor, Tensor]:
    """The real and the imaginary part of the spectrum of real maps."""
    even, odd = maps @ columns.cosines, maps @ columns.sines
    return rows.cosines @ even - rows.sines @ odd, -(rows.cosines @ odd + rows.sines @ even)


def _checked(
    signal: Tensor, kernel: Tensor, eps: float, norm: str
) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both maps in a dtype that can be transformed, and the dtype of the result."""
    if not eps > 0:
        raise ValueError(f"eps must be positive, or silent frequencies divide by zero, got {eps}")
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {NORMS}, as in torch.fft, got {norm!r}")
    if signal.shape != kernel.shape:
        raise ValueError(
            f"signal and kernel must have one shape, got {tuple(signal.shape)} and "
            f"{tuple(kernel.shape)}"
        )
    wide = torch.promote_types(torch.promote_types(signal.dtype, kernel.dtype), torch.float32)
    return signal.to(wide), kernel.to(wide), signal.dtype


class _Spectra(NamedTuple):
    """Half of the Fourier domain: what the product of Eq. 2 is made of, and what is kept of it."""

    damped: Tensor  # X1 / (|X2|^2 + eps)
    conjugate: Tensor  # of X2


def _spectra(signal: Tensor, kernel: Tensor, eps: float, norm: str) -> _Spectra:
    damped = torch.fft.rfft2(signal, norm=norm)
    conjugate = torch.fft.rfft2(kernel, norm=norm).conj_physical_()
    return _Spectra(damped.mul_(_inverse_power(conjugate, eps)), conjugate)


def _inverse_power(spectrum: Tensor, eps: float) -> Tensor:
    """1 / (|X|^2 + eps), real; `abs` would take a root that the square undoes."""
    start = spectrum.real.new_full((), eps)
    power = torch.addcmul(start, spectrum.real, spectrum.real)
    return torch.addcmul(power, spectrum.imag, spectrum.imag).reciprocal()


class _Wiener(torch.autograd.Function):
    r"""Eq. 2 with its adjoint, which keeps the two half spectra and takes three real transforms.

    Let G be the transform of the result's gradient, Q = X1 / D and V = X2 / D with
    D = |X2|^2 + eps, so that X_out = conj(X2) Q. From dX_out = conj(X2) dX1 / D + Q conj(dX2)
    - 2 conj(X2) Q Re(conj(X2) dX2) / D, and with T = conj(G) Q, the gradients' transforms are

    .. math:: G V \quad\text{and}\quad T - 2 \, \mathrm{Re}(\overline{X_2} T) \, V

    for X1 and X2. They are even as spectra of real maps are, so that half of them is enough. The
    factors of the norm cancel: what the inverse transform lacks, the one of G brings.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, kernel: Tensor, eps: float, norm: str) -> Tensor:
        spectra = _spectra(signal, kernel, eps, norm)
        ctx.save_for_backward(*spectra)
        ctx.eps, ctx.norm, ctx.size = eps, norm, signal.shape[-2:]
        product = spectra.damped * spectra.conjugate
        return torch.fft.irfft2(product, s=ctx.size, norm=norm)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        damped, conjugate = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            slope = torch.fft.rfft2(grad, norm=ctx.norm)
            ratio = conjugate.conj_physical().mul_(_inverse_power(conjugate, ctx.eps))
            d_signal = d_kernel = None
            if ctx.needs_input_grad[0]:
                d_signal = torch.fft.irfft2(slope * ratio, s=ctx.size, norm=ctx.norm)
            if ctx.needs_input_grad[1]:
                turned = slope.conj_physical_().mul_(damped)
                along = torch.mul(conjugate.real, turned.real)
                along.addcmul_(conjugate.imag, turned.imag, value=-1)
                turned.sub_(ratio.mul_(along), alpha=2)
                d_kernel = torch.fft.irfft2(turned, s=ctx.size, norm=ctx.norm)
        return d_signal, d_kernel, None, None


class FFTOperator(nn.Module):
    """One half of the features deconvolved by the other (NASFE Eq. 2, Fig. 4b).

    Each half passes a 3x3 convolution, then the first is divided by the second with `wiener`.

    Deviation: what comes out of Fig. 4b has half of the channels, and the paper does not say how
    they become as many as before. Here a 1x1 convolution makes them so
    (`test_the_operator_is_wiener_between_the_two_halves`).

    Args:
        channels: of the features, even.

    Raises:
        ValueError: if `channels` is odd or below 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ValueError(
                f"channels must be even for two halves, got {channels}: add one or take one away"
            )
        half = channels // 2
        self.signal = nn.Conv2d(half, half, 3, padding=1)
        self.kernel = nn.Conv2d(half, half, 3, padding=1)
        self.project = nn.Conv2d(half, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sharpened features, same shape."""
        first, second = x.chunk(2, dim=1)
        return self.project(wiener(self.signal(first), self.kernel(second)))
