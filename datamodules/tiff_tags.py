"""Tags of a TIFF file as the bytes that they are, so that none is changed by reading it."""

import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

KEPT: Final = frozenset(  # what describes the photograph
    {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 700, 18246, 18249, 33432, 33723}
    | set(range(40091, 40096))
)
_EXIF, _GPS, _EXCHANGE = 34665, 34853, 40965
_OF_THE_FILE: Final = frozenset(  # how the pixels were stored, their orientation and the profile
    {*range(254, 267), 273, 274, *range(277, 282), 284, *range(288, 294), 297, 301}
    | {*range(317, 326), *range(332, 348), *range(512, 522), *range(529, 533), 34675}
)
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_OFFSETS: Final = {4: "I", 13: "I", 16: "Q", 18: "Q"}

SHORT: Final = 3
LONG: Final = 4
UNDEFINED: Final = 7


@final
@dataclass(frozen=True)
class Tags:
    """A directory of tags.

    Attributes:
        order: of the bytes of a number, "<" or ">" as `struct` has it.
        values: the type of each tag and its bytes.
        directories: those that a tag points to.
        lost: tags that cannot be written again.
    """

    order: str = "<"
    values: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    directories: dict[int, "Tags"] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)

    def number(self, kind: int, *numbers: int) -> tuple[int, bytes]:
        """A value of whole numbers.

        Args:
            kind: SHORT or LONG.
            numbers: one or more.
        """
        letter = {SHORT: "H", LONG: "I"}[kind]
        return kind, struct.pack(f"{self.order}{len(numbers)}{letter}", *numbers)

    def all_lost(self) -> list[int]:
        """Tags of this directory and of those below that cannot be written again."""
        return sorted({*self.lost, *(n for each in self.directories.values() for n in each.lost)})


class _Form(NamedTuple):
    """How directories are laid out: in 32 bits, or in BigTIFF's 64."""

    order: str
    amount: str
    entry: str

    def directory(self, data: bytes, place: int) -> list[tuple[int, int, int, bytes]]:
        """Tag, type, count and field of each entry that lies within the data."""
        first = place + struct.calcsize(self.order + self.amount)
        if first > len(data):
            return []
        (count,) = struct.unpack_from(self.order + self.amount, data, place)
        size = struct.calcsize(self.order + self.entry)
        end = first + min(count, (len(data) - first) // size) * size
        return list(struct.iter_unpack(self.order + self.entry, data[first:end]))


def read_tags(data: bytes) -> Tags:
    """Those that describe the photograph, of the first picture in a TIFF file."""
    order = ">" if data.startswith(b"MM") else "<"
    large = 43 in data[2:4]
    form = _Form(order, "Q", "HHQ8s") if large else _Form(order, "H", "HHI4s")
    (place,) = struct.unpack_from(order + ("Q" if large else "I"), data, 8 if large else 4)
    tags = _read(data, form, place, frozenset({_EXIF, _GPS}))
    for tag in set(tags.values) - KEPT:
        del tags.values[tag]
        tags.lost.append(tag)
    kept = [tag for tag in tags.lost if tag not in _OF_THE_FILE]
    return Tags(order, tags.values, tags.directories, kept)


def _read(data: bytes, form: _Form, place: int, pointers: frozenset[int]) -> Tags:
    tags = Tags(form.order)
    for tag, kind, count, inside in form.directory(data, place):
        if tag in pointers:
            below = _pointed_at(form.order, kind, inside)
            found = _read(data, form, below, frozenset({_EXCHANGE} if tag == _EXIF else ()))
            if found.values or found.directories:
                tags.directories[tag] = found
            else:
                tags.lost.append(tag)
            continue
        raw = _bytes_of(data, form.order, count * _SIZES.get(kind, 0), inside)
        if raw:
            tags.values[tag] = kind, raw
        elif count:  # an unknown type, or beyond the end
            tags.lost.append(tag)
    return tags


def _pointed_at(order: str, kind: int, inside: bytes) -> int:
    letter = _OFFSETS.get(kind, "I")
    return int(struct.unpack_from(order + letter, inside.ljust(8, b"\0"))[0])


def _bytes_of(data: bytes, order: str, size: int, inside: bytes) -> bytes:
    if size <= len(inside):
        return inside[:size]
    (place,) = struct.unpack(order + ("Q" if len(inside) == 8 else "I"), inside)
    found = data[place : place + size]
    return found if len(found) == size else b""


def packed(tags: Tags, place: int) -> bytes:
    """A directory, and those below it, as they are written at `place`, an even number.

    Raises:
        struct.error: if they reach beyond 4 GiB.
    """
    numbers = sorted({*tags.values, *tags.directories})
    start = place + 2 + 12 * len(numbers) + 4
    entries, rest = b"", b""
    for tag in numbers:
        below = tags.directories.get(tag)
        kind, raw = tags.values[tag] if below is None else (LONG, packed(below, start + len(rest)))
        count = 1 if below is not None else len(raw) // _SIZES[kind]
        held = raw.ljust(4, b"\0")
        if below is not None or len(raw) > 4:
            held = struct.pack(f"{tags.order}I", start + len(rest))
            rest += raw + bytes(len(raw) % 2)
        entries += struct.pack(f"{tags.order}HHI", tag, kind, count) + held
    return struct.pack(f"{tags.order}H", len(numbers)) + entries + bytes(4) + rest
