import math

import pytest
import torch

from ops.losses.adversarial import discriminator_adversarial
from ops.losses.relativistic import relativistic_discriminator, relativistic_generator

LOSSES = pytest.mark.parametrize("loss", [relativistic_discriminator, relativistic_generator])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_both_sides_are_the_papers_equations() -> None:
    reals, fakes = [1.2, -0.3, 0.4], [0.1, 0.9, -2.0]
    above = [sigmoid(x - sum(fakes) / 3) for x in reals]
    below = [sigmoid(x - sum(reals) / 3) for x in fakes]
    real, fake = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1, 1) for x in (reals, fakes))
    judged = -sum(math.log(d) for d in above) / 3 - sum(math.log(1 - d) for d in below) / 3
    made = -sum(math.log(1 - d) for d in above) / 3 - sum(math.log(d) for d in below) / 3
    assert relativistic_discriminator(real, fake).item() == pytest.approx(judged)
    assert relativistic_generator(real, fake).item() == pytest.approx(made)


@LOSSES
def test_only_differences_count(loss) -> None:
    real, fake = torch.randn(2, 4, 1, 1, 1)
    torch.testing.assert_close(loss(real + 5, fake + 5), loss(real, fake))


def test_the_two_sides_want_the_opposite() -> None:
    real, fake = torch.randn(2, 4, 1, 1, 1)
    torch.testing.assert_close(
        relativistic_generator(real, fake), relativistic_discriminator(fake, real)
    )
    assert relativistic_discriminator(real + 3, fake) < relativistic_discriminator(real, fake)
    assert relativistic_generator(real + 3, fake) > relativistic_generator(real, fake)


@LOSSES
def test_where_nothing_is_told_apart_each_part_is_the_logarithm_of_two(loss) -> None:
    same = torch.full((2, 1, 3, 3), 0.7)
    assert loss(same, same).item() == pytest.approx(2 * math.log(2))


def test_the_generator_learns_from_real_images_too_unlike_in_the_plain_game() -> None:
    real, fake = torch.randn(2, 3, 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(relativistic_generator(real, fake), real)
    assert gradient[:, 0, 0, 0].ne(0).all()


@LOSSES
def test_the_gradient_does_not_vanish_where_the_loss_is_large(loss) -> None:
    far = torch.full((1, 1, 1, 1), 60.0)
    real, fake = (-far, far) if loss is relativistic_discriminator else (far, -far)
    fake = fake.clone().requires_grad_()
    value = loss(real, fake)
    value.backward()
    assert value.item() == pytest.approx(240)
    assert abs(fake.grad.item()) == pytest.approx(2)


def test_of_one_image_the_loss_is_twice_the_plain_one_of_the_difference() -> None:
    real, fake = torch.randn(2, 1, 1, 1, 1)
    plain = discriminator_adversarial(real - fake, fake - real)
    torch.testing.assert_close(relativistic_discriminator(real, fake), plain)


@LOSSES
def test_the_gradient_is_right_in_double_precision(loss) -> None:
    real, fake = torch.randn(2, 3, 1, 2, 1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, (real, fake))
