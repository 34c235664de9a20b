import pytest
import torch
import torch.nn.functional as F

from ops.nets.degradation_classifier import DegradationClassifier


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (176, 144)])
def test_any_size_gets_three_answers(size: tuple[int, int]) -> None:
    found = DegradationClassifier((4, 8))(torch.rand(2, 3, *size))
    assert found.shape == (2, 3)


def test_without_levels_it_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one level"):
        DegradationClassifier(())


def test_a_side_that_cannot_be_reflected_is_refused() -> None:
    with pytest.raises(ValueError, match="9x3 is too short for a multiple of 8"):
        DegradationClassifier((4, 4, 8, 8))(torch.rand(1, 3, 9, 3))


def test_every_weight_has_a_gradient() -> None:
    made = DegradationClassifier((4, 8))
    made(torch.rand(2, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_tell_noise_from_darkness() -> None:
    made = DegradationClassifier((4, 8))
    generator = torch.Generator().manual_seed(1)
    clean = torch.full((8, 3, 16, 16), 0.5)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    image = torch.cat([noisy, 0.2 * clean])
    label = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).repeat_interleave(8, 0)
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(made(image), label).backward()
        optimizer.step()
    assert ((made(image) > 0) == label.bool()).all()
