import pytest
import torch
import torch.nn.functional as F

from ops.kernels.deveil import Deveiling, deveil


def test_a_feature_is_multiplied_by_the_mask_of_its_place():
    features, mask = torch.randn(2, 2, 3, 5, 7)
    found = deveil(features, mask)
    assert found[1, 2, 3, 4] == mask[1, 2, 3, 4] * features[1, 2, 3, 4]


def test_a_mask_above_1_undoes_a_low_light_factor():
    clean, factor = torch.rand(1, 3, 6, 6), torch.empty(1, 3, 6, 6).uniform_(0.05, 0.5)
    torch.testing.assert_close(deveil(factor * clean, 1 / factor), clean)


def test_the_mask_of_equation_3_takes_noise_away_too():
    clean, factor = torch.rand(1, 3, 6, 6) + 1, torch.full((1, 3, 6, 6), 0.2)
    noise = 0.01 * torch.randn(1, 3, 6, 6)
    dark = factor * clean + noise
    torch.testing.assert_close(deveil(dark, (dark - noise) / (factor * dark)), clean)


def test_the_operator_reads_its_mask_in_the_features():
    operator, x = Deveiling(3), torch.randn(2, 3, 5, 7)
    hidden = F.conv2d(x, operator.first.weight, operator.first.bias, padding=1).clamp(min=0)
    mask = F.conv2d(hidden, operator.second.weight, operator.second.bias, padding=1)
    torch.testing.assert_close(operator(x), mask * x)


def test_a_fresh_operator_is_close_to_the_identity():
    x = torch.randn(2, 16, 9, 9)
    change = (Deveiling(16)(x) - x).std()
    assert 0 < change < 0.1


def test_the_mask_of_the_operator_can_leave_0_to_1_on_either_side():
    operator, x = Deveiling(2), torch.rand(1, 2, 4, 4) + 1
    torch.nn.init.zeros_(operator.second.weight)
    torch.nn.init.constant_(operator.second.bias, 20.0)
    torch.testing.assert_close(operator(x), 20 * x)
    torch.nn.init.constant_(operator.second.bias, -1.0)
    torch.testing.assert_close(operator(x), -x)


def test_every_parameter_learns():
    operator = Deveiling(3)
    operator(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in operator.parameters())


def test_an_operator_without_channels_is_refused():
    with pytest.raises(ValueError, match="at least one channel, got 0"):
        Deveiling(0)
