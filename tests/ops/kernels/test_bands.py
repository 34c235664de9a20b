import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.kernels.bands import pair, sliding_window

CPU = torch.device("cpu")
small = st.tuples(st.integers(1, 3), st.integers(1, 3))
geometries = st.fixed_dictionaries(
    {
        "map_size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "size": small,
        "stride": small,
        "padding": st.tuples(st.integers(0, 5), st.integers(0, 5)),
        "dilation": small,
    }
)


def window_of(geometry):
    """None where the window is larger than the padded map."""
    try:
        return sliding_window(**geometry)
    except ValueError:
        return None


@settings(max_examples=150, deadline=None)
@given(geometry=geometries)
def test_the_views_of_all_bands_are_the_columns_of_the_whole_map(geometry):
    window = window_of(geometry)
    x = torch.randn(2, *geometry["map_size"])
    others = {key: geometry[key] for key in ("stride", "padding", "dilation")}
    if window is None:
        with pytest.raises(RuntimeError):
            F.unfold(x[None], geometry["size"], **others)
        return
    columns = F.unfold(x[None], geometry["size"], **others).view(2, *window.size, *window.output)
    for row in range(window.output[0]):
        rows = slice(row, min(row + 2, window.output[0]))
        assert torch.equal(window.views(window.cut(x, rows), rows), columns[:, :, :, rows])


@settings(max_examples=60, deadline=None)
@given(geometry=geometries, seed=st.integers(0, 99))
def test_adding_back_is_the_adjoint_of_cutting(geometry, seed):
    if (window := window_of(geometry)) is None:
        return
    torch.manual_seed(seed)
    rows = slice(window.output[0] // 2, window.output[0])
    x = torch.randn(2, *geometry["map_size"], dtype=torch.float64)
    band = window.cut(x, rows)
    other, total = torch.randn_like(band), torch.zeros_like(x)
    window.add_back(total, other, rows)
    torch.testing.assert_close((band * other).sum(), (x * total).sum())
    assert not window.empty_band(x, rows, x.dtype).any()
    assert window.empty_band(x, rows, x.dtype).shape == band.shape


@pytest.mark.parametrize(
    ("output", "channels"), [((128, 128), 64), ((16, 16), 1024), ((3, 5000), 7), ((64, 64), 2)]
)
def test_tiles_cover_everything_once_and_none_is_larger_than_the_buffer(output, channels):
    window = sliding_window(output, 3, padding=1)
    seen = torch.zeros(channels, output[0])
    for rows in window.bands(channels, CPU):
        for group in window.channel_groups(channels, rows, CPU):
            seen[group, rows] += 1
            tile = seen[group, rows].numel() * output[1] * window.taps
            assert tile <= 64 * 9 * 512 or seen[group, rows].numel() == 1
    assert torch.equal(seen, torch.ones_like(seen))


def test_a_row_that_is_larger_than_the_buffer_is_still_a_band():
    window = sliding_window((2, 400_000), 1)
    assert list(window.bands(1, CPU)) == [slice(0, 1), slice(1, 2)]
    assert list(window.channel_groups(2, slice(0, 1), CPU)) == [slice(0, 1), slice(1, 2)]


@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (3, 2), (5, 1), ((1, 5), 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_same_and_valid_padding_are_those_of_conv2d(size, dilation, padding):
    x, weight = torch.randn(1, 1, 13, 14), torch.ones(1, 1, *pair(size, "size", 1))
    window = sliding_window((13, 14), size, padding=padding, dilation=dilation)
    rows = slice(0, window.output[0])
    expected = F.conv2d(x, weight, padding=padding, dilation=dilation)
    torch.testing.assert_close(
        window.views(window.cut(x[0], rows), rows).sum((0, 1, 2)), expected[0, 0]
    )


def test_same_padding_of_an_even_window_pads_more_below_and_right_as_conv2d_does():
    x = torch.randn(1, 1, 6, 7)
    window = sliding_window((6, 7), (2, 4), padding="same")
    rows = slice(0, 6)
    padded = F.pad(x, (1, 2, 0, 1))
    expected = F.conv2d(padded, torch.ones(1, 1, 2, 4))
    torch.testing.assert_close(
        window.views(window.cut(x[0], rows), rows).sum((0, 1, 2)), expected[0, 0]
    )


def test_the_window_reaches_behind_the_map_by_what_its_ends_say():
    assert sliding_window((5, 6), 3, padding=1).ends() == (6, 7)
    assert sliding_window((5, 6), 3, stride=2).ends() == (5, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "kernel_size must be one or two integers from 1 on, got 0"),
        ({"stride": (1, 0)}, r"stride must be .* got \(1, 0\)"),
        ({"dilation": (1, 2, 3)}, r"dilation must be .* got \(1, 2, 3\)"),
        ({"padding": -1}, "padding must be one or two integers from 0 on, got -1"),
        ({"padding": "sam"}, 'padding must be integers, "same" or "valid", got "sam"'),
        ({"padding": "same", "stride": 2}, r'padding "same" needs stride 1, got \(2, 2\)'),
        ({"dilation": 4}, "the window spans 9 x 9 and the map has only 8 x 8"),
    ],
)
def test_settings_out_of_range_are_refused(unchecked_types, changes, message):
    with pytest.raises(ValueError, match=message):
        sliding_window(**{"map_size": (8, 8), "size": 3, **changes})
