from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ops.nets.guidance import EP16x, EPMap, Guidance, Implicit
from ops.nets.ispl import ISPL, AdaptiveBlock, Generator
from ops.nets.subspace import Y0, Concat, Matrix, UNet, Unguided, plain_convolution

WIDTHS = (4, 6, 8)
FUSIONS = (UNet, Y0, Concat, partial(Matrix, aligned_channels=5), Unguided)
Plain = partial(Implicit, conv=plain_convolution)
PRIORS = [partial(Plain, fusion=fusion) for fusion in FUSIONS]
PRIORS += [Implicit, partial(EP16x, block=4), partial(EPMap, classes=2)]


def small(prior: Callable[[tuple[int, ...]], nn.Module] = Plain) -> ISPL:
    return ISPL(WIDTHS, prior)


def parsing_of(image: torch.Tensor) -> torch.Tensor:
    return torch.cat([image[:, :1], 1 - image[:, :1]], 1)


def test_every_pixel_of_a_block_is_two_modulated_normalisations_beside_a_shortcut() -> None:
    block = AdaptiveBlock(6, 4, guide=3)
    x, guide = torch.randn(1, 6, 7, 9), torch.randn(1, 3, 7, 9)

    def modulated(norm: nn.Module, z: torch.Tensor) -> torch.Tensor:
        scale, shift = norm.modulation(norm.shared(guide).relu()).chunk(2, 1)
        sigma = z.var((2, 3), correction=0, keepdim=True).sqrt()
        z = scale * (z - z.mean((2, 3), keepdim=True)) / sigma + shift
        return torch.maximum(z, 0.2 * z)

    z = F.conv2d(modulated(block.first_norm, x), block.first.weight, None, padding=1)
    z = F.conv2d(modulated(block.second_norm, z), block.second.weight, block.second.bias, padding=1)
    shortcut = torch.einsum("oc,bchw->bohw", block.shortcut.weight[:, :, 0, 0], x)
    torch.testing.assert_close(block(x, guide), (z + shortcut) / 2**0.5, atol=1e-3, rtol=1e-3)


def test_the_generator_is_the_recursion_of_equation_10_from_x0_on() -> None:
    generator = Generator(WIDTHS, (2, 3, 5))
    maps = [torch.randn(1, c, 4 * 2**i, 4 * 2**i) for i, c in enumerate((2, 3, 5))]
    start = torch.randn(1, 8, 4, 4)
    x = generator.blocks[0](start, maps[0])
    assert x.shape[1] == 6  # the width of y_1
    x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    x = F.interpolate(generator.blocks[1](x, maps[1]), scale_factor=2.0, mode="bilinear")
    x = F.leaky_relu(generator.blocks[2](x, maps[2]), 0.2)
    torch.testing.assert_close(generator(Guidance(start, maps)), generator.head(x).tanh())


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (8, 4), (30, 21)])
def test_any_image_comes_back_in_its_size_and_range(prior, size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    restored = small(prior)(image, parsing_of(image))
    assert restored.shape == image.shape
    assert restored.min() >= 0
    assert restored.max() <= 1


@pytest.mark.parametrize("size", [(4, 4), (3, 4), (3, 3)])
def test_a_single_pixel_at_the_innermost_level_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be larger than 4x4, or the levels fewer"):
        small()(torch.rand(1, 3, *size))


def test_a_side_too_short_to_be_reflected_is_refused() -> None:
    with pytest.raises(ValueError, match="too short for a multiple of 4"):
        small()(torch.rand(1, 3, 1, 16))


def test_a_network_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one level"):
        ISPL(())


def test_without_a_parsing_map_the_map_prior_says_so() -> None:
    with pytest.raises(ValueError, match="guided by a face parsing map and got none"):
        small(EPMap)(torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize("prior", PRIORS)
def test_every_parameter_gets_a_gradient_from_the_first_step_on(prior) -> None:
    net, image = small(prior), torch.rand(2, 3, 16, 16)
    net(image, parsing_of(image)).sub(image).square().sum().backward()
    without = [
        n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6
    ]
    assert without == []


def test_a_fresh_output_is_not_saturated() -> None:
    restored = ISPL((8, 16, 32, 32), Plain)(torch.rand(1, 3, 64, 64))
    assert 0.02 < restored.std() < 0.3
    assert ((restored < 0.02) | (restored > 0.98)).float().mean() < 0.01


@pytest.mark.parametrize("prior", PRIORS)
def test_training_evaluation_and_batch_give_an_image_the_same(prior) -> None:
    net, image = small(prior), torch.rand(3, 3, 16, 16)
    trained = net(image, parsing_of(image))
    assert torch.equal(net.eval()(image, parsing_of(image)), trained)
    alone = net(image[1:2], parsing_of(image)[1:2])
    torch.testing.assert_close(alone, trained[1:2], atol=1e-5, rtol=0)


def test_guidance_strength_is_one_by_default_and_changes_the_output_smoothly() -> None:
    net, image = small(), torch.rand(1, 3, 16, 16)
    plain = net(image)
    assert torch.equal(net(image, strength=1.0), plain)
    changes = [(net(image, strength=s) - plain).abs().mean() for s in (0.0, 0.5, 0.99)]
    assert changes[0] > changes[1] > changes[2] > 0


def test_with_all_levels_held_nothing_of_the_image_is_left() -> None:
    net = small()
    first, second = (net(torch.rand(1, 3, 16, 16), held=range(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("level", range(3))
def test_with_all_but_one_level_held_the_output_depends_on_that_one_alone(level: int) -> None:
    net = small()
    given = net.prior(torch.rand(1, 3, 16, 16))
    leaves = [x.detach().requires_grad_() for x in (given.start, *given.maps)]
    held = Guidance(leaves[0], leaves[1:]).held({0, 1, 2} - {level})
    loss = net.generator(held).square().sum()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    wanted = [0, 1] if level == 0 else [level + 1]  # y_0 is the start as well
    assert [i for i, g in enumerate(gradients) if g is not None and g.any()] == wanted


def test_isp_k_n_starts_at_the_kth_embedding_and_is_not_guided() -> None:
    shared, layers = 1, 3
    net = ISPL(WIDTHS[: layers - shared], partial(Plain, fusion=Unguided))
    assert len(net.prior.embedding.convolutions) == len(net.generator.blocks) == layers - shared
    image = torch.rand(1, 3, 16, 16)
    x = net.prior.embedding(2 * image - 1)[0]
    assert x.shape == (1, 6, 8, 8)
    x = net.generator.blocks[0](x, torch.ones(1, 1, 8, 8))
    x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
    x = F.leaky_relu(net.generator.blocks[1](x, torch.ones(1, 1, 16, 16)), 0.2)
    torch.testing.assert_close(net(image), (net.generator.head(x).tanh() + 1) / 2)


def test_isp_0_1_has_a_single_level() -> None:
    image = torch.rand(1, 3, 5, 7)
    assert ISPL((4,), partial(Plain, fusion=Unguided))(image).shape == image.shape


def kept_bytes(net: ISPL, image: torch.Tensor) -> int:
    kept: dict[int, int] = {}

    def note(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        result = net(image)
    assert result.requires_grad
    return sum(kept.values())


def test_checkpointing_keeps_less_and_computes_the_same() -> None:
    image = torch.rand(1, 3, 64, 64)
    plain = ISPL(WIDTHS, Plain)
    saving = ISPL(WIDTHS, Plain, partial(Generator, checkpointing=True))
    saving.load_state_dict(plain.state_dict())
    assert kept_bytes(saving, image) < 0.5 * kept_bytes(plain, image)
    for net in (plain, saving):
        net(image).sub(image).square().mean().backward()
    assert torch.equal(plain(image), saving(image))
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("prior", [Plain, Implicit])
def test_it_runs_in_bfloat16_and_channels_last(prior) -> None:
    net, image = small(prior), torch.rand(2, 3, 16, 16)
    wanted = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(image)
        half.float().sub(image).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    torch.testing.assert_close(half.float(), wanted, atol=0.05, rtol=0.05)
    last = net.to(memory_format=torch.channels_last)
    output = last(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(output, wanted, atol=1e-4, rtol=1e-4)


def test_the_published_network_starts_from_sixteen_by_sixteen() -> None:
    seen: list[Guidance] = []
    with torch.device("meta"), FlopCounterMode(display=False) as flops, torch.no_grad():
        net = ISPL(prior=Plain)
        net.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        net(torch.rand(1, 3, 512, 512))
    assert seen[0].start.shape == (1, 1024, 16, 16)
    assert [f.shape[-1] for f in seen[0].maps] == [16, 32, 64, 128, 256, 512]
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    tera = flops.get_total_flops() / 1e12
    print(f"{millions:.1f} M parameters, {tera:.3f} TFLOP; HiFaceGAN has 130.6 and 1.395")
    assert 60 < millions < 66
    assert 0.4 < tera < 0.5


def test_it_exports_with_the_same_answer(unchecked_types: None) -> None:
    net, image = small().eval(), torch.rand(1, 3, 16, 16)
    exported = torch.export.export(net, (image,)).module()
    torch.testing.assert_close(exported(image), net(image))
