import pytest
import torch

from ops.nets.fsrcnn import FSRCNN, image_convolution, narrow_mapping, rectified


def test_the_parameters_are_those_of_the_papers_layers() -> None:
    d, s, m, c = 56, 12, 4, 3
    weights = 25 * c * d + d * s + m * 9 * s * s + s * d + 81 * d * c
    biases, slopes = d + s + m * s + d + c, d + s + m * s + d
    assert sum(p.numel() for p in FSRCNN().parameters()) == weights + biases + slopes == 24_683


def test_weights_start_with_the_variance_of_fsrcnn_and_slopes_at_a_quarter() -> None:
    layer, slopes = rectified(40, 80, 3)
    assert layer.weight.std().item() == pytest.approx((2 / (80 * 9)) ** 0.5, rel=0.03)
    assert slopes.weight.tolist() == [0.25] * 80
    assert not layer.bias.any()
    last = image_convolution(64, 30)
    assert last.weight.std().item() == pytest.approx(0.001, rel=0.03)
    assert not last.bias.any()


def test_the_mapping_narrows_maps_and_widens() -> None:
    layers = [layer for layer, _ in narrow_mapping(56, 12, 64, 3)]
    sizes = [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in layers]
    assert sizes == [(56, 12, 1), (12, 12, 3), (12, 12, 3), (12, 12, 3), (12, 64, 1)]


def test_an_untrained_network_all_but_returns_its_input() -> None:
    image = torch.rand(1, 3, 24, 24)
    change = (FSRCNN()(image) - image).abs().max()
    assert 0 < change < 0.05


def test_the_layers_see_the_image_around_zero() -> None:
    net, seen = FSRCNN(6, 2, 1), []
    net.layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3))
    assert seen[0][0, 0, 0].tolist() == [-1, 0, 1]


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (20, 5)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert FSRCNN(6, 2, 1)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_a_pixel_sees_twenty_one_by_twenty_one() -> None:
    net = FSRCNN(6, 3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.1)  # nothing cancels, nothing is cut off
    image = torch.rand(1, 3, 41, 41, requires_grad=True)
    net(image)[0, 0, 20, 20].backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    assert seen[10:31, 10:31].all()
    assert seen.sum() == 21**2


def test_every_parameter_gets_a_gradient() -> None:
    net = FSRCNN()
    net(torch.rand(2, 3, 24, 24)).square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_it_learns_to_darken() -> None:
    net, image = FSRCNN(8, 4, 1), torch.rand(2, 3, 12, 12)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = (net(image) - image**2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_bf16_autocast_stays_close_and_channels_last_is_equal() -> None:
    net, image = FSRCNN(), torch.rand(1, 3, 24, 24)
    torch.nn.init.normal_(net.layers[-1].weight, std=0.05)
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(image).float(), expected, rtol=0.05, atol=0.05)
    moved = net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(moved(image.to(memory_format=torch.channels_last)), expected)


def test_the_exported_network_agrees_at_any_size(unchecked_types) -> None:
    net = FSRCNN(6, 3, 1).eval()
    shapes = ({0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    program = torch.export.export(net, (torch.rand(2, 3, 16, 20),), dynamic_shapes=shapes)
    other = torch.rand(3, 3, 31, 9)
    torch.testing.assert_close(program.module()(other), net(other))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 12, 4), "at least one channel, got 3 to 0"),
        ((56, 0, 4), "at least one channel, got 0 to 0"),
        ((56, 12, 0), "mapping must be at least one layer, got 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FSRCNN(*arguments)


@pytest.mark.parametrize("kernel", [2, 0])
def test_a_kernel_that_would_change_the_size_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel must be odd to keep the size, got {kernel}"):
        rectified(3, 4, kernel)
