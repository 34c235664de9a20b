import pytest
import torch
import torch.nn.functional as F

from ops.nets.operators import (
    NAMES,
    OPERATORS,
    Res2Block,
    SelfAttention,
    Skip,
    Zero,
    dilated_3,
    dilated_5,
    operator,
    separable_3,
    separable_5,
    unit_power,
)


def test_there_are_ten_operators_and_zero_in_the_order_that_a_row_of_alphas_has():
    assert " ".join(NAMES) == (
        "zero skip dilated_3 dilated_5 separable_3 separable_5 res2 self_attention residual "
        "deveiling fft"
    )


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (3, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_every_operator_keeps_the_shape_and_passes_gradients(name, size):
    x = torch.randn(2, 4, *size, requires_grad=True)
    layer = operator(name, 4)
    out = layer(x)
    assert out.shape == x.shape
    if name != "zero":
        out.square().sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_no_operator_looks_at_another_image_of_the_batch(name):
    layer, x = operator(name, 4), torch.randn(3, 4, 9, 7)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))


@pytest.mark.parametrize("name", NAMES[1:])
def test_fresh_operators_are_about_as_loud_as_each_other(name):
    x = torch.randn(2, 16, 16, 16)
    assert 0.5 < operator(name, 16)(x).std() < 2


def test_no_operator_has_running_statistics_and_no_normalisation_has_weights():
    for name, make in OPERATORS:
        layer = make(8)
        assert not list(layer.buffers()), name
        norms = [m for m in layer.modules() if isinstance(m, torch.nn.GroupNorm)]
        assert all(norm.weight is None for norm in norms), name


def test_zero_gives_zeros_even_where_the_input_is_not_a_number():
    x = torch.full((1, 2, 3, 3), float("nan"))
    assert torch.equal(Zero(2)(x), torch.zeros(1, 2, 3, 3))


def test_skip_gives_its_input():
    x = torch.randn(1, 2, 3, 3)
    assert Skip(2)(x) is x


@pytest.mark.parametrize(
    ("make", "reach"), [(dilated_3, 2), (dilated_5, 4), (separable_3, 2), (separable_5, 4)]
)
def test_a_convolution_reaches_as_far_as_its_kernels_say(make, reach):
    layer = make(4)
    for index, part in enumerate(layer):
        if isinstance(part, torch.nn.GroupNorm):
            layer[index] = torch.nn.Identity()  # it looks at the whole map
    x = torch.rand(1, 4, 17, 17, requires_grad=True)
    layer(x)[0, :, 8, 8].square().sum().backward()
    rows, columns = x.grad[0].abs().sum(0).nonzero().unbind(1)
    assert (rows.min(), rows.max()) == (8 - reach, 8 + reach)
    assert (columns.min(), columns.max()) == (8 - reach, 8 + reach)


def test_a_dilated_convolution_leaves_out_every_second_pixel():
    depthwise = dilated_3(2)[1]
    x = torch.zeros(1, 2, 7, 7)
    x[..., 3, 3] = 1
    rows, _ = depthwise(x)[0].abs().sum(0).nonzero().unbind(1)
    assert set(rows.tolist()) == {1, 3, 5}


def test_a_res2block_is_its_equation():
    block, x = Res2Block(8), torch.randn(2, 8, 6, 5)
    first, second, third, fourth = F.conv2d(F.relu(x), block.enter[1].weight).split(2, 1)

    def convolved(index, maps):
        return F.conv2d(maps, block.parts[index].weight, block.parts[index].bias, padding=1)

    second = convolved(0, second)
    third = convolved(1, third + F.relu(second))
    fourth = convolved(2, fourth + F.relu(third))
    joined = F.relu(torch.cat([first, second, third, fourth], 1))
    out = F.group_norm(F.conv2d(joined, block.leave[1].weight), 1)
    torch.testing.assert_close(block(x), x + out)


def test_self_attention_is_softmax_of_the_scores_written_out():
    layer, x = SelfAttention(8), torch.randn(2, 8, 7, 5)
    query = F.conv2d(x, layer.query.weight, layer.query.bias).flatten(2)
    context = F.conv2d(x, layer.context.weight, layer.context.bias)
    key, value = F.max_pool2d(context, 2).flatten(2).split(2, 1)
    scores = (query.mT @ key / 2**0.5).softmax(-1)
    found = (scores @ value.mT).mT.unflatten(2, (7, 5))
    wanted = x + F.group_norm(F.conv2d(found, layer.leave[0].weight), 1)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_self_attention_gives_the_moved_result_for_a_map_moved_by_whole_cells():
    layer, x = SelfAttention(8), torch.randn(1, 8, 8, 6)
    moved = x.roll((2, 4), (2, 3))
    torch.testing.assert_close(layer(moved), layer(x).roll((2, 4), (2, 3)), rtol=1e-4, atol=1e-5)


def test_attention_over_a_line_is_refused():
    with pytest.raises(ValueError, match=r"sides of 2 or more, got \(1, 5\)"):
        SelfAttention(4)(torch.zeros(1, 4, 1, 5))


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("fft", 3, "even.*got 3"),
        ("res2", 6, "multiple of 4, got 6"),
        ("res2", 0, "multiple of 4, got 0"),
        ("self_attention", 0, "at least one channel, got 0"),
        ("convolution", 4, "one of zero, skip.*got 'convolution'"),
    ],
)
def test_an_operator_that_cannot_be_made_is_refused_in_a_sentence(name, channels, message):
    with pytest.raises(ValueError, match=message):
        operator(name, channels)


def test_features_are_handed_on_at_unit_power_however_loud_they_are():
    maps = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(unit_power(100 * maps + 7), unit_power(maps), rtol=1e-3, atol=1e-3)
    power = unit_power(maps).square().mean((1, 2, 3))
    torch.testing.assert_close(power, torch.ones(2), rtol=1e-3, atol=0)
