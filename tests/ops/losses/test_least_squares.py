import pytest
import torch

from ops.losses.least_squares import least_squares_discriminator, least_squares_generator


def scales() -> list[torch.Tensor]:
    return [torch.randn(2, 1, 9, 7), torch.randn(2, 1, 5, 4)]


def test_the_discriminator_pulls_real_to_one_and_fake_to_zero() -> None:
    reals, fakes = scales(), scales()
    wanted = 0.0
    for real, fake in zip(reals, fakes, strict=True):
        errors = [(value - 1) ** 2 for value in real.flatten().tolist()]
        wanted += sum(errors) / len(errors) / 2
        errors = [value**2 for value in fake.flatten().tolist()]
        wanted += sum(errors) / len(errors) / 2
    assert least_squares_discriminator(reals, fakes).item() == pytest.approx(wanted, rel=1e-5)


def test_the_generator_pulls_fake_to_one() -> None:
    fakes = scales()
    wanted = torch.stack([torch.nn.functional.mse_loss(f, torch.ones_like(f)) for f in fakes])
    torch.testing.assert_close(least_squares_generator(fakes), wanted.mean())


def test_a_scale_counts_the_same_whatever_its_size() -> None:
    ones, zeros = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 2, 2)
    assert least_squares_generator([ones, zeros]).item() == 0.5


def test_each_side_is_at_its_least_where_the_other_loses() -> None:
    one, zero = [torch.ones(1, 1, 3, 3)], [torch.zeros(1, 1, 3, 3)]
    assert least_squares_discriminator(one, zero).item() == 0
    assert least_squares_generator(zero).item() == 1
    assert least_squares_generator(one).item() == 0


def test_the_best_constant_answer_to_the_same_images_is_one_half() -> None:
    answer = torch.tensor(0.5, requires_grad=True)
    maps = [answer.expand(1, 1, 3, 3)]
    least_squares_discriminator(maps, maps).backward()
    assert answer.grad == 0


@pytest.mark.parametrize("printed", [lambda d: torch.log(d) - 1, lambda d: torch.log(d - 1)])
def test_the_printed_logarithms_are_not_finite_where_the_discriminator_is_right(printed) -> None:
    real = torch.tensor([1.0, 0.9, 1.1], requires_grad=True)
    fake = torch.tensor([0.0, -0.1, 0.1], requires_grad=True)
    loss = printed(real).square().mean() + torch.log(fake).square().mean()
    assert not torch.isfinite(loss)
    (gradient,) = torch.autograd.grad(loss, fake)
    assert not torch.isfinite(gradient).all()
    ours = least_squares_discriminator([real.view(1, 1, 1, 3)], [fake.view(1, 1, 1, 3)])
    assert ours.item() == pytest.approx(2 * 0.02 / 3)
