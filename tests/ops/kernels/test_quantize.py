import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ops.kernels import quantize
from ops.kernels.quantize import Codebook, nearest_code, perplexity, prior_loss, straight_through


class LargestTensor(TorchDispatchMode):
    """Watches how many numbers the largest result of any operation holds."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(x.numel() for x in tree_leaves(result))])
        return result


def distances(z, codebook):
    """All distances in float64, (b, h, w, k), by torch's own cdist."""
    exact = torch.cdist(z.double().movedim(1, -1).flatten(0, 2), codebook.double())
    return exact.view(z.shape[0], *z.shape[2:], len(codebook))


def are_nearest(indices, z, codebook, slack=1e-5):
    exact = distances(z, codebook)
    chosen = exact.gather(-1, indices.unsqueeze(-1)).squeeze(-1)
    return bool((chosen <= exact.amin(-1) * (1 + slack) + slack).all())


@settings(max_examples=30, deadline=None)
@given(
    b=st.integers(0, 3),
    d=st.integers(1, 9),
    h=st.integers(1, 7),
    w=st.integers(1, 5),
    k=st.integers(1, 300),
    chunk=st.sampled_from([1, 30, 2**19]),
    seed=st.integers(0, 10**6),
)
def test_the_indices_are_those_of_exact_distances(b, d, h, w, k, chunk, seed):
    torch.manual_seed(seed)
    z, codebook = torch.randn(b, d, h, w), torch.randn(k, d)
    with pytest.MonkeyPatch.context() as patch, LargestTensor() as watch:
        patch.setattr(quantize, "_CHUNK", chunk)
        indices = nearest_code(z, codebook)
    # What is left are inputs, codes and indices: never the b * h * w * k distances.
    assert watch.numbers <= max(chunk, k, z.numel(), codebook.numel(), indices.numel())
    assert indices.dtype == torch.int64
    assert are_nearest(indices, z, codebook)


def test_codes_far_from_zero_are_told_apart():
    z, codebook = torch.randn(1, 16, 8, 8) + 3000, torch.randn(64, 16) + 3000
    assert torch.equal(nearest_code(z, codebook), distances(z, codebook).argmin(-1))


def test_each_code_is_nearest_to_itself():
    codebook = torch.randn(30, 7)
    z = codebook.t().reshape(1, 7, 5, 6)
    assert torch.equal(nearest_code(z, codebook).flatten(), torch.arange(30))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_low_precision_features_are_compared_in_float32(dtype):
    z, codebook = torch.randn(2, 8, 5, 3, dtype=dtype), torch.randn(200, 8, dtype=dtype)
    assert torch.equal(nearest_code(z, codebook), distances(z, codebook).argmin(-1))


def test_autocast_changes_no_index():
    z, codebook = torch.randn(1, 8, 9, 9), torch.randn(500, 8)
    with torch.autocast("cpu", torch.bfloat16):
        indices = nearest_code(z, codebook)
    assert torch.equal(indices, nearest_code(z, codebook))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_memory_layout_does_not_matter(layout):
    z, codebook = torch.randn(2, 5, 4, 3), torch.randn(10, 5)
    expected = nearest_code(z.transpose(2, 3), codebook).transpose(1, 2)
    assert torch.equal(nearest_code(z.contiguous(memory_format=layout), codebook), expected)


def test_straight_through_gives_the_codes_bit_for_bit_and_their_gradient_to_the_features():
    z = (torch.randn(50) * 1e4).requires_grad_()
    quantized = torch.randn(50, requires_grad=True)
    out = straight_through(z, quantized)
    assert torch.equal(out, quantized)
    out.backward(out.detach())
    assert torch.equal(z.grad, out)
    assert quantized.grad is None


def test_the_prior_loss_pulls_codes_and_features_with_different_strength():
    z, e = (torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss = prior_loss(z, e, 0.25)
    torch.testing.assert_close(loss, 1.25 * (z - e).square().mean())
    from_z, from_e = torch.autograd.grad(loss, (z, e))
    pull = 2 * (e - z) / z.numel()
    torch.testing.assert_close(from_e, pull)
    torch.testing.assert_close(from_z, -0.25 * pull)


def test_each_half_of_the_prior_loss_agrees_with_finite_differences():
    z, e = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    other = F.mse_loss  # what the stopped half adds to the value; it has no gradient
    assert torch.autograd.gradcheck(
        lambda z: prior_loss(z, e.detach(), 0.25) - other(e.detach(), z.detach()), z
    )
    assert torch.autograd.gradcheck(
        lambda e: prior_loss(z.detach(), e, 0.25) - 0.25 * other(z.detach(), e.detach()), e
    )


def test_the_perplexity_is_the_number_of_codes_in_even_use():
    assert perplexity(torch.tensor([3, 3, 3]), 8).item() == 1
    torch.testing.assert_close(perplexity(torch.arange(8).repeat(5), 8), torch.tensor(8.0))
    two_to_one = torch.tensor(3 / 2 ** (2 / 3))
    torch.testing.assert_close(perplexity(torch.tensor([[0, 0, 1]]), 9), two_to_one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_codebook_gives_codes_indices_and_loss(dtype):
    book, z = Codebook(6, 3), torch.randn(2, 3, 4, 5).to(dtype).requires_grad_()
    values, indices, loss = book(z)
    assert values.dtype == dtype
    assert torch.equal(values.movedim(1, -1), book.codes[indices].to(dtype))
    torch.testing.assert_close(
        loss, 1.25 * (z.float() - book.codes[indices].movedim(-1, 1)).square().mean()
    )
    (values.float().sum() + loss).backward()
    assert z.grad.isfinite().all()
    assert (book.codes.grad.abs().sum(1) > 0).sum() == len(indices.unique())


def test_the_codes_gradient_agrees_with_finite_differences():
    book = Codebook(4, 3, commitment=0.0).double()
    z = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda codes: torch.func.functional_call(book, {"codes": codes}, (z,)).loss, book.codes
    )


def test_forward_changes_no_state():
    book = Codebook(6, 3).train()
    before = {name: value.clone() for name, value in book.state_dict().items()}
    book(torch.randn(1, 3, 4, 4))
    assert all(torch.equal(before[name], value) for name, value in book.state_dict().items())


def is_feature(codes, z):
    features = z.movedim(1, -1).flatten(0, 2)
    return (codes[:, None] == features[None]).all(-1).any(1)


def test_the_first_restart_takes_every_code_from_the_features_as_the_generator_says():
    books, z = [Codebook(5, 3) for _ in range(2)], torch.randn(2, 3, 4, 4)
    for book in books:
        assert book.restart_dead_codes(z, generator=torch.Generator().manual_seed(5)) == 5
        assert book.started
        assert book.restart_dead_codes(z) == 0
    assert is_feature(books[0].codes, z).all()
    assert torch.equal(books[0].codes, books[1].codes)


def test_a_code_unused_for_restart_after_updates_is_replaced_and_no_other():
    book, z = Codebook(3, 2, restart_after=2), torch.randn(1, 2, 4, 4)
    book.restart_dead_codes(z)
    book.codes.data = torch.tensor([[0.0, 0.0], [99.0, 99.0], [0.1, 0.1]])
    used = book.codes[[0, 2]].clone()
    assert [book.restart_dead_codes(z) for _ in range(3)] == [0, 1, 0]
    assert torch.equal(book.codes[[0, 2]], used)
    assert is_feature(book.codes[1:2], z).all()


def test_usage_follows_the_shares_of_the_codes_and_unused_counts_updates():
    book = Codebook(2, 1, restart_after=10)
    book.codes.data = torch.tensor([[0.0], [10.0]])
    book.started.fill_(True)
    for _ in range(3):
        book.restart_dead_codes(torch.tensor([0.0, 0.0, 0.0, 0.2]).view(1, 1, 2, 2))
    torch.testing.assert_close(book.usage, torch.tensor([1 - 0.5 * 0.9**3, 0.5 * 0.9**3]))
    assert book.unused.tolist() == [0, 3]


def test_features_that_are_not_finite_are_neither_counted_nor_taken():
    book, z = Codebook(40, 2), torch.randn(1, 2, 4, 4)
    z[0, 1, :3] = torch.nan
    z[0, 0, 3, :2] = torch.inf
    indices = torch.arange(16).view(1, 4, 4)
    book.restart_dead_codes(z, indices)
    assert is_feature(book.codes, z[:, :, 3:, 2:]).all()
    assert (book.usage > 0.98 / 40).all()
    assert (book.usage > 1 / 40).nonzero().flatten().tolist() == [14, 15]


def test_without_a_finite_feature_nothing_is_replaced_and_the_codebook_stays_unstarted():
    book = Codebook(4, 2)
    assert book.restart_dead_codes(torch.full((1, 2, 3, 3), torch.nan)) == 0
    assert book.codes.isfinite().all()
    assert not book.started


def test_a_saved_codebook_goes_on_as_it_was():
    book, copy, z = Codebook(4, 3), Codebook(4, 3), torch.randn(1, 3, 4, 4)
    book.restart_dead_codes(z)
    copy.load_state_dict(book.state_dict())
    assert [x.restart_dead_codes(z) for x in (book, copy)] == [0, 0]
    for name, value in book.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)


def restart_in_parallel(rank):
    torch.manual_seed(rank)
    book = Codebook(6, 2, restart_after=1)
    torch.nn.init.zeros_(book.codes)
    z = torch.full((1, 2, 2, 2), float(rank)) + torch.rand(1, 2, 2, 2) / 2
    first = book.restart_dead_codes(z)
    codes = book.codes.detach().clone()
    # Rank 0 uses codes 0 and 1, rank 1 codes 1 and 2: only the other three are dead.
    indices = torch.tensor([[[0, 1], [0, 1]]]) + rank
    second = book.restart_dead_codes(z, indices)
    return {"z": z, "codes": codes, "restarts": (first, second), "state": book.state_dict()}


def test_two_processes_end_with_the_same_codes_and_summed_uses(two_processes):
    ranks = two_processes(restart_in_parallel)
    assert all(rank["restarts"] == (6, 3) for rank in ranks)
    for name, value in ranks[0]["state"].items():
        assert torch.equal(value, ranks[1]["state"][name])
    assert is_feature(ranks[1]["codes"], ranks[0]["z"]).all()
    assert ranks[0]["state"]["unused"].tolist() == [0] * 6
    torch.testing.assert_close(
        ranks[0]["state"]["usage"], torch.tensor([0.25, 0.5, 0.25, 0.0, 0.0, 0.0])
    )


Z = torch.zeros(1, 3, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_code(Z, torch.zeros(4, 2)), "codes of 3 numbers .* got shape .4, 2."),
        (lambda: nearest_code(Z, torch.zeros(0, 3)), "codes of 3 numbers .* got shape .0, 3."),
        (lambda: Codebook(4, 2).restart_dead_codes(Z), "codes of 3 numbers .* got shape .4, 2."),
        (lambda: straight_through(Z, Z[:, :2]), "shape .1, 3, 2, 2., got .1, 2, 2, 2."),
        (lambda: prior_loss(Z, Z, -0.5), "commitment must be at least 0, got -0.5"),
        (lambda: perplexity(torch.zeros(0, dtype=torch.int64), 4), "at least one index"),
        (lambda: Codebook(0), "at least 1 and .* got 0, 256, 100 and 0.25"),
        (lambda: Codebook(4, 2, restart_after=0), "at least 1 and .* got 4, 2, 0 and 0.25"),
        (lambda: Codebook(4, 2, -1.0), "commitment at least 0, got 4, 2, 100 and -1.0"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(unchecked_types, call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_compiled_codebook_agrees_in_both_passes(unchecked_types):
    book, z = Codebook(6, 3), torch.randn(2, 3, 4, 5)
    found = []
    for way in (book, torch.compile(book, backend="aot_eager", fullgraph=True)):
        features = z.clone().requires_grad_()
        values, indices, loss = way(features)
        pull = torch.autograd.grad(values.square().sum() + loss, (features, book.codes))
        found.append((values, indices, loss, *pull))
    torch.testing.assert_close(found[1], found[0])


def test_the_exported_codebook_agrees_for_any_size(unchecked_types):
    book = Codebook(6, 3).eval()
    shapes = ({0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    program = torch.export.export(book, (torch.randn(2, 3, 4, 5),), dynamic_shapes=shapes)
    other = torch.randn(3, 3, 7, 6)
    torch.testing.assert_close(tuple(program.module()(other)), tuple(book(other)))
