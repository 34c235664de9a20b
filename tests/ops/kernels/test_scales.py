import pytest
import torch
import torch.nn.functional as F

from ops.kernels.component import ComponentBasis, PatchPCA
from ops.kernels.scales import (
    ScaleMeter,
    check_dedicated,
    common_scale,
    eigenvalue_scales,
    with_floor,
)

MODES = ["per_channel", "joint_rgb"]


def smooth_maps(*shape):
    return F.avg_pool2d(torch.randn(shape), 3, 1, 1) + 0.1 * torch.randn(shape) + 0.2


def fitted(maps, patch_size=4, mode="per_channel"):
    pca = PatchPCA(patch_size, mode)
    pca.update(maps)
    return pca.basis()


def measured(basis, stream, dedicated=7):
    meter = ScaleMeter(basis.patch_size, basis.mode)
    for maps in stream:
        meter.update(maps)
    meter.sum_over_ranks()
    return meter.scales(basis, dedicated)


def root_mean_square(maps):
    return torch.cat([x.double().flatten() for x in maps]).square().mean().sqrt()


@pytest.mark.parametrize("mode", MODES)
def test_a_scale_is_the_root_mean_square_of_its_component_over_all_pixels(mode):
    # Sizes below the patch's too: every pixel of every map counts, up to the corners.
    stream = [smooth_maps(2, 3, 9, 12), smooth_maps(1, 3, 3, 2), smooth_maps(1, 3, 1, 1)]
    basis = fitted(stream[0], mode=mode)
    scales = measured(basis, iter(stream), dedicated=2)
    for i in range(basis.count):
        parts = [basis.decompose(maps.double(), [[i]])[0] for maps in stream]
        expected = float(root_mean_square(parts))
        assert float(scales.components[i]) == pytest.approx(expected, rel=1e-5)
    assert scales.floored == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_scale_of_the_rest_is_that_of_the_sum_of_the_scaled_components(mode):
    maps = smooth_maps(2, 3, 9, 12)
    basis = fitted(maps, mode=mode)
    scales = measured(basis, [maps], dedicated=3)
    remaining = range(3, basis.count)
    parts = basis.decompose(maps.double(), [[i] for i in remaining])
    whole = sum(part / scales.components[i] for i, part in zip(remaining, parts, strict=True))
    assert scales.rest == pytest.approx(float(root_mean_square([whole])), rel=1e-5)


def test_without_dedicated_components_the_rest_is_the_whole_map():
    maps = smooth_maps(2, 3, 9, 12)
    scales = measured(fitted(maps), [maps], dedicated=0)
    assert scales.rest == pytest.approx(float(root_mean_square([maps])), rel=1e-5)


def test_printed_scales_leave_the_components_of_different_size():
    maps = smooth_maps(4, 3, 32, 32)
    basis = fitted(maps, 5)
    printed = eigenvalue_scales(basis)
    sizes = measured(basis, [maps]).components / printed.components
    assert (sizes < 1).all()
    assert sizes.max() > 2 * sizes.min()
    torch.testing.assert_close(printed.components, basis.eigenvalues.sqrt())
    assert printed.rest == 1.0


def test_the_printed_scale_of_all_components_mixed_is_the_deviation_of_a_pixel():
    maps = torch.full((1, 3, 8, 8), 0.25)
    assert eigenvalue_scales(fitted(maps), 0).rest == pytest.approx(0.25)


def test_one_scale_for_all_is_1_of_a_basis_to_be_filled():
    scales = common_scale(ComponentBasis.empty(2), 3)
    assert scales.components.tolist() == [1.0] * 4
    assert (scales.rest, scales.floored) == (1.0, 0)


def test_one_scale_for_all_leaves_the_components_unequal():
    maps = smooth_maps(4, 3, 32, 32)
    basis = fitted(maps, 5)
    (scale,) = common_scale(basis).components.unique()
    sizes = measured(basis, [maps]).components / scale
    assert sizes.max() > 10 * sizes.min()
    assert 0.2 < sizes.max() < 2


def test_vanishing_components_get_the_floor_and_are_counted():
    scales, floored = with_floor(torch.tensor([2.0, 0.5, 1e-3, 0.0], dtype=torch.float64))
    torch.testing.assert_close(scales, torch.tensor([2.0, 0.5, 2e-3, 2e-3]))
    assert floored == 2


def test_maps_of_one_value_leave_all_but_a_few_components_at_the_floor():
    maps = torch.full((1, 3, 40, 40), 0.5)
    basis = fitted(maps)
    assert measured(basis, [maps[:, :, :1, :1]]).floored < 16
    assert eigenvalue_scales(basis).floored == 15


def test_merged_meters_measure_all_maps():
    maps = smooth_maps(3, 3, 6, 7)
    basis = fitted(maps)
    whole, first, second = (ScaleMeter(4) for _ in range(3))
    whole.update(maps)
    first.update(maps[:1])
    second.update(maps[1:])
    first.merge(second)
    merged, expected = (meter.scales(basis, 2) for meter in (first, whole))
    torch.testing.assert_close(merged.components, expected.components)
    assert merged.rest == pytest.approx(expected.rest)


def measured_in_parallel(rank):
    maps = torch.arange(3 * 8 * 9.0).view(1, 3, 8, 9).square().sin() * (rank + 1)
    # As a plain tuple, which a file of tensors can hold.
    return tuple(measured(ComponentBasis.empty(2), [maps], dedicated=1)), maps


def test_two_processes_measure_the_maps_of_both(two_processes):
    (first, maps), (second, others) = two_processes(measured_in_parallel)
    assert torch.equal(first[0], second[0])
    assert first[1:] == second[1:]
    expected = measured(ComponentBasis.empty(2), [maps, others], dedicated=1)
    torch.testing.assert_close(first[0], expected.components)
    assert first[1] == pytest.approx(expected.rest)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: measured(b, []), "dedicated must be from 0 to 3, got 7"),
        (lambda b: measured(b, [], dedicated=1), "no patch was seen"),
        (lambda b: measured(b, [torch.zeros(1, 3, 4, 4)], 1), "all components are 0"),
        (lambda b: eigenvalue_scales(b, -1), "dedicated must be from 0 to 3, got -1"),
        (lambda _: check_dedicated(121, 121), "dedicated must be from 0 to 120, got 121"),
        (lambda _: with_floor(torch.zeros(3)), "all components are 0"),
        (lambda _: ScaleMeter(2).update(torch.full((1, 1, 2, 2), torch.nan)), "must be finite"),
        (lambda _: ScaleMeter(2).merge(ScaleMeter(3)), "3 x 3 patches .* got 5 and per_channel"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(call, message):
    with pytest.raises(ValueError, match=message):
        call(ComponentBasis.empty(2))
