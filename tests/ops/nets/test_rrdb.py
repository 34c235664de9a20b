import pytest
import torch
import torch.nn.functional as F

from ops.nets.rrdb import DenseBlock, RRDBNet


def test_the_number_of_parameters_is_the_published_one() -> None:
    with torch.device("meta"):
        net = RRDBNet()
    assert sum(p.numel() for p in net.parameters()) == 16_697_987  # 16.7 M


def test_each_layer_of_a_dense_block_sees_all_maps_before_it() -> None:
    block, x = DenseBlock(4, 3), torch.randn(1, 4, 5, 6)
    maps = [x]
    for layer in block.layers[:4]:
        maps.append(F.leaky_relu(layer(torch.cat(maps, 1)), 0.2))
    torch.testing.assert_close(block(x), block.layers[4](torch.cat(maps, 1)))
    assert [layer.in_channels for layer in block.layers] == [4, 7, 10, 13, 16]


def test_weights_start_at_a_tenth_of_hes_deviation() -> None:
    layer = DenseBlock().layers[3]
    he = (2 / ((1 + 0.2**2) * 9 * layer.in_channels)) ** 0.5
    assert layer.weight.std().item() == pytest.approx(0.1 * he, rel=0.03)


def test_a_residual_block_adds_a_fifth_of_what_its_three_dense_blocks_give() -> None:
    (block, *_), x = RRDBNet(1, 8, 4).layers[1].layers, torch.randn(1, 8, 9, 9)
    y = x
    for dense in block.layers:
        y = y + 0.2 * dense.layers[0](y)
    assert len(block.layers) == 3
    torch.testing.assert_close(block(x), x + 0.2 * y)


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (5, 30)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert RRDBNet(1, 6, 3)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_images_do_not_depend_on_each_other() -> None:
    net, images = RRDBNet(1, 6, 3), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_every_parameter_gets_a_gradient() -> None:
    net = RRDBNet(2, 8, 4)
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_darken() -> None:
    net, image = RRDBNet(1, 12, 6, scale=2), torch.rand(4, 3, 8, 8).repeat_interleave(2, 2)
    image = image.repeat_interleave(2, 3)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (net(image) - image**2).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be a power of two, got 3"):
        RRDBNet(1, 6, 3, 3)
