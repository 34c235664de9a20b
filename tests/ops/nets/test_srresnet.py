import pytest
import torch
from torch import nn

from ops.nets.srresnet import SRResNet


def test_the_parameters_are_those_of_the_papers_layers() -> None:
    w = 64
    normalised = 9 * w * w + 2 * w
    ends = (81 * 3 * w + w + 1) + (81 * w * 3 + 3)
    enlarging = 2 * (9 * w * 4 * w + 4 * w + 1)
    expected = ends + 16 * (2 * normalised + 1) + normalised + enlarging
    assert sum(p.numel() for p in SRResNet().parameters()) == expected == 1_547_350  # 1.5 M


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (5, 30)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert SRResNet(1, 6)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_it_trains_on_one_image_and_judges_it_by_what_it_has_seen() -> None:
    net, image = SRResNet(2, 6), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for _ in range(150):
            trained = net(image)
        torch.testing.assert_close(net.eval()(image), trained, rtol=0, atol=0.02)


def test_in_evaluation_images_do_not_depend_on_each_other() -> None:
    net, images = SRResNet(2, 6).eval(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_every_parameter_gets_a_gradient() -> None:
    net = SRResNet(3, 8)
    for slope in (m.weight for m in net.modules() if isinstance(m, nn.PReLU)):
        assert slope.tolist() == [0.25]
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_darken() -> None:
    net, image = SRResNet(2, 12, scale=2), torch.rand(4, 3, 8, 8).repeat_interleave(2, 2)
    image = image.repeat_interleave(2, 3)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (net(image) - image**2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be a power of two, got 6"):
        SRResNet(scale=6)
