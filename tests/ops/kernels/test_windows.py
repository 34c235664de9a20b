import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.kernels.windows import merge, partition


def places(levels: int, h: int, w: int) -> torch.Tensor:
    """A grid (1, levels, 3, h, w) whose tokens say where they are: level, row, column."""
    return torch.stack(
        torch.meshgrid(torch.arange(levels), torch.arange(h), torch.arange(w), indexing="ij"), 1
    ).unsqueeze(0)


@settings(max_examples=30, deadline=None)
@given(
    b=st.integers(0, 2),
    levels=st.integers(1, 3),
    d=st.integers(1, 5),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    window_and_shift=st.integers(1, 4).flatmap(
        lambda window: st.tuples(st.just(window), st.integers(0, window - 1))
    ),
)
def test_merge_undoes_partition(b, levels, d, rows, columns, window_and_shift):
    window, shift = window_and_shift
    h, w = rows * window, columns * window
    tokens = torch.arange(b * levels * d * h * w).reshape(b, levels, d, h, w)
    windows = partition(tokens, window, shift)
    assert windows.shape == (b * rows * columns, levels * window**2, d)
    assert torch.equal(merge(windows, (h, w), window, shift), tokens) or b == 0


def test_windows_are_the_slices_of_the_grid_written_out():
    tokens = torch.randn(2, 3, 5, 6, 9)
    windows = partition(tokens, 3)
    by_hand = [
        tokens[image, :, :, row : row + 3, column : column + 3].movedim(1, -1).reshape(27, 5)
        for image in range(2)
        for row in (0, 3)
        for column in (0, 3, 6)
    ]
    assert torch.equal(windows, torch.stack(by_hand))


def test_the_tokens_of_a_window_are_neighbours_in_the_grid():
    windows = partition(places(2, 8, 12), 4)
    level, row, column = windows.unbind(-1)
    assert (row.amax(1) - row.amin(1) == 3).all()
    assert (column.amax(1) - column.amin(1) == 3).all()
    assert (level.amax(1) - level.amin(1) == 1).all()


def test_only_the_last_row_and_column_of_shifted_windows_join_opposite_borders():
    windows = partition(places(1, 8, 12), 4, shift=2)
    _, row, column = windows.unbind(-1)
    tall = (row.amax(1) - row.amin(1) > 3).view(2, 3)
    wide = (column.amax(1) - column.amin(1) > 3).view(2, 3)
    assert tall.tolist() == [[False] * 3, [True] * 3]
    assert wide.tolist() == [[False, False, True]] * 2


def test_a_shifted_window_begins_at_the_shift():
    first = partition(places(1, 8, 8), 4, shift=2)[0]
    assert first[0].tolist() == [0, 2, 2]
    assert first[-1].tolist() == [0, 5, 5]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.bool])
def test_the_dtype_is_kept(dtype):
    tokens = torch.ones(1, 2, 3, 4, 4, dtype=dtype)
    windows = partition(tokens, 2, 1)
    assert windows.dtype == merge(windows, (4, 4), 2, 1).dtype == dtype


def test_gradients_pass_in_float64():
    tokens = torch.randn(1, 2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: partition(x, 2, 1), tokens)
    windows = torch.randn(4, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: merge(x, (4, 4), 2, 1), windows)


@pytest.mark.parametrize("window", [0, 3, -2])
def test_a_window_that_does_not_divide_the_grid_is_refused(window):
    with pytest.raises(ValueError, match=f"window must divide the 4 x 6 grid, got {window}"):
        partition(torch.zeros(1, 1, 1, 4, 6), window)
    with pytest.raises(ValueError, match="window must divide"):
        merge(torch.zeros(6, 4, 1), (4, 6), window)


@pytest.mark.parametrize("shift", [-1, 2])
def test_a_shift_outside_the_window_is_refused(shift):
    with pytest.raises(ValueError, match=rf"shift must be in \[0, 2\), .* got {shift}"):
        partition(torch.zeros(1, 1, 1, 4, 4), 2, shift)


@pytest.mark.parametrize("shape", [(5, 4, 1), (4, 5, 1)])
def test_windows_that_do_not_fill_the_grid_are_refused(shape):
    with pytest.raises(ValueError, match=f"got {shape[0]} windows of {shape[1]}"):
        merge(torch.zeros(shape), (4, 4), 2)


def test_windows_compile_without_a_break(unchecked_types):
    def there_and_back(tokens):
        return merge(partition(tokens, 2, 1) * 2, (4, 4), 2, 1)

    tokens = torch.randn(1, 2, 3, 4, 4)
    compiled = torch.compile(there_and_back, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(tokens), tokens * 2)


class ThereAndBack(torch.nn.Module):
    def forward(self, tokens):
        return merge(partition(tokens, 2, 1) * 2, tokens.shape[-2:], 2, 1)


def test_windows_export_for_any_grid(unchecked_types):
    half_h, half_w = torch.export.Dim("half_h", min=2), torch.export.Dim("half_w", min=2)
    shapes = ({0: torch.export.Dim("b"), 3: 2 * half_h, 4: 2 * half_w},)
    tokens = torch.randn(2, 2, 3, 4, 8)
    program = torch.export.export(ThereAndBack(), (tokens,), dynamic_shapes=shapes).module()
    other = torch.randn(3, 2, 3, 6, 4)
    assert torch.equal(program(other), other * 2)
