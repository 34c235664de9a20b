import pytest
import torch

from ops.nets.unet import RestorationUNet


def test_an_untrained_network_returns_its_input() -> None:
    image = torch.rand(2, 3, 16, 24)
    assert torch.equal(RestorationUNet((8, 8))(image), image)


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (5, 30)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert RestorationUNet((4, 6, 8))(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_an_image_too_small_for_the_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="3x9 is too short for a multiple of 8"):
        RestorationUNet((4, 4, 4, 4))(torch.rand(1, 3, 3, 9))


def test_images_do_not_depend_on_each_other() -> None:
    net, images = RestorationUNet((6, 8)), torch.rand(3, 3, 12, 12)
    torch.nn.init.normal_(net.head.weight)
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_every_parameter_gets_a_gradient() -> None:
    net = RestorationUNet((8, 16, 24))
    torch.nn.init.normal_(net.head.weight)  # behind weights of zero nothing would move
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_darken() -> None:
    net, image = RestorationUNet((12, 16)), torch.rand(4, 3, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (net(image) - image**2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_the_coarsest_level_sees_far() -> None:
    net = RestorationUNet((4, 4, 4, 4))
    torch.nn.init.normal_(net.head.weight)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    net(image)[0, 0, 32, 32].backward()
    assert image.grad[0, :, 2].any()  # 30 pixels away
