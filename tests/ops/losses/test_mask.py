import pytest
import torch

from ops.losses.mask import (
    image_difference,
    imperfection,
    mask_agreement,
    mask_classification,
    mask_confidence,
    mask_regression,
)


def test_the_difference_is_the_mean_over_colours_over_the_scale_and_at_most_one() -> None:
    image, target = torch.rand(2, 2, 3, 4, 5)
    expected = torch.zeros(2, 1, 4, 5)
    for b in range(2):
        for row in range(4):
            for column in range(5):
                steps = [abs(float((image - target)[b, c, row, column])) for c in range(3)]
                expected[b, 0, row, column] = min(1.0, sum(steps) / 3 / 0.3)
    torch.testing.assert_close(image_difference(image, target, scale=0.3), expected)


def test_an_untouched_pair_has_no_difference_and_no_imperfection() -> None:
    image = torch.rand(1, 3, 4, 4)
    assert not image_difference(image, image.clone()).any()
    assert not imperfection(image, image.clone()).any()


def test_a_strong_spot_does_not_change_the_value_of_a_faint_one() -> None:
    image = torch.zeros(1, 3, 4, 4)
    target = image.clone()
    target[..., 0, 0] = 5 / 255
    alone = image_difference(image, target)[..., 0, 0]
    target[..., 3, 3] = 1.0
    together = image_difference(image, target)
    torch.testing.assert_close(together[..., 0, 0], alone)
    assert together[..., 3, 3].item() == 1.0


def test_one_level_of_rounding_is_no_imperfection() -> None:
    image = torch.full((1, 3, 2, 2), 100 / 255)
    target = image.clone()
    target[..., 0, 0] += 1 / 255
    target[..., 1, 1] += 4 / 255
    assert imperfection(image, target).flatten().tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_scale_of_zero_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"got 0\.0"):
        image_difference(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), scale=0.0)


def test_the_regression_is_the_mean_square_of_the_difference_of_the_masks() -> None:
    logits, wanted = torch.randn(2, 1, 3, 3), torch.rand(2, 1, 3, 3)
    expected = ((1 / (1 + (-logits).exp())) - wanted).pow(2).sum() / wanted.numel()
    torch.testing.assert_close(mask_regression(logits, wanted), expected)


def test_a_perfect_mask_has_no_loss() -> None:
    label = (torch.rand(1, 1, 8, 8) > 0.5).float()
    logits = 200 * (label - 0.5)
    assert mask_regression(logits, label).item() == 0.0
    assert mask_classification(logits, label).item() < 1e-40
    assert mask_agreement(logits, label).item() < 1e-40


def test_both_cross_entropies_hold_both_of_their_halves() -> None:
    logits, wanted = torch.randn(2, 1, 3, 3), torch.rand(2, 1, 3, 3)
    p = logits.sigmoid()
    expected = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean()
    torch.testing.assert_close(mask_agreement(logits, wanted), expected)
    torch.testing.assert_close(mask_classification(logits, wanted), expected)


def test_a_mask_of_ones_is_not_the_optimum() -> None:
    label = torch.zeros(1, 1, 4, 4)
    label[..., 0, 0] = 1
    ones, right = torch.full_like(label, 20.0), 40 * (label - 0.5)
    printed = [-(label * x.sigmoid().log()).mean().item() for x in (ones, right)]
    assert printed[0] == pytest.approx(printed[1], abs=1e-6)  # the printed half cannot tell them
    for term in (mask_classification, mask_agreement):
        assert term(ones, label) > 10 + term(right, label)


def test_the_teacher_receives_no_gradient() -> None:
    logits, teacher = (torch.rand(1, 1, 3, 3, requires_grad=True) for _ in range(2))
    mask_agreement(logits, teacher).backward()
    assert logits.grad is not None
    assert teacher.grad is None


def test_the_confidence_term_adds_half_the_agreement_on_unpaired_images() -> None:
    paired, unpaired = torch.randn(2, 1, 1, 3, 3)
    label, teacher = (torch.rand(2, 1, 1, 3, 3) > 0.5).float()
    expected = mask_classification(paired, label) + 0.5 * mask_agreement(unpaired, teacher)
    torch.testing.assert_close(mask_confidence(paired, label, unpaired, teacher), expected)


def test_without_unpaired_images_only_the_labels_count() -> None:
    paired, label, none = torch.randn(1, 1, 3, 3), torch.ones(1, 1, 3, 3), torch.ones(0, 1, 3, 3)
    loss = mask_confidence(paired, label, none, none)
    assert loss.isfinite()
    torch.testing.assert_close(loss, mask_classification(paired, label))
