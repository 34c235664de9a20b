import itertools

import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn

from ops.losses.total_variation import decaying_weight, total_variation


def exact(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def laplacian(image: torch.Tensor) -> torch.Tensor:
    """The sum of the four neighbours less four times the pixel, borders repeated outwards."""
    p = F.pad(image, (1, 1, 1, 1), mode="replicate")
    around = p[..., 2:, 1:-1] + p[..., :-2, 1:-1] + p[..., 1:-1, 2:] + p[..., 1:-1, :-2]
    return around - 4 * image


def gradient(image: torch.Tensor, alpha: float) -> torch.Tensor:
    image = image.clone().requires_grad_()
    return torch.autograd.grad(total_variation(image, alpha).sum(), image)[0]


def gamma(height: int, width: int) -> torch.Tensor:
    """Of Eq. 7, for a mirrored border: half a cyclic image's frequencies."""
    rows = torch.sin(torch.pi * torch.arange(height, dtype=torch.float64) / (2 * height)) ** 2
    columns = torch.sin(torch.pi * torch.arange(width, dtype=torch.float64) / (2 * width)) ** 2
    return rows[:, None] + columns


def test_the_power_comes_after_the_sum_over_the_image() -> None:
    image = exact(2, 3, 5, 6)
    for index, picture in enumerate(image):
        bracket = 0.0
        for channel in picture:
            for y in range(5):
                for x in range(6):
                    bracket += float(channel[y, x] - channel[y, max(x - 1, 0)]) ** 2
                    bracket += float(channel[y, x] - channel[max(y - 1, 0), x]) ** 2
        for alpha in (1.0, 1.5, 2.0, 3.0):
            result = total_variation(image, alpha)[index].item()
            assert result == pytest.approx(bracket ** (alpha / 2))


def test_the_gradient_at_alpha_two_is_proportional_to_the_laplacian() -> None:
    image = exact(2, 3, 9, 8)
    torch.testing.assert_close(gradient(image, 2.0), -2 * laplacian(image))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, 3.0])
def test_the_gradient_is_the_laplacian_of_equation_3_at_every_pixel(alpha: float) -> None:
    image = exact(2, 3, 9, 8)
    strength = alpha * total_variation(image, alpha) ** (1 - 2 / alpha)
    wanted = -strength.view(-1, 1, 1, 1) * laplacian(image)
    torch.testing.assert_close(gradient(image, alpha), wanted)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_a_constant_image_has_no_variation_and_no_gradient(alpha: float) -> None:
    image = torch.full((1, 3, 6, 6), 0.4)
    assert total_variation(image, alpha).item() == 0
    assert torch.equal(gradient(image, alpha), torch.zeros_like(image))


def test_the_left_border_does_not_pull_on_the_right_one() -> None:
    ramp = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    assert total_variation(ramp).item() == pytest.approx(8 * 7 / 49)


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_an_image_under_a_linear_pull_has_its_spectrum_over_gamma(alpha: float) -> None:
    # Equation 11 with its factor C: where <g, p> + w TV(p) is least, for a pull without a mean.
    weight, pull = 0.3, exact(12, 10)
    pull -= pull.mean()
    divisor = 4 * alpha * gamma(12, 10) * weight
    divisor[0, 0] = 1
    spectrum = -torch.from_numpy(dctn(pull.numpy(), norm="ortho")) / divisor
    shape = torch.from_numpy(idctn(spectrum.numpy(), norm="ortho"))[None, None]
    factor = total_variation(shape, alpha) ** ((2 - alpha) / (alpha * (alpha - 1)))
    found = (factor * shape).requires_grad_()
    loss = (pull * found).sum() + weight * total_variation(found, alpha).sum()
    slope = torch.autograd.grad(loss, found)[0]
    assert slope.abs().max() < 1e-10 * pull.abs().max()


def test_descent_ends_where_equation_11_says_and_fine_detail_is_suppressed() -> None:
    pull, image = exact(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    pull -= pull.mean()
    image.requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (pull * image).sum() + 0.5 * total_variation(image).sum()
        value.backward()
        return value

    optimizer.step(loss)
    found = torch.from_numpy(dctn(image.detach()[0, 0].numpy(), norm="ortho"))
    given = torch.from_numpy(dctn(pull[0, 0].numpy(), norm="ortho"))
    gain = (found / given).flatten()[1:]
    torch.testing.assert_close(gain, -1 / (4 * gamma(8, 8)).flatten()[1:], rtol=1e-3, atol=0)
    assert gain[-1].abs() < 0.05 * gain[0].abs()


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_its_derivative_is_right(alpha: float) -> None:
    image = exact(2, 2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total_variation(x, alpha), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1)])
def test_lines_and_single_pixels_are_images_too(size) -> None:
    image = exact(1, 3, *size)
    torch.testing.assert_close(gradient(image, 2.0), -2 * laplacian(image))


def test_half_precision_is_summed_in_float32() -> None:
    image = torch.rand(2, 3, 64, 64).bfloat16()
    result = total_variation(image)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, total_variation(image.float()))
    assert gradient(image, 2.0).dtype == torch.bfloat16


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_an_exponent_that_is_not_positive_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be positive"):
        total_variation(torch.zeros(1, 3, 4, 4), alpha)


def test_the_weight_falls_by_the_same_factor_in_every_step() -> None:
    weights = [decaying_weight(1e-2, 1e-4, step / 10) for step in range(11)]
    factors = [b / a for a, b in itertools.pairwise(weights)]
    assert weights[0] == pytest.approx(1e-2)
    assert weights[-1] == pytest.approx(1e-4)
    assert factors == pytest.approx([0.01**0.1] * 10)
    assert decaying_weight(3.0, 3.0, 0.7) == 3


@pytest.mark.parametrize(("first", "last", "progress"), [(0, 1, 0), (1, 0, 0), (1, 1, 1.5)])
def test_a_decay_to_nothing_is_refused(first: float, last: float, progress: float) -> None:
    with pytest.raises(ValueError, match="weights must be positive and progress in"):
        decaying_weight(float(first), float(last), float(progress))
