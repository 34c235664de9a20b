import math

import pytest
import torch

from ops.losses.identity import angle, identity_loss, perceptual_loss


def slope(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(angle(a, b).sum(), a)
    return gradient


def test_it_is_the_arc_cosine_of_flattened_maps_at_length_one() -> None:
    a, b = torch.randn(2, 5, 3, 4, 2, dtype=torch.float64)
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))
    torch.testing.assert_close(angle(a, b), cosine.acos())


def test_neither_lengths_nor_order_matter() -> None:
    a, b = torch.randn(2, 4, 6)
    torch.testing.assert_close(angle(7 * a, 0.01 * b), angle(b, a))


@pytest.mark.parametrize(
    ("other", "expected"), [((1.0, 0.0), 0.0), ((0.0, 3.0), math.pi / 2), ((-2.0, 0.0), math.pi)]
)
def test_right_and_straight_angles_are_exact(other: tuple[float, float], expected: float) -> None:
    found = angle(torch.tensor([[1.0, 0.0]]), torch.tensor([other]))
    assert found.item() == pytest.approx(expected, abs=1e-7)


def test_maps_without_negative_values_are_at_most_at_a_right_angle() -> None:
    a, b = torch.rand(2, 64, 8).relu()
    assert float(angle(a, b).amin()) > 0
    assert float(angle(a, b).amax()) <= math.pi / 2


def test_equal_maps_are_at_no_angle_and_pull_nowhere() -> None:
    a = torch.randn(3, 4, 5)
    assert angle(a, a).tolist() == [0, 0, 0]
    assert slope(a, a).abs().max() == 0


def test_vectors_of_zeros_are_at_a_right_angle_with_finite_slopes() -> None:
    zero, one = torch.zeros(1, 4), torch.ones(1, 4)
    torch.testing.assert_close(angle(zero, one), torch.tensor([math.pi / 2]))
    assert slope(zero, one).isfinite().all()
    assert slope(one, zero).isfinite().all()
    assert slope(zero, zero).isfinite().all()
    assert (slope(zero, one) < 0).all()  # towards the other


def test_opposite_vectors_have_a_finite_slope() -> None:
    a = torch.randn(2, 6)
    assert slope(a, -a).isfinite().all()


def test_small_angles_are_exact_where_the_arc_cosine_has_lost_them() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1e-4]])
    assert angle(a, b).item() == pytest.approx(1e-4, rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(a, b)
    assert cosine.acos().item() == 0


def test_the_slope_is_that_of_finite_differences() -> None:
    a, b = torch.randn(2, 3, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(angle, (a.requires_grad_(), b.requires_grad_()))


def test_half_precision_is_measured_in_single() -> None:
    a, b = torch.randn(2, 3, 300).to(torch.bfloat16)
    found = angle(a, b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, angle(a.float(), b.float()))


def test_the_identity_loss_is_the_mean_angle_over_references_and_faces() -> None:
    restored, references = torch.rand(2, 3, 4, 5), torch.rand(2, 6, 3, 4, 5)
    angles = [angle(restored[[i]], references[i, [j]]) for i in range(2) for j in range(6)]
    torch.testing.assert_close(identity_loss(restored, references), torch.cat(angles).mean())


def test_only_the_restored_face_is_moved() -> None:
    restored, references = torch.rand(1, 3, 4, 5), torch.rand(1, 2, 3, 4, 5)
    for each in (restored, references):
        each.requires_grad_()
    loss = identity_loss(restored, references)
    loss = loss + perceptual_loss(restored, references[:, 0])
    loss.backward()
    assert restored.grad is not None
    assert restored.grad.isfinite().all()
    assert references.grad is None


def test_the_perceptual_loss_is_the_mean_absolute_difference() -> None:
    restored, target = torch.rand(2, 2, 3, 4, 5)
    expected = sum((restored - target).abs().flatten().tolist()) / restored.numel()
    assert perceptual_loss(restored, target).item() == pytest.approx(expected, rel=1e-5)


def test_a_step_down_the_loss_brings_a_face_nearer_to_its_references() -> None:
    restored, references = torch.rand(2, 3, 4, 5, requires_grad=True), torch.rand(2, 3, 3, 4, 5)
    before = identity_loss(restored, references)
    (gradient,) = torch.autograd.grad(before, restored)
    assert identity_loss(restored - gradient, references) < before
