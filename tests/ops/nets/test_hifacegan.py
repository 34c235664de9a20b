from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ops.nets.hifacegan import ImportancePool, LipPrior, SpectralGenerator, importance_pool
from ops.nets.ispl import ISPL

WIDTHS = (4, 6, 8)
lipspade = partial(ISPL, prior=LipPrior, generator=SpectralGenerator)


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_each_mean_is_weighted_by_the_softmax_of_its_neighbourhood(size: tuple[int, int]) -> None:
    x, importance = torch.randn(2, 1, 2, *size)
    result = importance_pool(x, importance)
    for row in range(result.shape[2]):
        for column in range(result.shape[3]):
            rows = slice(max(2 * row - 1, 0), 2 * row + 2)
            columns = slice(max(2 * column - 1, 0), 2 * column + 2)
            weights = importance[0, :, rows, columns].flatten(1).softmax(1)
            wanted = (weights * x[0, :, rows, columns].flatten(1)).sum(1)
            torch.testing.assert_close(result[0, :, row, column], wanted)


def test_equal_importance_gives_plain_means_and_great_importance_picks_a_pixel() -> None:
    x = torch.rand(1, 3, 8, 8)
    plain = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(importance_pool(x, torch.full_like(x, 40.0)), plain)
    importance = torch.zeros_like(x)
    importance[..., 3, 5] = 30.0
    torch.testing.assert_close(importance_pool(x, importance)[..., 1, 2], x[..., 3, 5])


def test_great_importance_stays_finite_in_half_precision() -> None:
    x = torch.rand(1, 2, 8, 8).half()
    assert not torch.exp(torch.tensor(12.0).half()).isfinite()
    assert importance_pool(x, torch.full_like(x, 12.0)).isfinite().all()


def test_the_pool_learns_the_importance_and_halves_the_size() -> None:
    pool, x = ImportancePool(3), torch.randn(1, 3, 8, 10)
    result = pool(x)
    assert result.shape == (1, 3, 4, 5)
    scores = F.instance_norm(F.conv2d(x, pool.conv.weight, padding=1))
    wanted = importance_pool(x, 12 / (1 + torch.exp(-scores)))
    torch.testing.assert_close(result, wanted, atol=1e-4, rtol=1e-4)
    result.square().sum().backward()
    assert all(p.grad.any() for p in pool.parameters())


def test_the_raw_image_guides_every_level_and_the_encoder_gives_only_the_start() -> None:
    prior, image = LipPrior(WIDTHS), torch.rand(2, 3, 16, 24)
    guidance = prior(image)
    assert guidance.start.shape == (2, 8, 4, 6)
    assert prior.channels == (3, 3, 3)
    seen = 2 * image - 1
    for guide, factor in zip(guidance.maps, (4, 2, 1), strict=True):
        torch.testing.assert_close(guide, F.avg_pool2d(seen, factor))
        assert not guide.requires_grad
    assert guidance.start.requires_grad


def test_the_start_is_normalised_but_not_rectified() -> None:
    start = LipPrior(WIDTHS)(torch.rand(1, 3, 32, 32)).start
    torch.testing.assert_close(start.mean((2, 3)), torch.zeros(1, 8), atol=1e-5, rtol=0)


def test_it_has_the_parameters_and_the_work_of_the_released_network() -> None:
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        net = lipspade().to("meta").eval()
        net(torch.rand(1, 3, 512, 512, device="meta"))
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    tera = flops.get_total_flops() / 1e12
    print(f"{millions:.1f} M parameters, {tera:.3f} TFLOP; the released one has 120.3 and 1.19")
    assert millions == pytest.approx(120.3, rel=0.002)
    assert tera == pytest.approx(1.19, rel=0.005)


def test_the_second_level_has_two_blocks_and_the_others_one() -> None:
    assert [len(level) for level in lipspade(WIDTHS).generator.levels] == [1, 2, 1]


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (8, 4)])
def test_any_image_comes_back_in_its_size_and_range(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    restored = lipspade(WIDTHS)(image)
    assert restored.shape == image.shape
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_every_parameter_gets_a_gradient_from_the_first_step_on() -> None:
    net, image = lipspade(WIDTHS), torch.rand(2, 3, 32, 32)
    net(image).sub(image).square().sum().backward()
    without = [
        n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6
    ]
    assert without == []


def test_evaluation_gives_what_training_gave() -> None:
    net, image = lipspade(WIDTHS), torch.rand(1, 3, 16, 16)
    for _ in range(40):
        trained = net(image)
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first, second = net(image), net(image)
    torch.testing.assert_close(first, trained, atol=1e-3, rtol=1e-3)
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_all_convolutions_of_its_blocks_have_a_spectral_norm_of_one() -> None:
    net = lipspade(WIDTHS)
    for _ in range(40):
        net(torch.rand(1, 3, 16, 16))
    found = 0
    for layer in net.generator.levels.modules():
        if isinstance(layer, nn.Conv2d) and nn.utils.parametrize.is_parametrized(layer):
            norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
            torch.testing.assert_close(norm, torch.tensor(1.0), atol=0.05, rtol=0)
            found += 1
    assert found == 4 * 2 + 2  # two in each block, and in the shortcuts where the width changes


def test_it_runs_in_bfloat16_and_channels_last() -> None:
    net, image = lipspade(WIDTHS).eval(), torch.rand(1, 3, 16, 16)
    wanted = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(image)
    torch.testing.assert_close(half.float(), wanted, atol=0.05, rtol=0.05)
    last = net.to(memory_format=torch.channels_last)
    output = last(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(output, wanted, atol=1e-4, rtol=1e-4)
