"""Sliding windows over a map, met in bands of rows, so that no map is ever unfolded whole."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor

Pair = tuple[int, int]
Padding = int | Pair | Literal["same", "valid"]
# 512 pixels by 64 channels by 3 x 3 taps: 1.2 MB of float32, which a core keeps in its caches.
_BAND_PIXELS, _BUFFER = 512, 64 * 9 * 512
_BUFFER_OF_DEVICES = 16 * _BUFFER  # elsewhere a launch costs more than a cache saves


class Window(NamedTuple):
    """The places that a sliding window visits and the taps it has at each; all (rows, columns).

    Attributes:
        size: number of taps.
        stride: from one place to the next.
        padding: rows above and columns left of the map.
        dilation: from one tap to the next.
        output: number of places.
    """

    size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output: Pair

    @property
    def taps(self) -> int:
        """Number of taps at a place."""
        return self.size[0] * self.size[1]

    def bands(self, channels: int, device: torch.device) -> Iterator[slice]:
        """Rows of places, from the top, each band of a size that suits the device."""
        buffer = _buffer(device)
        pixels = max(_BAND_PIXELS * buffer // _BUFFER, buffer // (self.taps * channels))
        rows = min(max(1, pixels // self.output[1]), self.output[0])
        for start in range(0, self.output[0], rows):
            yield slice(start, min(start + rows, self.output[0]))

    def channel_groups(self, channels: int, rows: slice, device: torch.device) -> Iterator[slice]:
        """The channels in groups whose taps in a band fit into one small buffer."""
        pixels = (rows.stop - rows.start) * self.output[1]
        most = max(1, _buffer(device) // (self.taps * pixels))
        groups = -(-channels // most)
        width = -(-channels // groups)
        for start in range(0, channels, width):
            yield slice(start, min(start + width, channels))

    def ends(self) -> Pair:
        """How many rows and columns of the map, and of zeros behind it, the window reaches."""
        rows, columns = self._reaches(slice(0, self.output[0]))
        return rows.stop, columns.stop

    def _reaches(self, rows: slice) -> tuple[slice, slice]:
        return _reach(self, 0, rows), _reach(self, 1, slice(0, self.output[1]))

    def cut(
        self, maps: Shaped[Tensor, "c h w"], rows: slice
    ) -> Shaped[Tensor, "c band_rows band_columns"]:
        """A copy of what the taps of a band reach, with zeros outside the map."""
        reaches = self._reaches(rows)
        source, place = _overlap(reaches, maps.shape[1:])
        before = [part.start for part in place]
        after = [x.stop - x.start - part.stop for x, part in zip(reaches, place, strict=True)]
        part = maps[:, source[0], source[1]]
        return F.pad(part, (before[1], after[1], before[0], after[0]))

    def empty_band(
        self, maps: Shaped[Tensor, "c h w"], rows: slice, dtype: torch.dtype
    ) -> Shaped[Tensor, "c band_rows band_columns"]:
        """Zeros in the place of `cut`."""
        size = [reach.stop - reach.start for reach in self._reaches(rows)]
        return maps.new_zeros(len(maps), *size, dtype=dtype)

    def add_back(
        self,
        total: Shaped[Tensor, "c h w"],
        band: Shaped[Tensor, "c band_rows band_columns"],
        rows: slice,
    ) -> None:
        """Adds the band to the maps that it was cut from; the adjoint of `cut`."""
        source, place = _overlap(self._reaches(rows), total.shape[1:])
        total[:, source[0], source[1]].add_(band[:, place[0], place[1]])

    def views(
        self, band: Shaped[Tensor, "c band_rows band_columns"], rows: slice
    ) -> Shaped[Tensor, "c k_y k_x rows columns"]:
        """The taps of every place as a view of the band: no copy, and writing writes the band.

        Views of one tap at different places do not overlap; those of different taps do.
        """
        channel, row, column = band.stride()
        return band.as_strided(
            (len(band), *self.size, rows.stop - rows.start, self.output[1]),
            (
                channel,
                self.dilation[0] * row,
                self.dilation[1] * column,
                self.stride[0] * row,
                self.stride[1] * column,
            ),
        )


def _buffer(device: torch.device) -> int:
    return _BUFFER if device.type == "cpu" else _BUFFER_OF_DEVICES


def _reach(window: Window, axis: int, places: slice) -> slice:
    """From the first tap of the first place to the last of the last; may begin below 0."""
    start = places.start * window.stride[axis] - window.padding[axis]
    last = (places.stop - 1) * window.stride[axis] - window.padding[axis]
    return slice(start, last + (window.size[axis] - 1) * window.dilation[axis] + 1)


def _overlap(reach: Sequence[slice], size: Sequence[int]) -> tuple[list[slice], list[slice]]:
    """The part of the reach that lies on a map of `size`, counted in the map and in the reach."""
    source, place = [], []
    for wanted, length in zip(reach, size, strict=True):
        start = min(max(wanted.start, 0), length)
        stop = max(start, min(wanted.stop, length))
        # A reach that misses the map has no part there: an empty slice on both sides.
        offset = wanted.start if stop > start else start
        source.append(slice(start, stop))
        place.append(slice(start - offset, stop - offset))
    return source, place


def pair(value: int | Sequence[int], name: str, least: int) -> Pair:
    """The number twice, or the two numbers as they are.

    Args:
        value: one number for rows and columns, or one for each.
        name: what it is called in the error.
        least: smallest number allowed.

    Raises:
        ValueError: if these are not one or two numbers, or one is too small.
    """
    numbers = (value, value) if isinstance(value, int | torch.SymInt) else tuple(value)
    if len(numbers) != 2 or min(numbers) < least:
        raise ValueError(f"{name} must be one or two integers from {least} on, got {value}")
    return numbers[0], numbers[1]


def sliding_window(
    map_size: Sequence[int],
    size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
) -> Window:
    """The window that `nn.Conv2d` slides over a map of `map_size` for the same settings.

    Args:
        map_size: height and width.
        size: taps a side.
        stride: as in `nn.Conv2d`.
        padding: zeros around the map, "valid" for none, or "same" for an output of `map_size`;
            of an odd number the larger half comes below and right of the map.
        dilation: as in `nn.Conv2d`.

    Raises:
        ValueError: if a setting is out of range, "same" meets a stride, or the window is larger
            than the padded map.
    """
    size, stride = pair(size, "kernel_size", 1), pair(stride, "stride", 1)
    dilation = pair(dilation, "dilation", 1)
    span = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f'padding "same" needs stride 1, got {stride}')
        return Window(size, stride, (span[0] // 2, span[1] // 2), dilation, _two(map_size))
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f'padding must be integers, "same" or "valid", got "{padding}"')
    before = (0, 0) if isinstance(padding, str) else pair(padding, "padding", 0)
    room = [n + 2 * p - s for n, p, s in zip(map_size, before, span, strict=True)]
    if min(room) < 1:
        raise ValueError(
            f"the window spans {span[0] + 1} x {span[1] + 1} and the map has only "
            f"{map_size[0]} x {map_size[1]} with padding {before}; pad more or use fewer taps"
        )
    output = [(n - 1) // s + 1 for n, s in zip(room, stride, strict=True)]
    return Window(size, stride, before, dilation, _two(output))


def _two(numbers: Sequence[int]) -> Pair:
    return numbers[0], numbers[1]
