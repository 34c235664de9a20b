import pytest
import torch

from ops.nets.vdsr import VDSR


def test_the_parameters_are_those_of_twenty_convolutions_without_bias() -> None:
    net = VDSR()
    expected = 9 * (3 * 64 + 18 * 64 * 64 + 64 * 3)
    assert sum(p.numel() for p in net.parameters()) == expected == 667_008
    assert len(list(net.parameters())) == 20


def test_every_layer_starts_with_hes_variance() -> None:
    for layer in (layer for layer in VDSR().layers if isinstance(layer, torch.nn.Conv2d)):
        expected = (2 / (9 * layer.in_channels)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.06)


def test_the_features_keep_their_size_through_the_whole_depth() -> None:
    features, strengths = torch.randn(1, 3, 48, 48), []
    for layer in VDSR().layers:
        features = layer(features)
        if isinstance(layer, torch.nn.Conv2d):
            strengths.append(features.std().item())
    assert 0.2 < strengths[-2] / strengths[0] < 5


def test_the_layers_see_the_image_around_zero_and_give_a_residual() -> None:
    net, image = VDSR(3, 8), torch.rand(1, 3, 12, 12)
    assert torch.equal(net(image), image + net.layers(2 * image - 1))
    with torch.no_grad():
        net.layers[-1].weight.zero_()
    assert torch.equal(net(image), image)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (20, 5)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert VDSR(4, 6)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_a_pixel_sees_forty_one_by_forty_one() -> None:
    net = VDSR(20, 2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.1)  # nothing cancels, nothing is cut off
    image = torch.ones(1, 3, 51, 51, requires_grad=True)
    net(image)[0, 0, 25, 25].backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    assert seen[5:46, 5:46].all()
    assert seen.sum() == 41**2


def test_every_parameter_gets_a_gradient() -> None:
    net = VDSR()
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_it_learns_to_darken() -> None:
    net, image = VDSR(5, 12), torch.rand(4, 3, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (net(image) - image**2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_bf16_autocast_stays_close_and_channels_last_is_equal() -> None:
    net, image = VDSR(), torch.rand(1, 3, 16, 16)
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        error = net(image).float() - expected
    assert error.norm() < 0.05 * expected.norm()
    moved = net.to(memory_format=torch.channels_last)
    out = moved(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_the_image_is_left_as_it_was() -> None:
    net, image = VDSR(3, 4), torch.randn(1, 3, 9, 9)
    before = image.clone()
    net(image)
    assert torch.equal(image, before)


def test_the_exported_network_agrees_at_any_size(unchecked_types) -> None:
    net = VDSR(3, 4).eval()
    shapes = ({0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    program = torch.export.export(net, (torch.rand(2, 3, 16, 20),), dynamic_shapes=shapes)
    other = torch.rand(3, 3, 31, 9)
    torch.testing.assert_close(program.module()(other), net(other))


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
        VDSR(*arguments)
