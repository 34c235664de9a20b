import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ops.kernels.bands import sliding_window
from ops.kernels.pac_torch import Wanted, convolve, convolve_backward, correlate, correlate_backward


class LargestTensor(TorchDispatchMode):
    """Watches how many numbers the largest result of any operation holds."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(x.numel() for x in tree_leaves(result))])
        return result


def case(size, channels=5, outputs=4, window=None, dtype=torch.float32):
    window = window or sliding_window(size, 3, padding=1)
    return (
        torch.randn(2, channels, *size, dtype=dtype),
        torch.randn(2, window.taps, *window.output, dtype=dtype).tanh(),
        torch.randn(outputs, channels, *window.size, dtype=dtype) / (9 * channels) ** 0.5,
        torch.randn(outputs, dtype=dtype),
        window,
    )


def unfolded(x, kernel, weight, bias, window):
    """The equation on the columns of the whole map."""
    columns = F.unfold(x, window.size, window.dilation, window.padding, window.stride)
    columns = columns.unflatten(1, (x.shape[1], window.taps)) * kernel.flatten(2)[:, None]
    out = torch.einsum("ock,bckn->bon", weight.flatten(2), columns)
    return out.unflatten(2, window.output) + bias[:, None, None]


# 300 channels come in groups, and 40 x 40 pixels in bands.
@pytest.mark.parametrize(("size", "channels"), [((40, 40), 3), ((9, 70), 300), ((1, 1), 2)])
def test_both_passes_are_those_of_the_unfolded_map(size, channels):
    *given, window = case(size, channels, dtype=torch.float64)
    leaves = [one.clone().requires_grad_() for one in given]
    expected = unfolded(*leaves, window)
    torch.testing.assert_close(convolve(*given, window), expected)
    grad = torch.randn_like(expected)
    found = convolve_backward(grad, *given[:3], window, Wanted())
    theirs = torch.autograd.grad(expected, leaves[:3], grad)
    for a, b in zip(found, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("channels", [2, 300])
def test_the_backward_pass_is_the_adjoint_of_the_forward_pass(channels):
    x, kernel, weight, _, window = case((20, 60), channels, dtype=torch.float64)
    grad = torch.randn_like(convolve(x, kernel, weight, None, window))
    inner = (convolve(x, kernel, weight, None, window) * grad).sum()
    found = convolve_backward(grad, x, kernel, weight, window, Wanted())
    for one, gradient in zip((x, kernel, weight), found, strict=True):
        torch.testing.assert_close((one * gradient).sum(), inner)


@pytest.mark.parametrize("index", range(3))
def test_only_the_wanted_gradients_are_computed(index):
    x, kernel, weight, _, window = case((6, 5))
    grad = torch.randn(2, 4, 6, 5)
    every = convolve_backward(grad, x, kernel, weight, window, Wanted())
    wanted = Wanted(*(i == index for i in range(3)))
    found = convolve_backward(grad, x, kernel, weight, window, wanted)
    assert [one is not None for one in found] == list(wanted)
    assert torch.equal(found[index], every[index])


def test_no_pass_holds_more_than_a_small_part_of_the_columns():
    x, kernel, weight, bias, window = case((96, 96), 32, 32)
    watch = LargestTensor()
    with watch:
        out = convolve(x, kernel, weight, bias, window)
        convolve_backward(out, x, kernel, weight, window, Wanted())
        correlate_backward(kernel, x, correlate(x, window), window)
    assert watch.numbers == x.numel()  # the gradient of x; the columns would be 9 times that


def test_tap_weights_are_summed_over_groups_of_channels():
    window = sliding_window((9, 70), 3, padding=1)
    features = torch.randn(1, 300, 9, 70, dtype=torch.float64, requires_grad=True)
    columns = F.unfold(features, 3, padding=1).unflatten(1, (300, 9))
    dots = (columns * columns[:, :, 4:5]).sum(1) / 300**0.5
    expected = dots.tanh().view(1, 9, 9, 70)
    kernel = correlate(features.detach(), window)
    torch.testing.assert_close(kernel, expected)
    grad = torch.randn_like(kernel)
    (theirs,) = torch.autograd.grad(expected, features, grad)
    torch.testing.assert_close(correlate_backward(grad, features.detach(), kernel, window), theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_float32(dtype):
    # One row each: 400 bands and 4 groups, whose sum in half precision would stop growing.
    window = sliding_window((400, 512), 1)
    x = torch.ones(1, 1, 400, 512, dtype=dtype)
    kernel, weight = torch.ones(1, 1, 400, 512, dtype=dtype), torch.ones(1, 1, 1, 1, dtype=dtype)
    found = convolve_backward(x / 64, x, kernel, weight, window, Wanted())
    torch.testing.assert_close(found.weight, torch.full_like(weight, 400 * 8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_close_in_both_passes(dtype):
    *given, window = case((9, 70), 300)
    half = [one.to(dtype) for one in given]
    exact = [one.double() for one in half]
    out = convolve(*half, window)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), convolve(*exact, window), rtol=2e-2, atol=2e-2)
    grad = torch.randn_like(out)
    found = convolve_backward(grad, *half[:3], window, Wanted())
    theirs = convolve_backward(grad.double(), *exact[:3], window, Wanted())
    for one, other in zip(found, theirs, strict=True):
        assert one.dtype == dtype
        error = (one.double() - other).norm() / other.norm()
        assert error < 1e-2
