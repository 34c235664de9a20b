import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ops.kernels.pac import PixelAdaptiveConv2d, adaptive_kernel, pixel_adaptive_conv2d

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
cases = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(1, 11), st.integers(1, 11)),
        "kernel_size": pairs,
        "stride": pairs | st.integers(1, 3),
        "padding": st.tuples(st.integers(0, 4), st.integers(0, 4)) | st.integers(0, 4),
        "dilation": pairs | st.integers(1, 3),
    }
)


def unfolded(x, kernel, weight, bias, stride=1, padding=0, dilation=1):
    """Equation 8 on the columns of the whole map."""
    columns = F.unfold(x, weight.shape[2:], dilation, padding, stride)
    columns = columns.unflatten(1, (x.shape[1], -1)) * kernel.flatten(2)[:, None]
    out = torch.einsum("ock,bckn->bon", weight.flatten(2), columns)
    return out.unflatten(2, kernel.shape[2:]) + bias[:, None, None]


def inputs(output, b=2, size=(6, 5), kernel_size=(3, 3), dtype=torch.float32):
    return (
        torch.randn(b, 3, *size, dtype=dtype),
        torch.randn(b, kernel_size[0] * kernel_size[1], *output, dtype=dtype).tanh(),
        torch.randn(4, 3, *kernel_size, dtype=dtype) / 3,
        torch.randn(4, dtype=dtype),
    )


def output_of(case):
    """None where the window is larger than the padded map."""
    others = {key: case[key] for key in ("stride", "padding", "dilation")}
    try:
        conv = nn.Conv2d(1, 1, case["kernel_size"], **others)
        return tuple(conv(torch.zeros(1, 1, *case["size"])).shape[2:]), others
    except RuntimeError:
        return None, others


@settings(max_examples=60, deadline=None)
@given(case=cases, seed=st.integers(0, 10**6))
def test_with_tap_weights_of_1_it_is_a_convolution_and_else_that_of_the_unfolded_map(case, seed):
    torch.manual_seed(seed)
    output, others = output_of(case)
    if output is None:
        return
    x, kernel, weight, bias = inputs(output, 2, case["size"], case["kernel_size"])
    ones = torch.ones_like(kernel)
    plain = F.conv2d(x, weight, bias, **others)
    found = pixel_adaptive_conv2d(x, ones, weight, bias, **others)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
    found = pixel_adaptive_conv2d(x, kernel, weight, bias, **others)
    expected = unfolded(x, kernel, weight, bias, **others)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name_is_that_of_conv2d(padding):
    output = (6, 5) if padding == "same" else (4, 3)
    x, kernel, weight, bias = inputs(output)
    found = pixel_adaptive_conv2d(x, torch.ones_like(kernel), weight, bias, padding=padding)
    torch.testing.assert_close(found, F.conv2d(x, weight, bias, padding=padding))


def test_gradients_agree_with_finite_differences():
    sizes = [(1, 2, 3, 2), (1, 9, 3, 2), (2, 2, 3, 3), (2,)]
    leaves = [torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in sizes]
    assert torch.autograd.gradcheck(lambda *a: pixel_adaptive_conv2d(*a, padding=1), leaves)


def test_gradients_agree_with_finite_differences_for_every_setting_of_the_window():
    leaves = [one.requires_grad_() for one in inputs((3, 2), dtype=torch.float64)]
    others = {"stride": (2, 3), "padding": (2, 1), "dilation": (2, 1)}
    assert torch.autograd.gradcheck(
        lambda *a: pixel_adaptive_conv2d(*a, **others), leaves, fast_mode=True
    )


@pytest.mark.parametrize("others", [{"padding": 1}, {"stride": 2, "padding": 2, "dilation": 2}])
def test_gradients_through_the_tap_weights_agree_with_finite_differences(others):
    features = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: adaptive_kernel(y, 3, **others), features)


def test_a_tap_weight_of_0_shuts_its_pixel_out():
    x, kernel, weight, bias = inputs((6, 5))
    kernel[:, [2, 5, 8]] = 0  # the pixels to the right
    changed = x.clone()
    changed[..., 3] += 1
    a, b = (pixel_adaptive_conv2d(one, kernel, weight, bias, padding=1) for one in (x, changed))
    reached = (a != b).any(0).any(0).any(0)
    assert reached.tolist() == [False, False, False, True, True]


@settings(max_examples=40, deadline=None)
@given(case=cases, seed=st.integers(0, 10**6))
def test_tap_weights_are_those_of_the_equation_pixel_by_pixel(case, seed):
    torch.manual_seed(seed)
    case["kernel_size"] = tuple(2 * (k // 2) + 1 for k in case["kernel_size"])
    output, others = output_of(case)
    if output is None:
        return
    features = torch.randn(1, 4, *case["size"])
    columns = F.unfold(features, case["kernel_size"], **others).unflatten(1, (4, -1))
    centre = columns[:, :, columns.shape[2] // 2]
    expected = torch.tanh(torch.einsum("bdkn,bdn->bkn", columns, centre) / 2)
    found = adaptive_kernel(features, case["kernel_size"], **others)
    torch.testing.assert_close(found.flatten(2), expected, rtol=1e-5, atol=1e-5)


def test_taps_are_ordered_by_row_then_column_and_those_outside_the_map_weigh_0():
    features = torch.zeros(1, 1, 3, 3)
    features[0, 0, 1, 1] = features[0, 0, 0, 2] = 2.0
    kernel = adaptive_kernel(features, 3, padding=1)
    alike = torch.tanh(torch.tensor(4.0))
    expected = torch.tensor([[0, 0, alike], [0, alike, 0], [0, 0, 0]])
    torch.testing.assert_close(kernel[0, :, 1, 1].view(3, 3), expected)
    corner = adaptive_kernel(torch.ones(1, 1, 3, 3), 3, padding=1)[0, :, 0, 0].view(3, 3)
    assert (corner != 0).tolist() == [[False] * 3, [False, True, True], [False, True, True]]


def test_tap_weights_keep_their_spread_whatever_the_number_of_features():
    spreads = []
    for count in (8, 512):
        kernel = adaptive_kernel(torch.randn(1, count, 24, 24), 3, padding=1)
        spreads.append(kernel[:, [0, 1, 2, 3, 5, 6, 7, 8], 1:-1, 1:-1].std())
    torch.testing.assert_close(spreads[0], spreads[1], rtol=0.1, atol=0)
    # As printed, without the root of D, most products lie where tanh is flat.
    assert (torch.randn(1000, 512) * torch.randn(1000, 512)).sum(1).abs().median() > 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_is_kept(dtype):
    layer, x = PixelAdaptiveConv2d(3, 4), torch.randn(1, 3, 6, 6)
    exact = layer(x, x)
    out = layer.to(dtype)(x.to(dtype), x.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), exact, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_under_autocast_it_computes_in_its_dtype_as_a_convolution_does(dtype):
    layer, x = PixelAdaptiveConv2d(3, 4), torch.randn(1, 3, 6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x.to(dtype), x.to(dtype))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x, x), rtol=5e-2, atol=5e-2)
    out.float().square().sum().backward()
    assert x.grad.dtype == layer.weight.grad.dtype == torch.float32


def test_maps_in_channels_last_give_the_same():
    layer, x = PixelAdaptiveConv2d(8, 4), torch.randn(2, 8, 6, 7)
    last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last, last), layer(x, x))


def test_an_empty_batch_gives_an_empty_result():
    x, kernel, weight, bias = inputs((6, 5), b=0)
    assert pixel_adaptive_conv2d(x, kernel, weight, bias, padding=1).shape == (0, 4, 6, 5)
    assert adaptive_kernel(x, 3, padding=1).shape == (0, 9, 6, 5)


def test_the_layer_filters_under_the_weights_of_its_guide():
    layer = PixelAdaptiveConv2d(3, 4, 5, 2, 2, guide_channels=6, features=7)
    x, guide = torch.randn(2, 3, 9, 8), torch.randn(2, 6, 9, 8)
    kernel = adaptive_kernel(layer.project(guide), 5, 2, 2)
    expected = unfolded(x, kernel, layer.weight, layer.bias, 2, 2)
    torch.testing.assert_close(layer(x, guide), expected)
    assert layer.project[0].weight.shape == (7, 6, 1, 1)


@pytest.mark.parametrize(("channels", "features"), [(3, 8), (64, 8), (256, 32)])
def test_the_guide_is_reduced_to_an_eighth_of_its_channels_but_to_8_at_least(channels, features):
    assert PixelAdaptiveConv2d(channels, 4).project[-1].out_channels == features


@pytest.mark.parametrize("channels", [3, 64, 512])
def test_the_layer_starts_out_near_a_plain_convolution(channels):
    layer, x = PixelAdaptiveConv2d(channels, 4), torch.randn(1, channels, 12, 12)
    kernel = adaptive_kernel(layer.project(x), 3)
    assert 0.6 < kernel.min() < kernel.max() < 0.9
    assert kernel.std() > 1e-4


def test_the_exported_layer_agrees_for_any_size_and_needs_no_operator_of_ours(unchecked_types):
    layer = PixelAdaptiveConv2d(3, 4, stride=2).eval()
    height, width = torch.export.Dim("h", min=4), torch.export.Dim("w", min=4)
    x = torch.randn(1, 3, 8, 10)
    sizes = {2: height, 3: width}
    program = torch.export.export(layer, (x, x), dynamic_shapes=(sizes, sizes))
    assert "visagist" not in str(program.graph)
    for size in ((8, 10), (9, 5)):
        x = torch.randn(1, 3, *size)
        torch.testing.assert_close(program.module()(x, x), layer(x, x))


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (1, lambda k: k[:, :8], r"= \(2, 9, 6, 5\) for x .* got \(2, 8, 6, 5\)"),
        (1, lambda k: k[..., :4], r"got \(2, 9, 6, 4\)"),
        (0, lambda x: x[:, :2], "weight is for 3 channels, got x with 2"),
        (3, lambda b: b[:3], r"bias must have 4 numbers, got shape \(3,\)"),
        (1, lambda k: k.double(), "share one dtype and device, got torch.float32 on cpu, torch.f"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(unchecked_types, index, change, message):
    given = list(inputs((6, 5)))
    given[index] = change(given[index])
    with pytest.raises(ValueError, match=message):
        pixel_adaptive_conv2d(*given, padding=1)


def test_maps_without_channels_are_refused():
    x, kernel, weight, bias = inputs((6, 5))
    with pytest.raises(ValueError, match="got x with 0"):
        pixel_adaptive_conv2d(x[:, :0], kernel, weight[:, :0], bias, padding=1)
    with pytest.raises(ValueError, match="features must have one channel or more, got 0"):
        adaptive_kernel(x[:, :0], 3)


@pytest.mark.parametrize("others", [{"stride": 0}, {"padding": -1}, {"dilation": 9}])
def test_settings_that_conv2d_would_not_take_are_refused(others):
    x, kernel, weight, bias = inputs((6, 5))
    with pytest.raises(ValueError, match=r"stride must be|padding must be|the window spans"):
        pixel_adaptive_conv2d(x, kernel, weight, bias, **others)
    with pytest.raises(ValueError, match=r"stride must be|padding must be|the window spans"):
        adaptive_kernel(x, 3, **others)


@pytest.mark.parametrize("kernel_size", [2, (3, 4)])
def test_a_window_without_a_middle_is_refused(kernel_size):
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        adaptive_kernel(torch.randn(1, 8, 6, 6), kernel_size)
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        PixelAdaptiveConv2d(3, 4, kernel_size)


@pytest.mark.parametrize("change", [{"in_channels": 0}, {"guide_channels": 0}, {"features": 0}])
def test_no_channels_are_refused(change):
    with pytest.raises(ValueError, match="must be 1 or more, got"):
        PixelAdaptiveConv2d(**{"in_channels": 3, "out_channels": 4, **change})
