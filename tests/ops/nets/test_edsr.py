import pytest
import torch

from ops.nets.edsr import EDSR


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_baseline_has_the_published_number_of_parameters() -> None:
    assert count(EDSR()) == 1_517_571  # 1.5 M, for a scale of 4
    assert count(EDSR(scale=2)) == 1_369_859  # 1.37 M


def test_edsr_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        net = EDSR(32, 256, 0.1)
    assert count(net) == 43_089_923  # 43 M


def test_there_is_no_batch_normalisation() -> None:
    net, images = EDSR(2, 6), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))
    assert list(net.buffers()) == []


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (5, 30)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    assert EDSR(1, 6)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_scaling_is_of_each_blocks_residual() -> None:
    torch.manual_seed(1)
    whole = EDSR(1, 6)
    tenth = EDSR(1, 6, 0.1)
    tenth.load_state_dict(whole.state_dict())
    with torch.no_grad():
        for name, parameter in tenth.named_parameters():
            if ".layers.0.layers.2." in name:  # the block's second convolution
                parameter.mul_(10)
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(tenth(image), whole(image))


def test_every_parameter_gets_a_gradient() -> None:
    net = EDSR(3, 8)
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_darken() -> None:
    net, image = EDSR(2, 12, scale=2), torch.rand(4, 3, 8, 8).repeat_interleave(2, 2)
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


def test_bf16_autocast_stays_close() -> None:
    net, image = EDSR(2, 12), torch.rand(1, 3, 16, 16)
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        error = net(image).float() - expected
    assert error.norm() < 0.05 * expected.norm()


def test_the_exported_network_agrees(unchecked_types) -> None:
    net, image = EDSR(1, 4).eval(), torch.rand(2, 3, 16, 20)
    program = torch.export.export(net, (image,))
    torch.testing.assert_close(program.module()(image), net(image))


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be a power of two, got 3"):
        EDSR(scale=3)
