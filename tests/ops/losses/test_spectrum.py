import pytest
import torch

from ops.kernels.laplacian import decompose
from ops.losses.spectrum import pyramid_spectrum


def natural(side: int = 256, count: int = 2) -> torch.Tensor:
    """Noise of a power of 1 / f^2."""
    rows = torch.fft.fftfreq(side, dtype=torch.float64)
    columns = torch.fft.rfftfreq(side, dtype=torch.float64)
    frequency = torch.hypot(rows[:, None], columns)
    frequency[0, 0] = 1
    spectrum = torch.fft.rfft2(torch.randn(count, 3, side, side, dtype=torch.float64)) / frequency
    spectrum[..., 0, 0] = 0
    return torch.fft.irfft2(spectrum, s=(side, side))


def norms(image: torch.Tensor, levels: int = 4) -> torch.Tensor:
    bands = decompose(image, levels)[:-1]
    return torch.stack([band.square().sum((1, 2, 3)).sqrt() for band in bands], 1)


def test_it_is_equation_12_for_each_image() -> None:
    image = torch.randn(2, 3, 20, 24, dtype=torch.float64)
    result = pyramid_spectrum(image, 5.0, -0.5, 3)
    for i, found in enumerate(norms(image, 3).tolist()):
        total = sum((found[n - 1] - 5 * 2 ** (-0.5 * n)) ** 2 for n in (1, 2, 3))
        assert result[i].item() == pytest.approx(total)


def test_an_image_of_natural_spectrum_has_bands_of_halving_norms() -> None:
    found = norms(natural())
    ratios = found[:, 1:] / found[:, :-1]
    assert ((ratios[:, 1:] - 0.5).abs() < 0.08).all()
    # The finest band holds the corners of the spectrum too.
    assert ((ratios[:, 0] - 0.33).abs() < 0.05).all()


def test_natural_images_are_nearer_to_the_default_slope_than_noise_or_blur() -> None:
    image = natural()
    noise = torch.randn_like(image)
    blurred = decompose(image, 1)[0] * 0.02 + (image - decompose(image, 1)[0])
    losses = []
    for picture in (image, noise, blurred):
        scaled = picture / norms(picture)[:, :1, None, None]
        losses.append(pyramid_spectrum(scaled, 2.0).max().item())
    assert losses[0] < 0.5 * losses[1]
    assert losses[0] < 0.5 * losses[2]


def test_descent_gives_noise_the_wanted_spectrum() -> None:
    image = torch.randn(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([image], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = pyramid_spectrum(image, 10.0).sum()
        value.backward()
        return value

    optimizer.step(loss)
    wanted = torch.tensor([[5.0, 2.5, 1.25, 0.625]], dtype=torch.float64)
    torch.testing.assert_close(norms(image.detach()), wanted, rtol=0.05, atol=0)


def test_its_derivative_is_right() -> None:
    image = torch.randn(1, 2, 8, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pyramid_spectrum(x, 1.0, levels=2), image)


def test_a_constant_image_has_a_finite_loss_and_gradient() -> None:
    image = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    pyramid_spectrum(image, 1.0).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_half_precision_is_summed_in_float32() -> None:
    image = torch.rand(2, 3, 32, 32).bfloat16()
    assert pyramid_spectrum(image, 1.0).dtype == torch.float32
    torch.testing.assert_close(pyramid_spectrum(image, 1.0), pyramid_spectrum(image.float(), 1.0))


@pytest.mark.parametrize(("norm", "levels"), [(-1.0, 4), (1.0, 0)])
def test_numbers_that_cannot_be_are_refused(norm: float, levels: int) -> None:
    with pytest.raises(ValueError, match="levels must be 1 or more and norm not negative"):
        pyramid_spectrum(torch.zeros(1, 3, 8, 8), norm, levels=levels)
