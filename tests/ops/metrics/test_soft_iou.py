import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_jaccard_index

from ops.metrics.soft_iou import soft_iou


@settings(max_examples=30, deadline=None)
@given(b=st.integers(1, 3), h=st.integers(1, 7), w=st.integers(1, 7), seed=st.integers(0, 10**6))
def test_of_binary_masks_it_is_torchmetrics_jaccard_index(b, h, w, seed):
    torch.manual_seed(seed)
    prediction, target = torch.randint(2, (2, b, 1, h, w))
    prediction[:, :, 0, 0] = 1  # torchmetrics has another opinion of two empty masks
    expected = [binary_jaccard_index(p, t) for p, t in zip(prediction, target, strict=True)]
    torch.testing.assert_close(soft_iou(prediction.float(), target.float()), torch.stack(expected))


def test_of_soft_masks_it_is_the_sum_written_out():
    prediction = torch.tensor([0.2, 0.9, 0.0, 1.0]).view(1, 1, 2, 2)
    target = torch.tensor([0.4, 0.6, 0.0, 1.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(soft_iou(prediction, target), torch.tensor([1.8 / 2.3]))


def test_it_is_symmetric_one_for_equal_masks_and_zero_for_disjoint_ones():
    a, b = torch.rand(2, 4, 1, 5, 3)
    torch.testing.assert_close(soft_iou(a, b), soft_iou(b, a))
    assert torch.equal(soft_iou(a, a), torch.ones(4))
    half = (torch.rand(1, 1, 5, 3) < 0.5).float()
    assert soft_iou(a[:1] * half, b[:1] * (1 - half)) == 0


def test_two_empty_masks_agree_and_one_empty_mask_does_not():
    empty, full = torch.zeros(1, 1, 3, 3), torch.ones(1, 1, 3, 3)
    assert soft_iou(empty, empty) == 1
    assert soft_iou(empty, full) == 0


def test_the_gradient_agrees_with_finite_differences_and_is_finite_for_empty_masks():
    a, b = torch.rand(2, 2, 1, 3, 2, requires_grad=True).unbind()
    (from_a,) = torch.autograd.grad(soft_iou(a, b).sum(), a)
    step = torch.zeros_like(a)
    step[0, 0, 1, 1] = 1e-3
    slope = (soft_iou(a + step, b) - soft_iou(a - step, b)).sum() / 2e-3
    torch.testing.assert_close(from_a[0, 0, 1, 1], slope, rtol=1e-2, atol=1e-3)
    empty = torch.zeros(1, 1, 3, 3, requires_grad=True)
    assert torch.autograd.grad(soft_iou(empty, empty).sum(), empty)[0].isfinite().all()


def test_large_bf16_masks_are_summed_in_float32():
    mask = torch.full((1, 1, 128, 128), 0.5, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        result = soft_iou(mask, mask / 2)
    assert result.dtype == torch.float32
    assert result.item() == 0.5


def test_other_shapes_are_refused(unchecked_types):
    with pytest.raises(ValueError, match=r"one shape, got \(1, 1, 2, 2\) and \(1, 1, 2, 3\)"):
        soft_iou(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
