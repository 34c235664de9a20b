import pytest
import torch
import torch.nn.functional as F

from ops.nets.embedder import Embedder
from ops.nets.inverter import (
    Doubling,
    GuidedInverter,
    Inverter,
    doubled,
    doubled_by_sub_pixels,
    doublings,
    smooth_and_grey,
    unseen_margins,
    xavier,
)


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def roughness(image: torch.Tensor) -> float:
    """The share of high frequencies, above a quarter of the sampling rate, in the variance."""
    power = torch.fft.fft2(image - image.mean((2, 3), keepdim=True)).abs().square()
    frequency = torch.fft.fftfreq(image.shape[-1]).abs()
    high = torch.maximum(frequency[:, None], frequency) > 0.25
    return float(power[..., high].sum() / power.sum())


def test_the_parameters_are_those_of_the_published_layers() -> None:
    for filters in (50, 112, 250):
        weights = 128 * 1024 + 25 * (16 * filters + 3 * filters**2 + 3 * filters)
        assert parameters(Inverter(filters=filters)) == weights + 1024 + 4 * filters + 3
    assert parameters(Inverter()) == 1_126_547


def test_an_embedding_becomes_an_image_through_five_deconvolutions() -> None:
    net = Inverter(filters=4)
    assert [tuple(layer.weight.shape[:2]) for layer in net.layers] == [
        (16, 4),
        (4, 4),
        (4, 4),
        (4, 4),
        (4, 3),
    ]
    image = net(torch.randn(2, 128))
    assert image.shape == (2, 3, 224, 224)
    assert image.min() > 0
    assert image.max() < 1


@pytest.mark.parametrize(
    ("size", "count"), [(1, 1), (16, 1), (17, 2), (112, 4), (128, 4), (160, 5), (224, 5), (257, 6)]
)
def test_the_deconvolutions_are_as_many_as_reach_the_size(size: int, count: int) -> None:
    assert doublings(size) == count
    net = Inverter(6, size, 2)
    assert len(net.layers) == count
    assert net(torch.randn(1, 6)).shape == (1, 3, size, size)


@pytest.mark.parametrize("size", [224, 211, 200, 160, 129, 20, 3])
def test_the_image_is_the_middle_of_the_last_map_computed_whole(size: int) -> None:
    net, embedding = Inverter(6, size, 3, xavier), torch.randn(2, 6)
    whole = F.relu(net.start(embedding)).view(2, 16, 8, 8)
    for layer in net.layers[:-1]:
        whole = F.relu(layer(whole))
    whole = torch.sigmoid(net.layers[-1](whole))
    start = (whole.shape[-1] - size) // 2
    part = whole[..., start : start + size, start : start + size]
    torch.testing.assert_close(net(embedding), part, rtol=0, atol=1e-6)


def test_what_is_outside_the_image_is_not_computed() -> None:
    assert unseen_margins(256) == [0, 0, 0, 0, 0]
    assert unseen_margins(224) == [0, 0, 0, 2, 3]
    assert unseen_margins(112) == [0, 0, 0, 3]


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1)])
def test_sub_pixels_give_the_same_deconvolution(size) -> None:
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(2, 3, 2 * size[0], 2 * size[1], dtype=torch.float64)
    results = []
    for form in (doubled, doubled_by_sub_pixels):
        y = form(x, weight, bias)
        results.append((y, *torch.autograd.grad((y * probe).sum(), (x, weight, bias))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_a_deconvolution_is_right_by_its_definition() -> None:
    x, weight = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 5, 5)
    wanted = torch.zeros(10, 10)
    for i in range(3):
        for j in range(3):
            wanted[2 * i : 2 * i + 5, 2 * j : 2 * j + 5] += x[0, 0, i, j] * weight[0, 0]
    torch.testing.assert_close(doubled(x, weight, torch.zeros(1))[0, 0], wanted[2:8, 2:8])


def test_a_smooth_start_keeps_a_constant_map_constant_inside() -> None:
    layer = Doubling(2, 5)
    smooth_and_grey([layer, Doubling(5, 3)])
    inside = layer(torch.ones(1, 2, 8, 8))[..., 2:-2, 2:-2]
    assert (inside.amax((2, 3)) - inside.amin((2, 3))).max() < 1e-6
    triangle = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])
    kernel = torch.outer(triangle, triangle).view(1, 1, 5, 5)
    uneven = doubled(torch.ones(1, 1, 8, 8), kernel, torch.zeros(1))[..., 2:-2, 2:-2]
    assert uneven.max() > 1.5 * uneven.min()


def test_a_smooth_start_is_one_kernel_times_xaviers_numbers() -> None:
    layer = Doubling(80, 120)
    smooth_and_grey([layer, Doubling(120, 3)])
    kernel = layer.weight / layer.weight.sum((2, 3), keepdim=True)
    torch.testing.assert_close(kernel, kernel[:1, :1].expand_as(kernel))
    between = layer.weight.sum((2, 3)) / 4
    assert between.std().item() == pytest.approx((2 * 2 / 200) ** 0.5, rel=0.05)


@pytest.mark.parametrize("make", [Inverter, GuidedInverter])
def test_a_fresh_network_gives_smooth_grey_images_and_xaviers_gives_noise(make) -> None:
    embedding, guide = torch.randn(3, 128), torch.full((3, 3, 64, 64), 0.5)
    inputs = (embedding,) if make is Inverter else (embedding, guide)
    smooth = make(size=64, filters=24)(*inputs).detach()
    assert torch.equal(smooth[:, :1].expand(-1, 3, -1, -1), smooth)
    assert smooth.std() > 1e-3
    noisy = make(size=64, filters=24, initialisation=xavier)(*inputs).detach()
    assert (noisy[:, 0] - noisy[:, 1]).abs().max() > 1e-3
    assert roughness(smooth) < 0.01
    assert roughness(noisy) > 0.3


def test_fresh_images_differ_between_embeddings_and_are_about_half_bright() -> None:
    images = Inverter(size=64)(torch.randn(4, 128))
    assert (images - images.mean(0)).std() > 1e-3
    assert (images.mean() - 0.5).abs() < 0.2


@pytest.mark.parametrize("initialisation", [smooth_and_grey, xavier])
def test_it_learns_images_of_its_embeddings(initialisation) -> None:
    net, embedding = Inverter(4, 16, 12, initialisation), torch.randn(4, 4)
    target = F.interpolate(torch.rand(4, 3, 4, 4), (16, 16), mode="bilinear")
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    losses = []
    for _ in range(80):
        loss = (net(embedding) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize("size", [16, 24, 112])
def test_a_guide_of_any_size_is_joined_at_every_scale(size: int) -> None:
    net = GuidedInverter(6, size, 4, 2)
    image = net(torch.randn(2, 6), torch.rand(2, 3, size, size))
    assert image.shape == (2, 3, size, size)
    assert [layer.weight.shape[0] for layer in net.layers] == [18, *[6] * (doublings(size) - 1)]
    assert net.last.weight.shape == (3, 6, 5, 5)


def test_the_image_depends_on_the_guide_through_every_layer_of_its_branch() -> None:
    net = GuidedInverter(6, 24, 8, 4, xavier)
    guide = torch.rand(1, 3, 24, 24, requires_grad=True)
    net(torch.randn(1, 6), guide).square().sum().backward()
    assert guide.grad is not None
    assert (guide.grad != 0).any(1).all()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_embedder_of_the_suite_can_be_the_target() -> None:
    embedder = Embedder("resnet18", 8, 32).frozen()
    net = Inverter(8, 32, 8)
    embedder(net(torch.randn(2, 8))).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_bf16_autocast_stays_close() -> None:
    net, embedding = Inverter(size=64, filters=16), torch.randn(2, 128)
    with torch.no_grad():
        expected = net(embedding)
        with torch.autocast("cpu", torch.bfloat16):
            error = net(embedding).float() - expected
    assert error.abs().max() < 0.01
    assert error.norm() < 0.1 * (expected - 0.5).norm()


@pytest.mark.parametrize("make", [Inverter, GuidedInverter])
def test_the_exported_network_agrees_at_any_batch(make, unchecked_types) -> None:
    net = make(6, 24, 4).eval()
    guided = make is GuidedInverter
    inputs = [(torch.randn(b, 6), torch.rand(b, 3, 24, 24))[: 1 + guided] for b in (2, 5)]
    shapes = ({0: torch.export.Dim("b")},) * len(inputs[0])
    program = torch.export.export(net, inputs[0], dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(*inputs[1]), net(*inputs[1]))


@pytest.mark.parametrize("numbers", [(0, 224, 112), (128, 0, 112), (128, 224, 0)])
def test_numbers_that_cannot_be_are_refused(numbers) -> None:
    for make in (Inverter, GuidedInverter):
        with pytest.raises(ValueError, match="must be 1 or more, got"):
            make(*numbers)


def test_a_guide_of_another_size_is_refused(unchecked_types) -> None:
    with pytest.raises(ValueError, match="24 x 24 pixels, got 16 x 24"):
        GuidedInverter(6, 24, 4)(torch.randn(1, 6), torch.rand(1, 3, 16, 24))
