import pytest
import torch

from ops.kernels.estimation import estimation


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_fresh_pair_estimates_nearly_its_start(start: float) -> None:
    torch.manual_seed(0)
    first, second = estimation(16, start)
    estimate = second(first(torch.randn(2, 16, 9, 9)).relu())
    assert estimate.shape == (2, 16, 9, 9)
    assert (estimate - start).std() < 0.05


def test_features_without_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one channel, got 0"):
        estimation(0, 0.0)
