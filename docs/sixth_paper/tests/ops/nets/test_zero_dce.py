import pytest
import torch

from ops.nets.zero_dce import ZeroDCE, brightened


def test_a_curve_of_zero_changes_no_bit() -> None:
    image = torch.rand(2, 3, 5, 7)
    assert torch.equal(brightened(image, torch.zeros(2, 6, 5, 7)), image)


def test_two_curves_are_the_equation_twice() -> None:
    image, first, second = torch.rand(3, 1, 3, 4, 4, dtype=torch.float64)
    once = image + first * (image - image**2)
    expected = once + second * (once - once**2)
    found = brightened(image, torch.cat((first, second), dim=1))
    torch.testing.assert_close(found, expected)


def test_pictures_stay_in_range_and_keep_the_order_of_their_greys() -> None:
    greys = torch.linspace(0, 1, 256).expand(1, 3, 1, 256)
    for strength in (-1.0, 0.3, 1.0):
        found = brightened(greys, torch.full((1, 24, 1, 256), strength))
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert bool((found.diff(dim=3) >= 0).all())


def test_curves_of_a_broken_number_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the image's 3 channels, got 4"):
        brightened(torch.rand(1, 3, 2, 2), torch.zeros(1, 4, 2, 2))


def test_the_published_network_has_seven_layers_and_79_thousand_parameters() -> None:
    network = ZeroDCE()
    assert len([p for p in network.parameters() if p.ndim == 4]) == 7
    assert sum(p.numel() for p in network.parameters()) == 79_416


def test_a_network_gives_curves_for_any_size() -> None:
    curves = ZeroDCE(4, 2)(torch.rand(1, 3, 9, 13))
    assert curves.shape == (1, 6, 9, 13)
    assert float(curves.detach().abs().max()) <= 1


def test_a_network_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ZeroDCE(width=0)
