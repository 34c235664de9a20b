import pytest
import torch
import torch.nn.functional as F

from ops.nets.task_encoder import Decoder, Res2NetBlock, TaskAutoencoder, TaskEncoder

WIDTHS = (4, 8, 8, 12)


def autoencoder() -> TaskAutoencoder:
    return TaskAutoencoder(TaskEncoder(8, WIDTHS, (1, 1, 1, 1)), Decoder(8, WIDTHS[:3], (1, 1, 1)))


def test_a_block_feeds_each_quarter_with_the_one_before() -> None:
    block = Res2NetBlock(8)
    hidden = F.leaky_relu(
        block.enter(F.leaky_relu(block.norm(x := torch.randn(1, 8, 6, 5)), 0.2)), 0.2
    )
    a, b, c, d = hidden.split(2, 1)
    first, second, third = block.chain
    b = F.leaky_relu(first(b), 0.2)
    c = F.leaky_relu(second(c + b), 0.2)
    d = F.leaky_relu(third(d + c), 0.2)
    torch.testing.assert_close(block(x), x + block.leave(torch.cat([a, b, c, d], 1)))


def test_a_block_sees_three_pixels_in_each_direction() -> None:
    block = Res2NetBlock(4)
    block.norm = torch.nn.Identity()
    x = torch.randn(1, 4, 9, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(x)[0, :, 4, 4].sum(), x)
    reached = gradient.abs().sum((0, 1)).nonzero()
    assert reached.amin(0).tolist() == [1, 1]
    assert reached.amax(0).tolist() == [7, 7]


@pytest.mark.parametrize("channels", [0, 3, 6])
def test_a_block_wants_a_multiple_of_four_channels(channels: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of 4 channels: {channels}"):
        Res2NetBlock(channels)


def test_features_have_a_quarter_of_the_size() -> None:
    features = TaskEncoder(8, WIDTHS, (1, 1, 1, 1))(torch.rand(2, 3, 16, 24))
    assert features.shape == (2, 8, 4, 6)


def test_the_decoder_gives_back_the_size() -> None:
    assert Decoder(8, WIDTHS[:3], (0, 1, 2))(torch.rand(2, 8, 4, 6)).shape == (2, 3, 16, 24)


def test_levels_and_blocks_must_be_as_many_as_there_are_sizes() -> None:
    with pytest.raises(ValueError, match="four levels, got widths"):
        TaskEncoder(8, WIDTHS, (1, 1, 1))
    with pytest.raises(ValueError, match="three levels, got widths"):
        Decoder(8, WIDTHS, (1, 1, 1))


@pytest.mark.parametrize("size", [(8, 8), (13, 19), (17, 32)])
def test_an_autoencoder_restores_any_size_and_starts_near_grey(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    restored = autoencoder()(image)
    assert restored.shape == image.shape
    assert 0 < float((restored - 0.5).square().mean().sqrt().detach()) < 0.2


def test_a_side_that_cannot_be_reflected_is_refused() -> None:
    with pytest.raises(ValueError, match="4x9 is too short for a multiple of 8"):
        autoencoder()(torch.rand(1, 3, 4, 9))


def test_every_weight_has_a_gradient() -> None:
    made = autoencoder()
    made(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_brighten() -> None:
    made, target = autoencoder(), F.interpolate(torch.rand(2, 3, 4, 4), (16, 16))
    optimizer = torch.optim.Adam(made.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(made(0.3 * target), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_features_that_go_in_rectified_or_not_keep_their_size_through_the_published_encoder() -> (
    None
):
    features = TaskEncoder()(torch.rand(1, 3, 64, 64)).detach()
    assert 0.3 < float(features.std()) < 3
