import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ops.kernels.selective_attention import (
    Projections,
    Reading,
    SelectiveAttention,
    selective_attention,
)


def linears(d: int, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    return [nn.Linear(d, d, dtype=dtype) for _ in range(3)]


def written_out(f, kv, m, kv_m, maps, heads, reading, threshold):
    """The equations head by head and image by image, the scores stored whole."""
    blend = (m > 0.5).to(m.dtype) if reading.hard_blend else m
    out = []
    for i in range(len(f)):
        clean = kv[i] * (1 - kv_m[i, :, None])
        q = maps[0](f[i] * m[i, :, None])
        k = maps[1](clean if reading.masked_keys else kv[i])
        v = maps[2](clean)
        deltas = []
        for qh, kh, vh in zip(*(x.chunk(heads, 1) for x in (q, k, v)), strict=True):
            scores = torch.einsum("sc,mc->sm", qh, kh) / qh.shape[1] ** 0.5
            weights = scores.exp() / scores.exp().sum(1, keepdim=True)
            deltas.append(torch.einsum("sm,mc->sc", weights, vh))
        new = f[i] + blend[i, :, None] * (torch.cat(deltas, 1) - f[i])
        out.append(torch.where((blend[i] >= threshold)[:, None], new, f[i]))
    return torch.stack(out)


def case(b=2, n=7, d=8, dtype=torch.float32):
    mask = torch.rand(b, n, dtype=dtype) * (torch.rand(b, n) < 0.6)
    return torch.randn(b, n, d, dtype=dtype), mask


class LargestTensor(TorchDispatchMode):
    """Watches how many numbers the largest result of any operation holds."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(x.numel() for x in tree_leaves(result))])
        return result


@settings(max_examples=30, deadline=None)
@given(
    b=st.integers(1, 3),
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    heads=st.sampled_from([1, 2, 3]),
    width=st.integers(1, 5),
    threshold=st.sampled_from([0.0, 1 / 255, 0.4, 1.0]),
    masked_keys=st.booleans(),
    hard_blend=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_the_output_is_that_of_the_equations_written_out(
    b, n, m, heads, width, threshold, masked_keys, hard_blend, seed
):
    torch.manual_seed(seed)
    d, reading = heads * width, Reading(masked_keys, hard_blend)
    maps = linears(d)
    (f, mask), (kv, kv_mask) = case(b, n, d), case(b, m, d)
    options = {"kv_mask": kv_mask, "threshold": threshold, "reading": reading}
    ours = selective_attention(f, kv, mask, Projections(*maps, heads), **options)
    theirs = written_out(f, kv, mask, kv_mask, maps, heads, reading, threshold)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_gradients_are_those_of_the_equations_written_out():
    maps, found = linears(8, torch.float64), []
    f, mask = case(dtype=torch.float64)
    for way in (
        lambda f, m: selective_attention(f, f, m, Projections(*maps, 2)),
        lambda f, m: written_out(f, f, m, m, maps, 2, Reading(), 1 / 255),
    ):
        inputs = [f.clone().requires_grad_(), mask.clone().requires_grad_()]
        leaves = inputs + [x for layer in maps for x in layer.parameters()]
        found.append(torch.autograd.grad(way(*inputs).square().sum(), leaves))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reading", [Reading(), Reading(False, False), Reading(True, True)])
def test_gradients_agree_with_finite_differences(reading):
    maps = linears(4, torch.float64)
    f = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    # Far from the threshold and from 0.5, where the blend jumps by design.
    mask = torch.tensor([[0.2, 0.7, 0.0], [0.9, 0.3, 0.8]], dtype=torch.float64)
    mask[mask == 0] = 1e-4
    mask.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, m: selective_attention(f, f, m, Projections(*maps, 2), reading=reading), (f, mask)
    )


def test_rows_below_the_threshold_come_through_bit_for_bit():
    f, mask = case(3, 50, 8)
    mask[0, :10] = 1 / 256
    out = SelectiveAttention(8, heads=2)(f, mask)
    skipped = mask < 1 / 255
    assert torch.equal(out[skipped], f[skipped])
    assert (out[~skipped] != f[~skipped]).any(1).all()


def test_an_empty_mask_gives_the_input_itself_and_never_calls_the_projections():
    def never(_):
        raise AssertionError("a projection was computed")

    f = torch.randn(2, 5, 4)
    out = selective_attention(f, f, torch.zeros(2, 5), Projections(never, never, never, 2))
    assert out is f


def test_queries_are_computed_for_the_selected_rows_only():
    seen = {"query": 0, "value": 0, "mlp": 0}

    def counting(name):
        def count(x):
            seen[name] += x.shape[:-1].numel()
            return x

        return count

    mask = torch.tensor([[0.5, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    f = torch.randn(3, 4, 4)
    maps = Projections(counting("query"), lambda x: x, counting("value"), 2)
    selective_attention(f, f, mask, maps, transform=counting("mlp"))
    assert seen == {"query": 3, "value": 8, "mlp": 3}  # the second image needs no values


def test_all_masked_gives_the_bias_of_the_values_and_finite_gradients():
    layer = SelectiveAttention(8, heads=2)
    f = torch.randn(2, 5, 8, requires_grad=True)
    mask = torch.ones(2, 5, requires_grad=True)
    out = layer(f, mask)
    torch.testing.assert_close(out, layer.value.bias.expand_as(out))
    out.square().sum().backward()
    assert all(x.grad.isfinite().all() for x in (f, mask, *layer.parameters()))


def test_masked_keys_see_nothing_of_an_imperfect_token_and_unmasked_keys_do():
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    f = torch.randn(1, 4, 8)
    changed = f.clone()
    changed[:, 1] += 1
    for masked_keys in (True, False):
        layer = SelectiveAttention(8, heads=2, masked_keys=masked_keys)
        same = torch.allclose(layer(f, mask)[0, 0], layer(changed, mask)[0, 0])
        assert same is masked_keys


def test_a_hard_blend_takes_delta_whole_above_a_half_and_nothing_below():
    layer = SelectiveAttention(8, heads=2, hard_blend=True)
    f, mask = torch.randn(1, 3, 8), torch.tensor([[0.5, 0.51, 0.2]])
    out = layer(f, mask)
    assert torch.equal(out[0, [0, 2]], f[0, [0, 2]])
    with torch.no_grad():
        layer.value.weight.zero_()
        torch.testing.assert_close(layer(f, mask)[0, 1], layer.value.bias)


def test_the_threshold_changes_the_output_by_less_than_itself():
    f, mask = torch.randn(1, 40, 8), torch.rand(1, 40) / 100
    maps = Projections(*linears(8), 2)
    exact, skipping = (
        selective_attention(f, f, mask, maps, threshold=threshold) for threshold in (0.0, 1 / 255)
    )
    delta = f + (exact - f) / mask[..., None]
    assert not torch.equal(exact, skipping)
    assert ((exact - skipping).abs() <= (delta - f).abs() / 255 + 1e-6).all()


def test_the_order_of_the_keys_does_not_matter():
    f, mask = case(1, 6, 8)
    kv, kv_mask = case(1, 9, 8)
    layer, order = SelectiveAttention(8, heads=2), torch.randperm(9)
    torch.testing.assert_close(
        layer(f, mask, kv, kv_mask), layer(f, mask, kv[:, order], kv_mask[:, order])
    )


def test_a_mask_of_one_number_a_channel_that_repeats_one_a_token_is_the_same():
    f, mask = case(2, 6, 8)
    layer = SelectiveAttention(8, heads=2)
    expected = layer(f, mask)
    torch.testing.assert_close(layer(f, mask.unsqueeze(-1)), expected)
    torch.testing.assert_close(layer(f, mask.unsqueeze(-1).expand_as(f)), expected)


def test_a_row_is_selected_if_one_of_its_channels_is():
    f, mask = torch.randn(1, 2, 8), torch.zeros(1, 2, 8)
    mask[0, 1, 3] = 1
    changed = SelectiveAttention(8, heads=2)(f, mask) != f
    assert changed.nonzero().tolist() == [[0, 1, 3]]


def test_no_matrix_of_scores_is_stored_in_either_pass():
    n, d, watch = 400, 8, LargestTensor()
    layer = SelectiveAttention(d, heads=2)
    f = torch.randn(1, n, d, requires_grad=True)
    mask = (torch.rand(1, n) < 0.25).float()
    with watch:
        layer(f, mask).sum().backward()
    selected = int(mask.sum())
    assert n * d <= watch.numbers < selected * n / 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_of_the_tokens_is_kept(dtype):
    layer, (f, mask) = SelectiveAttention(8, heads=2), case()
    out = layer.to(dtype)(f.to(dtype), mask)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), layer.float()(f, mask), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_keeps_the_tokens_dtype_and_comes_close(dtype):
    layer, (f, mask) = SelectiveAttention(8, heads=2, mlp=nn.Linear(8, 8)), case()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(f.to(dtype), mask)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), layer(f, mask), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("b", [0, 1])
def test_an_empty_or_single_batch_and_strided_tokens_work(b):
    layer = SelectiveAttention(8, heads=2)
    f, mask = torch.randn(b, 8, 5).transpose(1, 2), torch.rand(b, 5)
    assert not f.is_contiguous() or b == 0
    torch.testing.assert_close(layer(f, mask), layer(f.contiguous(), mask))


@pytest.mark.parametrize("threshold", [-0.1, 1.5])
def test_a_threshold_outside_the_masks_range_is_refused(threshold):
    f, mask = case()
    with pytest.raises(ValueError, match=rf"threshold must be in \[0, 1\], .* got {threshold}"):
        selective_attention(f, f, mask, Projections(*linears(8), 2), threshold=threshold)
    with pytest.raises(ValueError, match="threshold must be in"):
        SelectiveAttention(8, threshold=threshold)


def test_heads_that_do_not_share_the_width_are_refused():
    f, mask = case()
    with pytest.raises(ValueError, match="multiple of the 3 heads, got 8"):
        selective_attention(f, f, mask, Projections(*linears(8), 3))
    with pytest.raises(ValueError, match="got dim 8 and heads 3"):
        SelectiveAttention(8, heads=3)


def test_other_keys_without_a_mask_of_their_own_are_refused():
    (f, mask), (kv, _) = case(2, 7, 8), case(2, 5, 8)
    with pytest.raises(ValueError, match="give kv_mask: the 5 kv_tokens"):
        selective_attention(f, kv, mask, Projections(*linears(8), 2))


@pytest.mark.parametrize("hard_blend", [False, True])
def test_the_compiled_layer_agrees_in_both_passes(unchecked_types, hard_blend):
    layer = SelectiveAttention(8, heads=2, hard_blend=hard_blend, mlp=nn.Linear(8, 8))
    f, mask = case()
    mask[0, 0] = 1 / 300
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    found = []
    for way in (layer, compiled):
        tokens = f.clone().requires_grad_()
        out = way(tokens, mask)
        found.append((out, torch.autograd.grad(out.square().sum(), tokens)[0]))
    torch.testing.assert_close(found[1], found[0])
    skipped = mask < 1 / 255
    assert torch.equal(found[1][0][skipped], f[skipped])


def test_the_exported_layer_agrees_for_any_size_and_mask():
    layer = SelectiveAttention(8, heads=2, mlp=nn.Linear(8, 8)).eval()
    b, n = torch.export.Dim("b"), torch.export.Dim("n")
    program = torch.export.export(layer, case(), dynamic_shapes=({0: b, 1: n}, {0: b, 1: n}))
    f, mask = case(3, 12, 8)
    for weights in (mask, torch.zeros_like(mask), torch.ones_like(mask)):
        torch.testing.assert_close(program.module()(f, weights), layer(f, weights))
