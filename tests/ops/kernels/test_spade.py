import pytest
import torch
import torch.nn.functional as F

from ops.kernels.spade import SpatiallyAdaptiveNorm, spatially_adaptive_norm
from ops.nets.blocks import SLOPE


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 5)])
def test_every_pixel_is_what_equation_10_says(size: tuple[int, int]) -> None:
    x, gamma, beta = torch.randn(3, 2, 4, *size, dtype=torch.float64)
    result = spatially_adaptive_norm(x, gamma, beta, eps=1e-12)
    for image in range(2):
        for channel in range(4):
            values = x[image, channel].flatten().tolist()
            mean = sum(values) / len(values)
            sigma = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
            wanted = gamma[image, channel] * (x[image, channel] - mean) / sigma
            torch.testing.assert_close(result[image, channel], wanted + beta[image, channel])


def test_with_scale_one_and_shift_zero_it_is_torchs_instance_norm() -> None:
    x = 5 + 3 * torch.randn(2, 4, 9, 11)
    result = spatially_adaptive_norm(x, torch.ones_like(x), torch.zeros_like(x))
    torch.testing.assert_close(result, F.instance_norm(x))


def test_scale_and_shift_of_the_features_change_nothing() -> None:
    x, gamma, beta = torch.randn(3, 1, 4, 8, 8, dtype=torch.float64)
    first = spatially_adaptive_norm(x, gamma, beta, eps=1e-12)
    torch.testing.assert_close(spatially_adaptive_norm(7 * x - 3, gamma, beta, eps=1e-12), first)


def test_the_gradient_is_that_of_finite_differences() -> None:
    inputs = [torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(spatially_adaptive_norm, inputs)


def test_an_image_is_restored_alike_in_any_batch() -> None:
    x, gamma, beta = torch.randn(3, 3, 4, 8, 8)
    whole = spatially_adaptive_norm(x, gamma, beta)
    for i in range(3):
        alone = spatially_adaptive_norm(x[i : i + 1], gamma[i : i + 1], beta[i : i + 1])
        torch.testing.assert_close(whole[i : i + 1], alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_type_and_takes_its_statistics_in_single(
    dtype: torch.dtype,
) -> None:
    x, gamma, beta = torch.randn(3, 1, 4, 64, 64).to(dtype)
    x = x * 100 + 200  # the squares leave float16's range
    result = spatially_adaptive_norm(x, gamma, beta)
    assert result.dtype == dtype
    wanted = spatially_adaptive_norm(x.float(), gamma.float(), beta.float())
    torch.testing.assert_close(result.float(), wanted, atol=0.05, rtol=0.02)


def test_channels_last_stays_channels_last() -> None:
    x, gamma, beta = (
        torch.randn(2, 4, 8, 8).to(memory_format=torch.channels_last) for _ in range(3)
    )
    result = spatially_adaptive_norm(x, gamma, beta)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_single_pixel_is_refused() -> None:
    pixel = torch.zeros(2, 3, 1, 1)
    with pytest.raises(ValueError, match="two or more"):
        spatially_adaptive_norm(pixel, pixel, pixel)


def test_the_module_applies_what_its_convolutions_read_in_the_guide() -> None:
    norm = SpatiallyAdaptiveNorm(3, 5, hidden=4)
    x, guide = torch.randn(2, 3, 9, 7), torch.randn(2, 5, 9, 7)
    hidden = F.conv2d(guide, norm.shared.weight, norm.shared.bias, padding=1).clamp(min=0)
    both = F.conv2d(hidden, norm.modulation.weight, norm.modulation.bias, padding=1)
    torch.testing.assert_close(norm(x, guide), both[:, :3] * F.instance_norm(x) + both[:, 3:])


def test_a_guide_of_zero_leaves_fresh_features_normalised() -> None:
    x = torch.randn(2, 3, 8, 8)
    result = SpatiallyAdaptiveNorm(3, 5)(x, torch.zeros(2, 5, 8, 8))
    torch.testing.assert_close(result, F.instance_norm(x))


def test_a_fresh_stack_lets_the_features_through() -> None:
    ours = [SpatiallyAdaptiveNorm(8, 3) for _ in range(2)]
    released = [SpatiallyAdaptiveNorm(8, 3) for _ in range(2)]
    for norm in released:
        for layer in (norm.shared, norm.modulation):
            torch.nn.init.xavier_normal_(layer.weight, gain=0.02)
            torch.nn.init.zeros_(layer.bias)
    x, guide = torch.randn(1, 8, 16, 16), torch.rand(1, 3, 16, 16)

    def through(norms: list[SpatiallyAdaptiveNorm]) -> float:
        first = F.leaky_relu(norms[0](x, guide), SLOPE)
        return norms[1](first, guide).std().item()

    assert through(ours) > 0.5
    assert through(released) < 0.01


def test_every_parameter_learns() -> None:
    norm = SpatiallyAdaptiveNorm(3, 5, hidden=4)
    norm(torch.randn(2, 3, 8, 8), torch.randn(2, 5, 8, 8)).sub(1).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in norm.parameters())


def test_it_compiles_to_the_same_numbers(unchecked_types: None) -> None:
    inputs = torch.randn(3, 1, 4, 8, 8)
    compiled = torch.compile(spatially_adaptive_norm, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), spatially_adaptive_norm(*inputs))


def test_it_exports_for_any_size(unchecked_types: None) -> None:
    norm = SpatiallyAdaptiveNorm(3, 5, hidden=4).eval()
    size = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    given = (torch.randn(1, 3, 8, 8), torch.randn(1, 5, 8, 8))
    exported = torch.export.export(norm, given, dynamic_shapes=(size, size)).module()
    other = (torch.randn(1, 3, 6, 11), torch.randn(1, 5, 6, 11))
    torch.testing.assert_close(exported(*other), norm(*other))
