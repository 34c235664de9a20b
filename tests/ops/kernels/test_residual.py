import pytest
import torch
import torch.nn.functional as F

from ops.kernels.residual import Residual, residual


def test_noise_that_is_known_is_taken_away():
    clean, noise = torch.randn(2, 2, 3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(residual(clean + noise, noise), clean)


def test_the_operator_takes_away_what_its_convolutions_find():
    operator, x = Residual(3), torch.randn(2, 3, 5, 7)
    hidden = F.conv2d(x, operator.first.weight, operator.first.bias, padding=1).clamp(min=0)
    noise = F.conv2d(hidden, operator.second.weight, operator.second.bias, padding=1)
    torch.testing.assert_close(operator(x) + noise, x)


def test_a_fresh_operator_is_close_to_the_identity():
    x = torch.randn(2, 16, 9, 9)
    change = (Residual(16)(x) - x).std()
    assert 0 < change < 0.1


def test_it_learns_to_take_noise_away_from_flat_features():
    operator = Residual(4)
    optimiser = torch.optim.Adam(operator.parameters(), lr=0.01)
    errors = []
    for _ in range(60):
        clean = torch.randn(8, 4, 1, 1).expand(-1, -1, 8, 8)
        error = (operator(clean + 0.5 * torch.randn(8, 4, 8, 8)) - clean).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert sum(errors[-5:]) < 0.7 * sum(errors[:5])


def test_an_operator_without_channels_is_refused():
    with pytest.raises(ValueError, match="at least one channel, got 0"):
        Residual(0)
