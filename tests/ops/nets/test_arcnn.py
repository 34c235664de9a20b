import pytest
import torch
from torch import nn

from ops.nets.arcnn import ARCNN


def test_the_weights_are_as_many_as_published_for_luminance() -> None:
    net = ARCNN(channels=1)
    assert sum(p.numel() for p in net.parameters() if p.ndim > 1) == 106_448
    assert sum(p.numel() for p in ARCNN().parameters()) == 117_731  # three channels, and biases


def test_the_kernels_are_nine_seven_one_and_five() -> None:
    layers = [layer for layer in ARCNN().layers if isinstance(layer, nn.Conv2d)]
    told = [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in layers]
    assert told == [(3, 64, 9), (64, 32, 7), (32, 16, 1), (16, 3, 5)]


def test_an_untrained_network_all_but_returns_its_input() -> None:
    image = torch.rand(1, 3, 24, 24)
    change = (ARCNN()(image) - image).abs().max()
    assert 0 < change < 0.1


def test_the_layers_see_the_image_around_zero_and_give_a_residual() -> None:
    net, image = ARCNN((6, 5, 4)), torch.rand(1, 3, 12, 12)
    assert torch.equal(net(image), image + net.layers(2 * image - 1))


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (20, 5)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert ARCNN((6, 5, 4))(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_a_pixel_sees_nineteen_by_nineteen() -> None:
    net = ARCNN((3, 2, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.1)  # nothing cancels, nothing is cut off
    image = torch.ones(1, 3, 31, 31, requires_grad=True)
    net(image)[0, 0, 15, 15].backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    assert seen[6:25, 6:25].all()
    assert seen.sum() == 19**2


def test_every_parameter_gets_a_gradient() -> None:
    net = ARCNN()
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_darken() -> None:
    net, image = ARCNN((12, 8, 8)), torch.rand(4, 3, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (net(image) - image**2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    "arguments", [((64, 0, 16),), ((64, 32, 16), (9, 6, 1, 5)), ((64, 32, 16), (9, 7, 1, -5))]
)
def test_sizes_that_cannot_be_are_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="widths must be positive and kernels odd, got"):
        ARCNN(*arguments)
