"""Reading pictures: every kind a folder may hold is read right or refused by name, never altered.

Pillow decodes. Its classes are called directly rather than through `PIL.Image.open`, so that only
four formats are tried and the limit on pixels is ours, with no global setting changed.
"""

import io
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

SMALLEST: Final = 16
"""Pixels a side below which a file is no photograph."""

PIXELS: Final = 100_000_000
"""Pixels above which a file is taken for a decompression bomb."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_FORMATS: Final[tuple[tuple[bytes, type[ImageFile.ImageFile]], ...]] = (
    (_PNG, PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"II", TiffImageFile),
    (b"MM", TiffImageFile),
)
_BROKEN: Final = (  # what Pillow raises on files that are not what they claim to be
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError),
    *(NotImplementedError, RuntimeError, OverflowError, struct.error, zlib.error),
)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_header_lock = threading.Lock()


class UnreadableImage(ValueError):
    """A file that is no usable picture; the message is its path and the reason."""


def read_image(path: Path, max_pixels: int = PIXELS) -> UInt8[np.ndarray, "h w 3"]:
    """The picture in `path`, RGB and upright.

    Greyscale and palettes become RGB; transparency is laid on white, as a viewer would show it;
    CMYK is converted without its colour profile (profiles are ignored throughout); 16 bits are
    rounded to 8; EXIF's orientation is applied, and an EXIF block that cannot be parsed counts as
    none. Of several frames the first is read.

    Args:
        path: of a PNG, JPEG, WebP or TIFF file, whatever its ending says.
        max_pixels: above which the header alone is reason to refuse.

    Raises:
        UnreadableImage: if there is no such picture, all of it, of at least 16 pixels a side.
    """
    try:
        data = _file_bytes(path)
    except UnreadableImage as error:
        raise UnreadableImage(f"{path}: {error}") from None
    except OSError as error:
        raise UnreadableImage(f"{path}: cannot be decoded ({error})") from error
    return decode_image(data, str(path), max_pixels)


def decode_image(data: bytes, name: str, max_pixels: int = PIXELS) -> UInt8[np.ndarray, "h w 3"]:
    """The picture that `data` encodes, as `read_image` would read it from a file.

    Args:
        data: of a PNG, JPEG, WebP or TIFF file.
        name: what an error calls it.
        max_pixels: above which the header alone is reason to refuse.

    Raises:
        UnreadableImage: where `read_image` would.
    """
    try:
        return _decoded(data, max_pixels)
    except UnreadableImage as error:
        raise UnreadableImage(f"{name}: {error}") from None
    except _BROKEN as error:
        raise UnreadableImage(f"{name}: cannot be decoded ({error})") from error


def check_image(path: Path, max_pixels: int = PIXELS) -> tuple[int, int]:
    """Height and width of the picture, after decoding the whole file.

    Raises:
        UnreadableImage: where `read_image` would.
    """
    height, width = read_image(path, max_pixels).shape[:2]
    return height, width


def check_header(path: Path, max_pixels: int = PIXELS) -> tuple[int, int]:
    """Height and width of the picture, from both ends of a PNG; other files are decoded wholly.

    This finds every fault that `check_image` finds but damage inside a PNG, and reads 45 bytes.
    A PNG's size is given as it is stored, before EXIF's orientation.

    Raises:
        UnreadableImage: where `read_image` would, with that exception.
    """
    return _size_of_png(path, max_pixels) or check_image(path, max_pixels)


def resize(
    image: UInt8[np.ndarray, "h w 3"], size: int | tuple[int, int]
) -> UInt8[np.ndarray, "size_h size_w 3"]:
    """`image` at `size`, (height, width) or both: by area where it shrinks, else by cubics.

    Area averages every source pixel, so nothing aliases; it cannot enlarge. An image that has the
    size already comes back as it is.

    Raises:
        ValueError: if a side of `size` is below 1.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size must be 1 or more a side, got {size}")
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)


def planes(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    """`image`, channels first, in memory of its own."""
    return torch.from_numpy(np.stack(cv2.split(image)))


def floats(pictures: UInt8[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """8-bit pictures in [0, 1]."""
    return torch.div(pictures, 255)


def _file_bytes(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UnreadableImage("is a dead link" if path.is_symlink() else "is missing") from None
    if not stat.S_ISREG(mode):
        raise UnreadableImage("is a folder" if stat.S_ISDIR(mode) else "is not a file")
    data = path.read_bytes()
    if not data:
        raise UnreadableImage("is empty (0 bytes)")
    return data


def _decoded(data: bytes, max_pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    picture_class = next((c for start, c in _FORMATS if data.startswith(start)), None)
    if picture_class is None:
        raise UnreadableImage("is not a PNG, JPEG, WebP or TIFF picture")
    # PNG, the common case in training, is spared: hushing forgets which warnings were shown.
    with nullcontext() if picture_class is PngImageFile else _hushed():
        image: Image.Image = picture_class(io.BytesIO(data))
    _refuse_size(*image.size, max_pixels)
    if picture_class is PngImageFile:
        PngImageFile(io.BytesIO(data)).verify()  # decoding alone checks no checksum
    deep = any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    with _hushed() if picture_class is TiffImageFile else nullcontext():
        image.load()
    turned = _UPRIGHT.get(_orientation(image.info.get("exif", b"")))
    if deep:
        image = _from_16_bits(image, data)
    upright = _rgb(image) if turned is None else _rgb(image).transpose(turned)
    return np.array(upright)


@contextmanager
def _hushed() -> Iterator[None]:
    """Pillow's remarks on faulty metadata held back, a thread at a time: filters are global."""
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if min(width, height) < SMALLEST:
        raise UnreadableImage(f"is {width} x {height}, below {SMALLEST} pixels a side")
    if width * height > max_pixels:
        raise UnreadableImage(f"is {width} x {height}, above {max_pixels} pixels in all")


def _orientation(exif: bytes) -> int:
    """EXIF's orientation tag, 1 (upright) where there is none; Pillow's reader would warn."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (table,) = struct.unpack_from(order + "I", exif, 4)
    for entry in range(table + 2, len(exif) - 11, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == 0x0112:
            return int(value)
    return 1


def _from_16_bits(image: Image.Image, data: bytes) -> Image.Image:
    """`image` with its values rounded to 8 bits; Pillow keeps only the high byte of colours."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image)))
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise UnreadableImage("has 16-bit colours of a kind that OpenCV cannot decode")
    colours = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return Image.fromarray(_eight_bits(cv2.cvtColor(pixels, colours)))


def _eight_bits(values: UInt16[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"has 32-bit values (mode {image.mode}), whose range is not known")
    if image.mode not in ("LA", "PA", "RGBA", "La", "RGBa") and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _size_of_png(path: Path, max_pixels: int) -> tuple[int, int] | None:
    """Height and width, if `path` starts and ends as a whole PNG of a permitted size does."""
    if not path.is_file():  # opening a pipe would wait for ever
        return None
    try:
        with path.open("rb") as file:
            head = file.read(33)
            file.seek(-len(_PNG_END), os.SEEK_END)
            tail = file.read()
    except OSError:  # the full check tells which
        return None
    if not head.startswith(_PNG + b"\0\0\0\rIHDR") or tail != _PNG_END or len(head) < 33:
        return None
    (checksum,) = struct.unpack(">I", head[29:])
    width, height = struct.unpack(">II", head[16:24])
    fits = min(width, height) >= SMALLEST and width * height <= max_pixels
    return (height, width) if fits and zlib.crc32(head[12:29]) == checksum else None
