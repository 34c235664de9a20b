import pytest
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from ops.kernels import pac_operators
from ops.kernels.pac import PixelAdaptiveConv2d

# The fourth, of dynamic shapes under autograd, takes half a minute; the compiled layer stands in.
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
SETTINGS = ([2, 2], [1, 1], [1, 1])


def arguments():
    sizes = [(2, 3, 6, 5), (2, 9, 3, 3), (4, 3, 3, 3), (4,)]
    return [torch.randn(*size, requires_grad=True) for size in sizes]


def test_torch_finds_nothing_wrong_with_the_convolution(unchecked_types):
    torch.library.opcheck(pac_operators.convolve, (*arguments(), *SETTINGS), test_utils=CHECKS)


def test_a_convolution_without_bias_is_one_with_a_bias_of_0():
    *given, bias = arguments()
    out = pac_operators.convolve(*given, None, *SETTINGS)
    torch.testing.assert_close(out, pac_operators.convolve(*given, 0 * bias, *SETTINGS))
    out.sum().backward()
    assert all(one.grad is not None for one in given)


def test_torch_finds_nothing_wrong_with_the_tap_weights(unchecked_types):
    features = torch.randn(2, 4, 6, 5, requires_grad=True)
    settings = ([3, 3], [2, 2], [1, 1], [1, 1], [3, 3])
    torch.library.opcheck(pac_operators.correlate, (features, *settings), test_utils=CHECKS)


@pytest.mark.parametrize("index", range(4))
def test_a_gradient_comes_alone_where_only_one_is_wanted(index):
    given = [one.detach() for one in arguments()]
    every = [one.clone().requires_grad_() for one in given]
    pac_operators.convolve(*every, *SETTINGS).sum().backward()
    given[index].requires_grad_()
    pac_operators.convolve(*given, *SETTINGS).sum().backward()
    torch.testing.assert_close(given[index].grad, every[index].grad)
    assert sum(one.grad is not None for one in given) == 1


def test_gradients_that_are_not_contiguous_are_as_good():
    given = arguments()
    out = pac_operators.convolve(*given, *SETTINGS)
    grad = torch.randn(2, 3, 3, 4).permute(0, 3, 1, 2)
    found = torch.autograd.grad(out, given, grad, retain_graph=True)
    for a, b in zip(found, torch.autograd.grad(out, given, grad.contiguous()), strict=True):
        torch.testing.assert_close(a, b)


def test_the_compiled_layer_agrees_in_both_passes(unchecked_types):
    layer = PixelAdaptiveConv2d(3, 4, stride=2)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x, found = torch.randn(2, 3, 7, 6), []
    for way in (layer, compiled):
        leaf = x.clone().requires_grad_()
        out = way(leaf, leaf)
        found.append((out, *torch.autograd.grad(out.square().sum(), [leaf, *layer.parameters()])))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_no_gradient(reentrant):
    layer = PixelAdaptiveConv2d(3, 4)
    x, found = torch.randn(2, 3, 7, 6), []
    for way in (layer, lambda *a: checkpoint(layer, *a, use_reentrant=reentrant)):
        leaf = x.clone().requires_grad_()
        found.append(_gradients(way, leaf, layer))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def _gradients(way, leaf, layer):
    layer.zero_grad()
    way(leaf, leaf).square().sum().backward()
    return [leaf.grad, *(one.grad.clone() for one in layer.parameters())]


def test_two_processes_find_the_gradient_of_both_halves_of_a_batch(two_processes):
    x = torch.randn(4, 3, 6, 6)

    def gradients(rank):
        torch.manual_seed(1)
        layer = DistributedDataParallel(PixelAdaptiveConv2d(3, 4))
        part = x[2 * rank : 2 * rank + 2]
        layer(part, part).square().mean().backward()
        return [one.grad for one in layer.parameters()]

    torch.manual_seed(1)
    whole = PixelAdaptiveConv2d(3, 4)
    whole(x, x).square().mean().backward()
    for ours in two_processes(gradients):
        for a, b in zip(ours, whole.parameters(), strict=True):
            torch.testing.assert_close(a, b.grad)


def test_a_second_derivative_is_refused_and_not_wrong():
    x, *others = arguments()
    out = pac_operators.convolve(x, *others, *SETTINGS)
    (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        first.sum().backward()


def test_the_counter_of_operations_sees_the_convolution_and_its_kernel():
    layer = PixelAdaptiveConv2d(8, 12, features=5)
    x = torch.rand(2, 8, 10, 6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x, x)
    counts = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    pixels, taps = 2 * 10 * 6, 9
    assert counts["visagist.pixel_adaptive_conv2d"] == pixels * taps * 8 * (2 * 12 + 1)
    assert counts["visagist.adaptive_kernel"] == 2 * 5 * pixels * taps
