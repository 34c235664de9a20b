import pytest
import torch

from ops.losses.mask import mask_regression
from ops.nets.mask_unet import MaskNetwork, UNet


def network(sees_prior: bool = True) -> MaskNetwork:
    masks = MaskNetwork(sees_prior, base=4, multipliers=(1, 2, 2))
    with torch.no_grad():
        for parameter in masks.student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return masks


def images() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, 3, 16, 24), torch.rand(2, 3, 16, 24)


def test_an_untrained_mask_has_its_starting_value_everywhere() -> None:
    masks = MaskNetwork(base=4, start=0.1)
    for mask in (masks(*images()).sigmoid(), masks.soft_mask(*images())):
        torch.testing.assert_close(mask, torch.full((2, 1, 16, 24), 0.1))


def test_a_starting_value_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 1\.0"):
        UNet(3, start=1.0)


def test_the_teacher_has_no_gradient_and_the_student_has_one_everywhere() -> None:
    masks = network()
    assert not masks.soft_mask(*images()).requires_grad
    masks(*images()).square().sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in masks.teacher.parameters())
    assert all(p.grad is not None and p.grad.any() for p in masks.student.parameters())


def test_the_teacher_equals_the_closed_form_of_the_moving_average() -> None:
    masks = network()
    start = [p.clone() for p in masks.teacher.parameters()]
    expected, decay, steps = [0.99**3 * p for p in start], 0.99, 3
    for step in range(steps):
        with torch.no_grad():
            for parameter in masks.student.parameters():
                parameter.add_(torch.randn_like(parameter))
        weight = (1 - decay) * decay ** (steps - 1 - step)
        expected = [
            e + weight * p.detach()
            for e, p in zip(expected, masks.student.parameters(), strict=True)
        ]
        masks.update_teacher(decay)
    for found, wanted in zip(masks.teacher.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_the_term_moves_the_student() -> None:
    masks = network()
    image, reconstruction = images()
    wanted = torch.zeros(2, 1, 16, 24)
    teacher = masks.soft_mask(image, reconstruction)
    assert not (teacher - wanted).requires_grad  # the printed term has nothing to minimise
    before = mask_regression(masks(image, reconstruction), wanted)
    before.backward()
    with torch.no_grad():
        for parameter in masks.student.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.05 * parameter.grad)
    assert mask_regression(masks(image, reconstruction), wanted) < before


def test_the_mask_teaches_neither_the_image_nor_the_prior() -> None:
    image, reconstruction = (x.requires_grad_() for x in images())
    network()(image, reconstruction).sum().backward()
    assert image.grad is None
    assert reconstruction.grad is None


def test_without_the_prior_the_reconstruction_makes_no_difference() -> None:
    image, reconstruction = images()
    for sees_prior in (True, False):
        masks = network(sees_prior)
        same = torch.equal(masks(image, reconstruction), masks(image, 1 - reconstruction))
        assert same is not sees_prior


def test_training_and_evaluation_mode_agree() -> None:
    masks, seen = network(), images()
    training = masks.train()(*seen)
    assert torch.equal(masks.eval()(*seen), training)
