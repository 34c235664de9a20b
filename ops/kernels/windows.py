"""Square windows of a token grid, cut and put back without loss.

Global attention over six levels of a 64 x 64 grid is 24,576 tokens; in windows the cost grows
with the number of pixels and not with its square. Shifting every second block's windows by half
a window (as Swin Transformer does) lets neighbouring windows exchange what they know.
"""

from jaxtyping import Shaped
from torch import Tensor


def partition(
    tokens: Shaped[Tensor, "b levels d h w"], window: int, shift: int = 0
) -> Shaped[Tensor, "b_windows n d"]:
    """The grid's windows as batch elements, all levels of a window together.

    Windows are ordered by image, then row, then column; the n = levels * window * window tokens
    of one are ordered by level, row, column. Axes are permuted before they are merged, so a token
    keeps its own d numbers (the released code reshapes across axes and mixes them;
    `test_the_tokens_of_a_window_are_neighbours_in_the_grid`).

    Deviation: the shift is a plain roll, so the last row and column of shifted windows join
    opposite borders, and no attention mask parts them. Swin needs that mask since its positional
    bias is wrong across the seam; RetouchFormer's attention has no positional term, and in its
    global form those tokens see each other anyway. Which windows it concerns:
    `test_only_the_last_row_and_column_of_shifted_windows_join_opposite_borders`.

    Args:
        tokens: every level brought to one grid.
        window: side of a window in tokens; divides h and w.
        shift: how far the windows move down and right, 0 <= shift < window.

    Raises:
        ValueError: if `window` does not divide the grid, or `shift` is out of range.
    """
    b, levels, d, h, w = tokens.shape
    _check(h, w, window, shift)
    if shift:
        tokens = tokens.roll((-shift, -shift), (-2, -1))
    grid = tokens.reshape(b, levels, d, h // window, window, w // window, window)
    windows = grid.permute(0, 3, 5, 1, 4, 6, 2)
    return windows.reshape(b * (h // window) * (w // window), levels * window * window, d)


def merge(
    windows: Shaped[Tensor, "b_windows n d"], size: tuple[int, int], window: int, shift: int = 0
) -> Shaped[Tensor, "b levels d h w"]:
    """The grid of `size` (h, w) whose `partition` is `windows`: its exact inverse.

    Args:
        windows: as `partition` gives them.
        size: height and width of the grid.
        window: as given to `partition`.
        shift: as given to `partition`.

    Raises:
        ValueError: if `window` does not divide the grid, `shift` is out of range, or the number
            of windows or of their tokens does not fit `size`.
    """
    h, w = size
    _check(h, w, window, shift)
    rows, columns = h // window, w // window
    count, n, d = windows.shape
    if count % (rows * columns) or n % (window * window):
        raise ValueError(
            f"a {h} x {w} grid in windows of {window} needs a multiple of {rows * columns} windows "
            f"and of {window * window} tokens each, got {count} windows of {n}"
        )
    levels = n // (window * window)
    grid = windows.reshape(-1, rows, columns, levels, window, window, d)
    tokens = grid.permute(0, 3, 6, 1, 4, 2, 5).reshape(-1, levels, d, h, w)
    return tokens.roll((shift, shift), (-2, -1)) if shift else tokens


def _check(h: int, w: int, window: int, shift: int) -> None:
    if window < 1 or h % window or w % window:
        raise ValueError(
            f"window must divide the {h} x {w} grid, got {window}; resize or pad the grid first"
        )
    if not 0 <= shift < window:
        raise ValueError(f"shift must be in [0, {window}), the window's side, got {shift}")
