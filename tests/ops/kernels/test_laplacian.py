import pytest
import torch
import torch.nn.functional as F

from ops.kernels.laplacian import decompose, expand, normalise_gradient, reconstruct, reduce

SIZES = [(32, 32), (31, 18), (1, 7), (5, 1), (1, 1)]
WEIGHTS = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64) / 16
KERNEL = torch.outer(WEIGHTS, WEIGHTS)


def exact(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def rms(band: torch.Tensor) -> torch.Tensor:
    return band.square().mean((1, 2, 3)).sqrt()


@pytest.mark.parametrize("size", SIZES)
def test_reducing_is_a_convolution_of_stride_two_of_the_continued_image(size) -> None:
    image = exact(2, 3, *size)
    wide = F.pad(image, (2, 2, 2, 2), mode="replicate").flatten(0, 1).unsqueeze(1)
    wanted = F.conv2d(wide, KERNEL.view(1, 1, 5, 5), stride=2).unflatten(0, (2, 3)).squeeze(2)
    torch.testing.assert_close(reduce(image), wanted)


@pytest.mark.parametrize("size", SIZES)
def test_expanding_is_the_deconvolution_by_four_times_the_kernel(size) -> None:
    height, width = size
    small = exact(2, 3, -(-height // 2), -(-width // 2))
    wide = F.pad(small, (1, 1, 1, 1), mode="replicate").flatten(0, 1).unsqueeze(1)
    whole = F.conv_transpose2d(wide, 4 * KERNEL.view(1, 1, 5, 5), stride=2)
    wanted = whole[..., 4 : 4 + height, 4 : 4 + width].unflatten(0, (2, 3)).squeeze(2)
    torch.testing.assert_close(expand(small, height, width), wanted)


def test_away_from_the_border_expanding_is_four_times_the_adjoint_of_reducing() -> None:
    image, small = exact(1, 1, 24, 24), torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    small[..., 3:9, 3:9] = exact(6, 6)
    there, back = (reduce(image) * small).sum(), (image * expand(small, 24, 24)).sum()
    torch.testing.assert_close(4 * there, back)


@pytest.mark.parametrize("size", [*SIZES, (224, 224)])
@pytest.mark.parametrize("levels", [0, 1, 4])
def test_a_pyramid_gives_its_image_back(size, levels) -> None:
    image = torch.rand(2, 3, *size)
    bands = decompose(image, levels)
    assert len(bands) == levels + 1
    torch.testing.assert_close(reconstruct(bands), image, rtol=0, atol=1e-6)


def test_a_constant_image_has_nothing_in_its_bands() -> None:
    *bands, left = decompose(torch.full((1, 3, 17, 30), 0.75))
    assert all((band == 0).all() for band in bands)
    assert (left == 0.75).all()


def test_a_band_holds_the_structure_of_its_size() -> None:
    line = torch.arange(64, dtype=torch.float64)
    for level in range(4):
        wave = torch.cos(0.4 * torch.pi * (line + 0.5) / 2**level)
        *bands, _ = decompose(wave.expand(1, 1, 64, 64))
        energy = [band.square().mean().item() for band in bands]
        assert energy.index(max(energy)) == level


def test_every_band_of_a_normalised_gradient_was_brought_to_strength_one() -> None:
    gradient = exact(2, 3, 32, 40) * 1e-4
    bands = decompose(gradient)
    wanted = reconstruct([band / rms(band)[:, None, None, None] for band in bands])
    torch.testing.assert_close(normalise_gradient(gradient), wanted)


def test_the_size_of_a_gradient_and_its_neighbours_in_the_batch_do_not_matter() -> None:
    gradient = exact(3, 3, 20, 20)
    factors = torch.tensor([1e-6, 1.0, 1e5], dtype=torch.float64).view(3, 1, 1, 1)
    torch.testing.assert_close(normalise_gradient(gradient * factors), normalise_gradient(gradient))
    torch.testing.assert_close(normalise_gradient(gradient)[1:2], normalise_gradient(gradient[1:2]))


def test_fine_and_coarse_structure_end_up_alike_however_unlike_they_were() -> None:
    fine, coarse = exact(1, 3, 64, 64), exact(1, 3, 4, 4)
    gradient = fine + 1e3 * F.interpolate(coarse, (64, 64), mode="bilinear")
    before, after = (
        [rms(band).item() for band in decompose(g)]
        for g in (gradient, normalise_gradient(gradient))
    )
    assert max(before) / min(before) > 20
    assert max(after) / min(after) < 6


def test_no_gradient_stays_none_and_is_finite() -> None:
    assert not normalise_gradient(torch.zeros(1, 3, 16, 16)).any()


def test_a_band_below_the_floor_is_not_blown_up_to_strength_one() -> None:
    gradient = torch.randn(1, 3, 16, 16)
    weak = normalise_gradient(gradient * 1e-12)
    assert weak.abs().max() < 0.2
    torch.testing.assert_close(weak, gradient * 1e-2, rtol=1e-3, atol=1e-6)


def test_gradients_flow_through_a_pyramid() -> None:
    image = exact(1, 1, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: decompose(x, 2), image)
    assert torch.autograd.gradcheck(lambda x: reconstruct(decompose(x, 2)), image)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    image = torch.rand(1, 3, 20, 24)
    assert {band.dtype for band in decompose(image.to(dtype))} == {dtype}
    result = normalise_gradient(image.to(dtype))
    assert result.dtype == dtype
    error = result.float() - normalise_gradient(image.to(dtype).float())
    assert error.abs().max() < 0.05


def test_the_gradient_given_is_left_as_it_was() -> None:
    gradient = torch.randn(1, 3, 16, 16)
    before = gradient.clone()
    for levels in (0, 4):
        normalise_gradient(gradient, levels)
    assert torch.equal(gradient, before)


def test_what_makes_no_pyramid_is_refused(unchecked_types) -> None:
    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="or one less, got 17 x 16"):
        expand(image, 17, 16)
    with pytest.raises(ValueError, match="levels must be 0 or more, got -1"):
        decompose(image, -1)
    with pytest.raises(ValueError, match="levels must be 0 or more, got -2"):
        normalise_gradient(image, -2)
    with pytest.raises(ValueError, match="got none"):
        reconstruct([])
    with pytest.raises(ValueError, match="8 x 8 pixels expand"):
        reconstruct([image, image])
