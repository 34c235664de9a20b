import torch

from ops.losses.adversarial import discriminator_adversarial, generator_adversarial


def test_the_generator_minimises_minus_the_log_of_the_discriminators_belief() -> None:
    logits = torch.randn(2, 1, 5, 7)
    expected = -logits.sigmoid().log().mean()
    torch.testing.assert_close(generator_adversarial(logits), expected)


def test_the_discriminator_minimises_the_three_printed_logarithms() -> None:
    real, fake, raw = torch.randn(3, 2, 1, 5, 7)
    expected = (
        -real.sigmoid().log().mean()
        - (1 - fake.sigmoid()).log().mean()
        - (1 - raw.sigmoid()).log().mean()
    )
    torch.testing.assert_close(discriminator_adversarial(real, fake, raw), expected)


def test_a_sure_and_right_discriminator_has_no_loss() -> None:
    sure = torch.full((1, 1, 4, 4), 50.0)
    assert discriminator_adversarial(sure, -sure, -sure).item() < 1e-20


def test_the_gradient_does_not_vanish_where_the_discriminator_is_sure() -> None:
    logits = torch.full((1, 1, 1, 1), -8.0, requires_grad=True)
    (ours,) = torch.autograd.grad(generator_adversarial(logits), logits)
    (printed,) = torch.autograd.grad((1 - logits.sigmoid()).log().mean(), logits)
    assert ours.abs() > 0.99
    assert printed.abs() < 1e-3
    assert (ours * printed).item() > 0  # the same direction
