import pytest
import torch
from torch import nn

from ops.nets.dncnn import DnCNN


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_parameters_are_those_of_the_papers_layers() -> None:
    def expected(depth: int, channels: int) -> int:
        ends = 9 * channels * 64 + 64 + 9 * 64 * channels + channels
        return ends + (depth - 2) * (9 * 64 * 64 + 2 * 64)

    assert count(DnCNN(17, channels=1)) == expected(17, 1) == 556_097  # 0.56 M: DnCNN-S
    assert count(DnCNN()) == expected(20, 3) == 669_379  # 0.67 M: CDnCNN-B


def test_all_but_the_first_and_last_convolution_are_normalised() -> None:
    layers = list(DnCNN(5, 6).layers)
    kinds = [type(layer).__name__ for layer in layers]
    middle = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == ["Conv2d", "ReLU", *middle * 3, "Conv2d"]


def test_the_layers_see_the_image_around_zero_and_give_what_is_taken_away() -> None:
    net, image = DnCNN(3, 8).eval(), torch.rand(1, 3, 12, 12)
    assert torch.equal(net(image), image - net.layers(2 * image - 1))


def test_an_untrained_network_all_but_returns_its_input() -> None:
    image = torch.rand(1, 3, 24, 24)
    change = (DnCNN()(image) - image).abs().max()
    assert 0 < change < 0.2


@pytest.mark.parametrize("size", [(2, 1), (7, 13), (20, 5)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert DnCNN(4, 6)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_every_parameter_gets_a_gradient() -> None:
    net = DnCNN()
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_denoise_what_it_has_not_seen() -> None:
    net = DnCNN(4, 12)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)

    def faces() -> tuple[torch.Tensor, torch.Tensor]:
        clean = torch.rand(4, 3, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
        return clean + 0.1 * torch.randn_like(clean), clean

    for _ in range(120):
        image, clean = faces()
        loss = (net(image) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    image, clean = faces()
    with torch.no_grad():  # by the statistics gathered on the way
        after = (net.eval()(image) - clean).square().mean()
    assert after < 0.6 * (image - clean).square().mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 64, 3), "depth must be at least 2, got 1"),
        ((20, 0, 3), "at least one channel, got 0 and 3"),
        ((20, 64, 0), "at least one channel, got 64 and 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DnCNN(*arguments)
