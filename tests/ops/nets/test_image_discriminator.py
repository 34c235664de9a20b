import pytest
import torch
from torch import nn

from ops.nets.image_discriminator import ImageDiscriminator


def test_the_parameters_are_those_of_the_papers_layers() -> None:
    with torch.device("meta"):
        net = ImageDiscriminator()
    sizes = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
    sizes.append((512, 512))
    convolutions = sum(9 * a * b for a, b in sizes) + 64
    normalised = 2 * sum(b for _, b in sizes[1:])
    dense = 512 * 36 * 1024 + 1024 + 1024 + 1
    found = sum(p.numel() for p in net.parameters())
    assert found == convolutions + normalised + dense == 23_563_649


def test_patches_of_96_pixels_are_judged_without_reduction() -> None:
    net, seen = ImageDiscriminator((2, 2, 2, 2), 4), []
    net.pool.register_forward_hook(lambda _, given, taken: seen.append((given[0], taken)))
    net(torch.rand(1, 3, 96, 96))
    assert seen[0][0].shape == (1, 2, 6, 6)
    assert torch.equal(*seen[0])


@pytest.mark.parametrize("size", [(17, 17), (33, 20), (64, 9)])
def test_each_image_of_any_size_has_one_logit(size: tuple[int, int]) -> None:
    assert ImageDiscriminator((4, 4, 4, 4), 8)(torch.rand(2, 3, *size)).shape == (2, 1, 1, 1)


def test_one_image_alone_can_be_judged_at_the_smallest_size_and_not_below() -> None:
    net = ImageDiscriminator((4, 4, 4), 8)
    assert net(torch.rand(1, 3, 9, 9)).isfinite().all()
    with pytest.raises(ValueError, match="a side of 9 pixels or more, got 8x8"):
        net(torch.rand(1, 3, 8, 8))


def test_training_and_evaluation_agree_and_leave_no_state() -> None:
    net, image = ImageDiscriminator((4, 6), 8), torch.rand(2, 3, 16, 16)
    assert torch.equal(net(image), net.eval()(image))
    assert list(net.buffers()) == []


def test_every_parameter_gets_a_gradient() -> None:
    net = ImageDiscriminator((8, 8, 8), 16)
    net(torch.rand(2, 3, 24, 24)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_tell_smooth_from_rough() -> None:
    net = ImageDiscriminator((8, 8), 16)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(30):
        rough, smooth = _pictures()
        loss = nn.functional.softplus(-net(rough)) + nn.functional.softplus(net(smooth))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    rough, smooth = _pictures()
    assert net(rough).min() > 0 > net(smooth).max()


def _pictures() -> tuple[torch.Tensor, torch.Tensor]:
    rough = torch.rand(4, 3, 16, 16)
    return rough, nn.functional.avg_pool2d(rough, 5, 1, 2, count_include_pad=False)
