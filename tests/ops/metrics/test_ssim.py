import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from ops.metrics.ssim import ms_ssim, ssim

SIZES = [(2, 3, 64, 64), (3, 1, 37, 53), (1, 3, 6, 6), (1, 1, 6, 91), (2, 3, 203, 61)]
BANDS = (1, 1, 40, 4200)  # wide enough for bands of sixteen rows, the last of eight


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


def picture(*shape, seed=0):
    """Smooth parts and edges with even ground between them, and a disturbed copy."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], 6, 5, generator=generator)
    clean = torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 1)
    clean = torch.where(clean > 0.7, torch.tensor(0.85), clean)
    disturbed = clean + 0.05 * torch.randn(shape, generator=generator)
    return disturbed.clamp(0, 1), clean


def theirs(output, target):
    return structural_similarity_index_measure(output, target, data_range=1.0, reduction="none")


def dense(output, target):
    """SSIM of a plane written out window by window."""
    place = np.arange(-5, 6)
    line = np.exp(-(place**2) / (2 * 1.5**2))
    weight = np.outer(line, line) / line.sum() ** 2
    a, b = (np.pad(each, 5, mode="reflect") for each in (output, target))
    found = []
    for y, x in np.ndindex(*output.shape):
        p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
        m, n = (weight * p).sum(), (weight * q).sum()
        of_p, of_q = (weight * (p - m) ** 2).sum(), (weight * (q - n) ** 2).sum()
        both = (weight * (p - m) * (q - n)).sum()
        light = (2 * m * n + 1e-4) / (m**2 + n**2 + 1e-4)
        found.append(light * (2 * both + 9e-4) / (of_p + of_q + 9e-4))
    return np.mean(found)


@pytest.mark.parametrize(
    ("pair", "shape"),
    [*((noise, shape) for shape in SIZES), *((picture, shape) for shape in [*SIZES, BANDS])],
)
def test_values_are_those_of_torchmetrics(pair, shape):
    output, target = pair(*shape)
    found = ssim(output, target)
    torch.testing.assert_close(found, theirs(output, target), rtol=0, atol=1e-5)
    exact = theirs(output.double(), target.double())
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)
    own = ssim(output.double(), target.double())
    torch.testing.assert_close(own, exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize("pair", [noise, picture])
def test_values_are_those_of_the_equation_written_out_in_loops(pair):
    output, target = (each.double() for each in pair(1, 1, 19, 14))
    expected = dense(output[0, 0].numpy(), target[0, 0].numpy())
    assert ssim(output, target).item() == pytest.approx(expected, abs=1e-12)


def test_values_are_scikit_images_of_the_mirrored_pair():
    output, target = picture(1, 3, 44, 51)
    mirrored = (
        np.pad(x[0].double(), ((0, 0), (5, 5), (5, 5)), "reflect") for x in (output, target)
    )
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(*mirrored, channel_axis=0, data_range=1, **settings)
    assert ssim(output, target).item() == pytest.approx(expected, abs=1e-6)


def made_of_sines(side):
    """The same on every machine: no random numbers."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64),) * 2, indexing="ij")
    target = 0.5 + 0.4 * torch.sin(0.13 * x + 0.002 * x * y) * torch.cos(0.21 * y)
    return (target + 0.06 * torch.sin(1.9 * x - 0.7 * y))[None, None], target[None, None]


def test_a_pair_of_sines_scores_what_it_always_did():
    assert ssim(*made_of_sines(48)).item() == pytest.approx(0.8542191032, abs=1e-9)
    assert ms_ssim(*made_of_sines(180)).item() == pytest.approx(0.9929912665, abs=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.2, 0.97, 1.0])
def test_equal_images_give_exactly_1(level):
    even = torch.full((1, 3, 32, 32), level)
    assert ssim(even, even).tolist() == [1]
    textured = noise(1, 3, 32, 32)[0]
    assert ssim(textured, textured).tolist() == [1]


@pytest.mark.parametrize("strength", [1e-4, 1e-3, 1e-2])
def test_bright_even_ground_keeps_more_digits_than_in_torchmetrics(strength):
    disturbances = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    output, target = 0.97 + strength * disturbances
    exact = theirs(output.double(), target.double())
    own, other = (
        (each.double() - exact).abs() for each in (ssim(output, target), theirs(output, target))
    )
    assert own < other / 10
    assert own < 1e-6


def test_it_is_symmetric_and_an_image_scores_the_same_in_any_batch():
    output, target = picture(3, 3, 40, 33)
    torch.testing.assert_close(ssim(output, target), ssim(target, output), rtol=0, atol=1e-7)
    alone = torch.cat([ssim(*pair) for pair in zip(output.split(1), target.split(1), strict=True)])
    assert torch.equal(ssim(output, target), alone)


def test_no_image_gives_no_value():
    assert ssim(*noise(0, 3, 12, 12)).shape == (0,)


def test_an_image_that_is_not_a_number_shows():
    output, target = picture(2, 3, 20, 20)
    output[1, 0, 3, 3] = torch.nan
    assert ssim(output, target).isnan().tolist() == [False, True]


def test_half_precision_is_computed_in_float32():
    output, target = (each.bfloat16() for each in picture(2, 3, 24, 24))
    found = ssim(output, target)
    assert found.dtype == torch.float32
    assert torch.equal(found, ssim(output.float(), target.float()))


def test_gradients_are_those_of_the_values():
    output, target = (each.double() for each in picture(1, 1, 8, 7))
    assert torch.autograd.gradcheck(lambda x: ssim(x, target), output.requires_grad_())


@pytest.mark.parametrize("shape", [(2, 3, 176, 176), (1, 1, 181, 255)])
@pytest.mark.parametrize("pair", [noise, picture])
def test_values_at_five_scales_are_those_of_torchmetrics(pair, shape):
    output, target = pair(*shape)
    arguments = {"data_range": 1.0, "reduction": "none"}
    expected = multiscale_structural_similarity_index_measure(output, target, **arguments)
    torch.testing.assert_close(ms_ssim(output, target), expected, rtol=0, atol=1e-5)


def test_what_is_opposite_at_a_scale_counts_as_0_at_five():
    target = picture(1, 1, 176, 176)[1]
    assert ms_ssim(1 - target, target).tolist() == [0]
    assert ms_ssim(target, target).tolist() == [1]


def test_images_that_are_too_small_or_unlike_are_refused():
    with pytest.raises(ValueError, match="SSIM needs at least 6 pixels a side, got 5 x 9"):
        ssim(*noise(1, 3, 5, 9))
    with pytest.raises(ValueError, match=r"five scales needs at least 176 .* got 400 x 175"):
        ms_ssim(*noise(1, 1, 400, 175))


def test_images_of_two_shapes_are_refused(unchecked_types):
    with pytest.raises(ValueError, match=r"one shape, got \(1, 3, 8, 8\) and \(1, 3, 8, 9\)"):
        ssim(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
