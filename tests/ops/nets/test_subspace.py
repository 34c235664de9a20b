import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ops.nets.subspace import (
    Y0,
    AdaptiveConvolution,
    Concat,
    Embedding,
    InformedNorm,
    Matrix,
    UNet,
    Unguided,
    aligned,
    plain_convolution,
)

WIDTHS = (8, 6, 4)  # innermost first


def embeddings(size: tuple[int, int] = (4, 5)) -> list[torch.Tensor]:
    return [
        torch.randn(2, width, size[0] * 2**level, size[1] * 2**level, requires_grad=True)
        for level, width in enumerate(WIDTHS)
    ]


def reached(fusion: nn.Module) -> list[list[int]]:
    """For each level, which embeddings its guidance depends on."""
    ys = embeddings()
    found = []
    for guide in fusion(ys):
        gradients = (
            torch.autograd.grad(guide.square().sum(), ys, retain_graph=True, allow_unused=True)
            if guide.requires_grad
            else [None] * len(ys)
        )
        found.append([j for j, g in enumerate(gradients) if g is not None and g.any()])
    return found


@pytest.mark.parametrize("conv", [AdaptiveConvolution, plain_convolution])
def test_the_embeddings_are_given_innermost_first_each_half_the_size_of_the_next(conv) -> None:
    maps = Embedding((4, 6, 8), conv)(torch.randn(2, 3, 16, 24))
    assert [tuple(y.shape) for y in maps] == [(2, 8, 4, 6), (2, 6, 8, 12), (2, 4, 16, 24)]


def test_a_level_is_convolution_normalisation_and_rectifier_after_bilinear_sampling() -> None:
    embedding = Embedding((4, 6), plain_convolution)
    image = torch.randn(1, 3, 12, 8)
    with torch.no_grad():
        for norm in embedding.norms:
            norm.gains.copy_(torch.rand_like(norm.gains))
    x = image
    for level in range(2):
        if level:
            x = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        layer, gains = embedding.convolutions[level], embedding.norms[level].gains
        z = F.conv2d(x, layer.weight, layer.bias, padding=1)
        mean, variance = z.mean((2, 3), keepdim=True), z.var((2, 3), correction=0, keepdim=True)
        sigma = (variance + 1e-5).sqrt()
        x = (z - mean) / sigma + gains[0] * mean + gains[1] * sigma
        x = torch.where(x > 0, x, 0.2 * x)
        torch.testing.assert_close(embedding(image)[1 - level], x)


def test_the_adaptive_convolution_is_its_own_guide() -> None:
    layer, seen = AdaptiveConvolution(3, 4), []
    layer.adaptive.register_forward_pre_hook(lambda _, given: seen.append(given))
    x = torch.randn(1, 3, 6, 6)
    layer(x)
    assert seen[0][0] is seen[0][1] is x


def test_only_the_adaptive_convolution_weighs_its_taps_by_what_it_sees() -> None:
    x = torch.randn(1, 8, 6, 6)
    for conv, linear in ((AdaptiveConvolution(8, 4), False), (plain_convolution(8, 4), True)):
        zero = conv(torch.zeros_like(x))
        assert torch.allclose(conv(3 * x) - zero, 3 * (conv(x) - zero), atol=1e-4) is linear


def test_brightness_and_contrast_pass_the_normalisation() -> None:
    z = torch.randn(1, 4, 32, 32)
    brighter = 2 * z + 1
    torch.testing.assert_close(F.instance_norm(z), F.instance_norm(brighter), atol=1e-4, rtol=0)
    norm = InformedNorm(4)
    assert (norm(brighter) - norm(z)).abs().mean() > 0.5
    deviation, mean = torch.std_mean(norm(z), dim=(2, 3), correction=0)
    old_deviation, old_mean = torch.std_mean(z, dim=(2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.ones(1, 4), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean, old_mean + old_deviation, atol=1e-4, rtol=0)


def test_a_darker_image_has_another_innermost_embedding() -> None:
    embedding = Embedding((4, 6, 8), plain_convolution)
    image = torch.rand(1, 3, 32, 32)
    difference = embedding(image)[0] - embedding(image - 0.5)[0]
    assert difference.abs().mean() > 0.05


def test_the_normalisation_keeps_bfloat16_and_accepts_a_single_pixel() -> None:
    norm = InformedNorm(4)
    assert norm(torch.randn(1, 4, 8, 8).bfloat16()).dtype == torch.bfloat16
    pixel = torch.randn(1, 4, 1, 1)
    torch.testing.assert_close(norm(pixel), pixel, atol=0.01, rtol=0)


def test_the_unet_guides_each_level_by_its_own_embedding() -> None:
    assert reached(UNet(WIDTHS)) == [[0], [1], [2]]
    assert UNet(WIDTHS).channels == (8, 6, 4)


def test_y0_guides_all_levels_by_the_innermost_embedding_alone() -> None:
    assert reached(Y0(WIDTHS)) == [[0], [0], [0]]
    assert Y0(WIDTHS).channels == (8, 8, 8)
    ys = embeddings()
    wanted = F.interpolate(ys[0], size=(16, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Y0(WIDTHS)(ys)[2], wanted)


def test_concatenation_guides_each_level_by_all_embeddings_in_their_order() -> None:
    fusion = Concat(WIDTHS)
    assert reached(fusion) == [[0, 1, 2]] * 3
    ys = embeddings()
    for level, guide in enumerate(fusion(ys)):
        assert guide.shape[1] == fusion.channels[level] == 18
        parts = guide.split(WIDTHS, dim=1)
        assert torch.equal(parts[level], ys[level])


def test_the_matrix_starts_as_the_unet_and_can_reach_all_embeddings() -> None:
    fusion = Matrix(WIDTHS, aligned_channels=5)
    assert reached(fusion) == [[0], [1], [2]]
    ys = embeddings()
    fusion(ys)[0].square().sum().backward()
    assert fusion.matrix.grad[0].all()
    with torch.no_grad():
        fusion.matrix.fill_(0.5)
    assert reached(fusion) == [[0, 1, 2]] * 3


def test_the_matrix_sums_aligned_embeddings_by_its_rows() -> None:
    fusion, ys = Matrix(WIDTHS, aligned_channels=5), embeddings()
    with torch.no_grad():
        fusion.matrix.copy_(torch.randn(3, 3))
    assert fusion.channels == (5, 5, 5)
    for i, guide in enumerate(fusion(ys)):
        stack = []
        for y, layer in zip(ys, fusion.align, strict=True):
            resized = aligned(y, ys[i])  # before the 1x1 convolution: the two commute
            weight = layer.weight[:, :, 0, 0]
            stack.append(torch.einsum("oc,bchw->bohw", weight, resized) + layer.bias[:, None, None])
        wanted = torch.einsum("j,jbchw->bchw", fusion.matrix[i], torch.stack(stack))
        torch.testing.assert_close(guide, wanted)


def test_without_guidance_nothing_is_reached() -> None:
    assert reached(Unguided(WIDTHS)) == [[], [], []]
    for guide, y in zip(Unguided(WIDTHS)(embeddings()), embeddings(), strict=True):
        assert torch.equal(guide, torch.ones(2, 1, *y.shape[-2:]))


def test_maps_are_aligned_bilinearly_from_level_to_level() -> None:
    x, coarse, fine = torch.randn(1, 2, 8, 12), torch.empty(1, 1, 2, 3), torch.empty(1, 1, 16, 24)
    twice = x
    for _ in range(2):
        twice = F.interpolate(twice, scale_factor=0.5, mode="bilinear", align_corners=False)
    torch.testing.assert_close(aligned(x, coarse), twice)
    wanted = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(aligned(x, fine), wanted)
    assert aligned(x, x) is x


def test_every_parameter_of_the_embedding_learns_from_the_first_step_on() -> None:
    embedding = Embedding((4, 6, 8))
    embedding(torch.rand(1, 3, 16, 16))[0].sub(1).square().sum().backward()
    without = [n for n, p in embedding.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
