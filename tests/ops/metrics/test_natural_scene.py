import numpy as np
import pytest
import torch
from scipy import ndimage, special, stats

from ops.metrics.natural_scene import (
    blocks,
    complete,
    features,
    filtered,
    fit_aggd,
    local_contrast,
    mean_and_covariance,
)


def gaussian(side=7, sigma=7 / 6):
    line = torch.exp(-(torch.arange(side).double() - side // 2).square() / (2 * sigma**2))
    return torch.outer(line, line) / line.sum() ** 2


def quantiles(alpha, count=20_000):
    """Evenly spread quantiles of a generalised Gaussian of scale 1: a sample without chance."""
    return torch.from_numpy(stats.gennorm(alpha).ppf((np.arange(count) + 0.5) / count))


@pytest.mark.parametrize("alpha", [0.7, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("scale", [0.3, 5.0])
def test_a_symmetric_sample_gives_back_its_shape_and_scale(alpha, scale):
    found = fit_aggd(scale * quantiles(alpha)[None])
    assert found.shape.item() == pytest.approx(alpha, rel=0.01)
    assert found.left.item() == pytest.approx(found.right.item(), rel=1e-9)
    assert found.left.item() == pytest.approx(scale, rel=0.01)
    assert found.mean.item() == pytest.approx(0, abs=1e-9 * scale)


def test_an_asymmetric_sample_gives_back_both_scales_and_its_mean():
    left, right, alpha = 1.0, 3.0, 1.5
    half = quantiles(alpha, 60_000)[30_000:]
    # The density is continuous at 0: each side weighs as much as its scale.
    both = torch.cat([-left * half[::3], right * half])
    found = fit_aggd(both[None])
    assert found.shape.item() == pytest.approx(alpha, rel=0.01)
    assert (found.left.item(), found.right.item()) == pytest.approx((left, right), rel=0.01)
    mean = (right - left) * special.gamma(2 / alpha) / special.gamma(1 / alpha)
    assert found.mean.item() == pytest.approx(mean, rel=0.01)
    assert both.mean().item() == pytest.approx(mean, rel=0.01)


def test_the_shape_is_the_nearest_of_all_steps_by_search():
    values = torch.randn(40, 50, dtype=torch.float64) ** 3
    shapes = np.arange(200, 10001) / 1000
    one, two, three = (special.gamma(k / shapes) for k in (1, 2, 3))
    wanted = []
    for row in values.numpy():
        left, right = (np.sqrt(np.mean(side**2)) for side in (row[row < 0], row[row > 0]))
        rho, gamma = np.mean(np.abs(row)) ** 2 / np.mean(row**2), left / right
        rho *= (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
        wanted.append(shapes[np.argmin((two**2 / one / three - rho) ** 2)])
    assert fit_aggd(values).shape.tolist() == pytest.approx(wanted, abs=1e-12)


def test_scales_follow_the_values_and_the_shape_does_not():
    values = torch.randn(3, 1000, dtype=torch.float64)
    once, thrice = fit_aggd(values), fit_aggd(3 * values)
    assert torch.equal(once.shape, thrice.shape)
    torch.testing.assert_close(3 * once.left, thrice.left)
    torch.testing.assert_close(3 * once.mean, thrice.mean)


def test_shapes_beyond_the_table_are_its_ends():
    spike = torch.full((1, 10_000), 1e-12, dtype=torch.float64)
    spike[0, ::2] *= -1
    spike[0, :2] = torch.tensor([1.0, -1.0])
    uniform = torch.tensor([[1.0, -1.0] * 50], dtype=torch.float64)
    assert fit_aggd(spike).shape.item() == 0.2
    assert fit_aggd(uniform).shape.item() == 10


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_a_row_of_one_sign_has_the_first_shape_and_no_scales(value):
    found = fit_aggd(torch.full((1, 9), value, dtype=torch.float64))
    assert found.shape.item() == 0.2
    assert found.mean.isnan().all()
    assert (found.left.isnan() | found.right.isnan()).all()


def test_zeros_belong_to_neither_side():
    values = torch.tensor([[-2.0, -1.0, 3.0, 0.0, 0.0]], dtype=torch.float64)
    found = fit_aggd(values)
    ratio = found.right / found.left
    assert ratio.item() == pytest.approx(3 / np.sqrt(2.5), rel=1e-12)


def test_local_contrast_is_that_of_a_two_dimensional_window_with_the_border_repeated():
    levels = 255 * torch.rand(2, 9, 13, dtype=torch.float64)
    window = gaussian()
    contrast, deviation = local_contrast(levels, window)
    for image, found, spread in zip(levels.numpy(), contrast, deviation, strict=True):
        mean = ndimage.correlate(image, window.numpy(), mode="nearest")
        square = ndimage.correlate(image**2, window.numpy(), mode="nearest")
        wanted = np.sqrt(np.abs(square - mean**2))
        np.testing.assert_allclose(spread.numpy(), wanted, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.numpy(), (image - mean) / (wanted + 1), atol=1e-9)


def test_a_window_without_symmetry_is_not_turned_over():
    maps = torch.rand(1, 6, 8, dtype=torch.float64)
    taps = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    for dim in (1, 2):
        wanted = ndimage.correlate1d(maps.numpy(), taps.numpy(), axis=dim, mode="nearest")
        np.testing.assert_allclose(filtered(maps, taps, dim).numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("level", [16.0, 77.0, 235.0])
def test_even_regions_count_on_neither_side(level):
    levels = 255 * torch.rand(1, 40, 40, dtype=torch.float64)
    levels[:, :, :20] = level
    contrast, _ = local_contrast(levels, gaussian())
    assert not contrast[:, :, :17].any()
    assert contrast[:, :, 17:].all()


def test_blocks_come_row_by_row():
    maps = torch.arange(2 * 4 * 6).double().view(2, 4, 6)
    found = blocks(maps, 2)
    assert found.shape == (2, 6, 2, 2)
    assert torch.equal(found[1, 1], maps[1, :2, 2:4])
    assert torch.equal(found[0, 5], maps[0, 2:, 4:])


def test_features_are_those_of_the_rolled_products():
    block = torch.randn(1, 12, 12, dtype=torch.float64)
    wanted = [f(fit_aggd(block.flatten(1))) for f in (lambda a: a.shape, lambda a: a.left)]
    wanted[1] = (wanted[1] + fit_aggd(block.flatten(1)).right) / 2
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        pair = fit_aggd((block * block.roll(shift, (1, 2))).flatten(1))
        wanted += [pair.shape, pair.mean, pair.left, pair.right]
    assert torch.equal(features(block), torch.stack(wanted, 1))


def test_the_features_of_a_block_do_not_depend_on_its_company():
    contrast = torch.randn(13, 96, 96, dtype=torch.float64)
    together = features(contrast)
    alone = torch.cat([features(each[None]) for each in contrast])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_mean_and_covariance_leave_out_what_matlabs_nan_functions_do():
    rows = torch.randn(2, 8, 3, dtype=torch.float64)
    rows[0, 2, 1] = torch.nan
    mean, covariance = mean_and_covariance(rows)
    for found, spread, values in zip(mean, covariance, rows.numpy(), strict=True):
        np.testing.assert_allclose(found.numpy(), np.nanmean(values, 0))
        kept = values[~np.isnan(values).any(1)]
        np.testing.assert_allclose(spread.numpy(), np.cov(kept, rowvar=False))
    assert complete(rows).sum().item() == 15


def test_one_complete_row_has_no_covariance():
    rows = torch.randn(1, 2, 3, dtype=torch.float64)
    rows[0, 0, 0] = torch.nan
    mean, covariance = mean_and_covariance(rows)
    assert mean.isfinite().all()
    assert covariance.isnan().all()
