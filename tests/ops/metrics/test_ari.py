import pytest
import torch

from ops.kernels.component import ComponentBasis
from ops.metrics.ari import (
    AccumulatedRelativeImprovement,
    accumulated_relative_improvement,
    comparable,
    relative_improvement,
)

SIDE = 3
COUNT = SIDE**2


def random_basis():
    square = torch.randn(COUNT, COUNT, dtype=torch.float64)
    return ComponentBasis(torch.linalg.qr(square).Q, torch.ones(COUNT), SIDE)


@pytest.fixture
def basis():
    """Orthonormal components of 3x3 patches, in no order."""
    return random_basis()


def images(count=5, height=7, width=6):
    """Edited images, restorations that are about half right, and originals, of 8 bits."""
    target = torch.rand(count, 3, height, width)
    image = target + 0.1 * torch.randn_like(target)
    output = image + 0.5 * (target - image) + 0.02 * torch.randn_like(target)
    return tuple((255 * each).round() / 255 for each in (image, output, target))


def written_out(basis, image, output, target):
    """Eq. 1, each patch and component in turn."""
    sums = torch.zeros(2, COUNT, dtype=torch.float64)
    b, c, h, w = target.shape
    for n, k, y, x in torch.cartesian_prod(*(torch.arange(s) for s in (b, c, h - 2, w - 2))):
        at = (n, k, slice(y, y + SIDE), slice(x, x + SIDE))
        for row, other in enumerate((image, output)):
            patch = (target[at] - other[at]).double().flatten()
            for i, vector in enumerate(basis.vectors.double()):
                sums[row, i] += torch.dot(vector, patch) ** 2
    return (sums[0] - sums[1]) / sums[0]


def updated(metric, batch, sizes=(2, 2, 1)):
    for parts in zip(*(each.split(sizes) for each in batch), strict=True):
        metric.update(*parts)
    return metric


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)])
def test_both_figures_are_the_papers_equations_written_out_however_batched(basis, sizes):
    batch = images(3, 5, 6)
    expected = written_out(basis, *batch)
    metric = updated(AccumulatedRelativeImprovement(basis), batch, sizes)
    torch.testing.assert_close(metric.improvement(), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(metric.compute(), expected.sum(), rtol=1e-9, atol=1e-9)


def test_the_original_scores_one_in_every_component_and_n_in_all(basis):
    image, _, target = images()
    metric = updated(AccumulatedRelativeImprovement(basis), (image, target, target))
    assert metric.improvement().tolist() == [1] * COUNT
    assert metric.compute() == metric.counted() == COUNT


def test_components_of_all_channels_together_are_three_times_as_many():
    image, _, target = images()
    metric = AccumulatedRelativeImprovement(ComponentBasis.empty(SIDE, "joint_rgb"))
    updated(metric, (image, target, target))
    assert metric.compute() == metric.counted() == 3 * COUNT


def test_the_untouched_input_scores_zero(basis):
    image, _, target = images()
    metric = updated(AccumulatedRelativeImprovement(basis), (image, image, target))
    assert metric.improvement().tolist() == [0] * COUNT
    assert metric.compute() == 0


def test_an_error_of_half_the_edit_leaves_a_quarter_of_the_energy(basis):
    image, _, target = images()
    half = updated(AccumulatedRelativeImprovement(basis), (image, (image + target) / 2, target))
    torch.testing.assert_close(half.compute().item(), 0.75 * COUNT, rtol=1e-5, atol=0)


def test_twice_the_edit_is_worse_than_nothing(basis):
    image, _, target = images()
    batch = image, 2 * image - target, target
    further = updated(AccumulatedRelativeImprovement(basis), batch).improvement()
    torch.testing.assert_close(further, torch.full((COUNT,), -3.0).double())


def test_components_weigh_the_same_whatever_their_energy():
    before = torch.tensor([1e6, 1.0, 1e-3], dtype=torch.float64)
    after = before * torch.tensor([1.0, 0.5, 0.0])
    assert relative_improvement(before, after).tolist() == [0, 0.5, 1]
    assert accumulated_relative_improvement(before, after) == 1.5


def test_empty_components_are_left_out_and_not_counted(basis):
    flat = 0.2 * basis.vectors[0].view(SIDE, SIDE)
    target = torch.rand(2, 3, SIDE, SIDE)
    image = target - flat  # one patch a plane, all of it in the first component
    output = target - 0.1 * flat + 0.01 * torch.randn_like(target)
    metric = AccumulatedRelativeImprovement(basis)
    metric.update(image, output, target)
    assert metric.counted() == 1
    assert metric.improvement().isnan().tolist() == [False] + [True] * (COUNT - 1)
    assert 0.9 < metric.compute() == metric.improvement()[0] <= 1


def test_the_tolerance_decides_what_is_empty():
    before = torch.tensor([1.0, 1e-4, 0.0])
    assert comparable(before).tolist() == [True, True, False]
    for scale in (1e-6, 1, 1e6):
        assert comparable(scale * before, 1e-3).tolist() == [True, False, False]
    assert comparable(before, 0.0).tolist() == [True, True, False]
    assert accumulated_relative_improvement(before, before / 2, 1e-3) == 0.5


def test_pairs_that_are_equal_give_no_number(basis):
    _, output, target = images()
    metric = updated(AccumulatedRelativeImprovement(basis), (target, output, target))
    assert metric.compute().isnan()
    assert metric.counted() == 0


def test_an_output_that_is_not_a_number_shows(basis):
    image, output, target = images()
    output[3, 1, 2, 2] = torch.nan
    metric = updated(AccumulatedRelativeImprovement(basis), (image, output, target))
    assert metric.compute().isnan()
    assert metric.counted() == COUNT


def test_sums_stay_in_float64_whatever_the_module_is_converted_to(basis):
    metric = AccumulatedRelativeImprovement(basis).float()
    batch = images()
    updated(metric, batch)
    assert metric.before.dtype == metric.compute().dtype == torch.float64
    metric.reset()
    assert metric.before.dtype == torch.float64
    assert not metric.before.any()


def test_bf16_outputs_are_compared_in_float32(basis):
    image, output, target = images()
    rounded = output.bfloat16()
    found = updated(AccumulatedRelativeImprovement(basis), (image, rounded, target)).compute()
    wanted = updated(
        AccumulatedRelativeImprovement(basis), (image, rounded.float(), target)
    ).compute()
    assert found == wanted


def test_a_basis_that_is_filled_later_is_the_one_that_counts(basis):
    batch, empty = images(), ComponentBasis.empty(SIDE)
    metric = AccumulatedRelativeImprovement(empty)
    empty.load_state_dict(basis.state_dict())
    wanted = updated(AccumulatedRelativeImprovement(basis), batch).improvement()
    assert torch.equal(updated(metric, batch).improvement(), wanted)


def test_shapes_that_differ_are_refused(basis, unchecked_types):
    metric, target = AccumulatedRelativeImprovement(basis), torch.rand(1, 3, 5, 5)
    for image, output in ((target[..., :4], target), (target, target[:, :1])):
        with pytest.raises(ValueError, match="must have one shape, got"):
            metric.update(image, output, target)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0])
def test_a_tolerance_that_cannot_be_is_refused(tolerance):
    energies = torch.ones(3)
    with pytest.raises(ValueError, match=rf"tolerance must be in \[0, 1\), got {tolerance}"):
        accumulated_relative_improvement(energies, energies, tolerance)


def scores_of_a_rank(rank):
    torch.manual_seed(0)
    basis, batch = random_basis(), images()
    share = [each[(slice(0, 2), slice(2, 5))[rank]] for each in batch]
    metric = AccumulatedRelativeImprovement(basis)
    metric.update(*share)
    return metric.compute(), metric.counted(), metric.before, metric.improvement()


def test_two_processes_give_what_one_gives(two_processes):
    torch.manual_seed(0)
    basis, batch = random_basis(), images()
    metric = updated(AccumulatedRelativeImprovement(basis), batch, (2, 3))
    found = two_processes(scores_of_a_rank)
    for total, counted, _, curve in found:
        assert torch.equal(total, metric.compute())
        assert counted == COUNT
        assert torch.equal(curve, metric.improvement())
    # What a process holds is its own share again, so that it can go on.
    torch.testing.assert_close(found[0][2] + found[1][2], metric.before)
    assert not torch.equal(found[0][2], found[1][2])


def counts_of_a_rank(rank):
    image, output, target = images()
    metric = AccumulatedRelativeImprovement(random_basis())
    metric.update(image if rank else target, output, target)
    return int(comparable(metric.before).sum()), metric.counted()


def test_components_are_counted_over_all_processes(two_processes):
    assert two_processes(counts_of_a_rank) == [(0, COUNT), (COUNT, COUNT)]
