"""Photographs with all that has to come out again: bit depth, opacity, EXIF and colour profile."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import cv2
import numpy as np
from jaxtyping import Shaped
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from datamodules.images import UnreadableImage, read_image
from datamodules.tiff_tags import LONG, SHORT, UNDEFINED, Tags, packed, read_tags

Pixels = Shaped[np.ndarray, "h w 3"]
"""RGB in unsigned integers of 8 or 16 bits."""

QUALITY: Final = 95
"""Of JPEG and of lossy WebP."""

_CLEAR: Final = ("LA", "PA", "RGBA", "La", "RGBa")
_ORIENTATION: Final = 0x0112
_PROFILE: Final = 34675


@final
@dataclass(frozen=True)
class Original:
    """A photograph as it was read.

    Attributes:
        colours: its pixels, upright; those behind a transparent place as they are stored.
        opacity: (h, w) of the same depth; None where the file has none.
        kind: "PNG", "JPEG", "WEBP" or "TIFF".
        grey: whether it was stored without colour.
        exif: as it was, but upright; empty where there is none. In a TIFF its tags.
        profile: ICC; empty where there is none, or it is not of RGB or grey.
        options: what Pillow is told to save it as it was.
        note: what is lost on writing it again; empty where nothing is.
    """

    colours: Pixels
    opacity: Shaped[np.ndarray, "h w"] | None
    kind: str
    grey: bool
    exif: bytes | Tags
    profile: bytes
    options: dict[str, Any]
    note: str


def largest(pixels: np.ndarray) -> int:
    """The value of white: 255 or 65535."""
    return int(np.iinfo(pixels.dtype).max)


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """`pixels` rounded to 8 bits."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def read_original(path: Path) -> Original:
    """The photograph in a PNG, JPEG, WebP or TIFF file; of several frames the first.

    Raises:
        UnreadableImage: if there is none, or not all of it.
    """
    opaque = read_image(path)  # finds every fault, in words
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on faulty metadata
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "TIFF"))
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        exif, orientation = _metadata(image, kind, data)
        deep = any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
        options = _options(image, kind, data)
        clear = image.mode in _CLEAR or "transparency" in image.info
        profile, cmyk = image.info.get("icc_profile") or b"", image.mode == "CMYK"
        grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I;16")
        frames = getattr(image, "n_frames", 1)
        colours, opacity = opaque, None
        if deep:
            colours, opacity = _deep(data, 1 if kind == "TIFF" else orientation, path)
        elif clear:
            stored = np.array(image.convert("RGBA"))
            # Pillow turns a TIFF by itself when it loads it.
            stored = stored if kind == "TIFF" else upright(stored, orientation)
            colours, opacity = stored[..., :3], stored[..., 3]
    lost = [f"the first of {frames} frames"] if frames > 1 and kind != "JPEG" else []
    lost += ["CMYK became RGB"] if cmyk else []
    numbers = exif.all_lost() if isinstance(exif, Tags) else []
    lost += [f"lost: TIFF tag {', '.join(map(str, numbers))}"] if numbers else []
    return Original(
        colours,
        opacity,
        kind,
        grey,
        exif,
        b"" if cmyk else profile,
        options,
        ", ".join(lost),
    )


def encoded(original: Original, colours: Pixels) -> bytes:
    """A file of the original's kind, depth and metadata with other colours.

    Args:
        original: what all but the colours is taken from.
        colours: of the same shape and depth.

    Raises:
        ValueError: if they have another shape or depth.
    """
    if colours.shape != original.colours.shape or colours.dtype != original.colours.dtype:
        raise ValueError(
            f"colours must be {original.colours.dtype} {original.colours.shape}, "
            f"got {colours.dtype} {colours.shape}"
        )
    pixels = _channels(original, colours)
    if original.kind == "TIFF":
        return _tiff(pixels, original)
    assert isinstance(original.exif, bytes)
    if colours.dtype == np.uint16:
        return _deep_png(pixels, original.exif, original.profile)
    metadata: dict[str, Any] = {"exif": original.exif} if original.exif else {}
    if original.profile:
        metadata["icc_profile"] = original.profile
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, original.kind, **original.options, **metadata)
    return file.getvalue()


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored `pixels` (h, w, ...) as EXIF's orientation, 1 to 8, says that they are to be seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def set_upright(exif: bytes) -> tuple[bytes, int]:
    """An EXIF block that says upright, all else untouched, and the orientation that it had."""
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[start : start + 4])
    if order is None or len(exif) < start + 8:
        return exif, 1
    (table,) = struct.unpack_from(order + "I", exif, start + 4)
    first = start + table + 2
    (count,) = struct.unpack_from(order + "H", exif, first - 2) if first <= len(exif) else (0,)
    count = min(count, (len(exif) - first) // 12)
    for entry in range(first, first + 12 * count, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == _ORIENTATION:
            one = struct.pack(order + "H", 1)
            return exif[: entry + 8] + one + exif[entry + 10 :], int(value)
    return exif, 1


def _metadata(image: Image.Image, kind: str, data: bytes) -> tuple[bytes | Tags, int]:
    if kind != "TIFF":
        return set_upright(image.info.get("exif", b""))
    return read_tags(data), int(image.getexif().get(_ORIENTATION, 1))


def _options(image: Image.Image, kind: str, data: bytes) -> dict[str, Any]:
    dots = {"dpi": image.info["dpi"]} if "dpi" in image.info and kind != "WEBP" else {}
    if kind == "JPEG":
        sampling = get_sampling(image)  # -1 where it is none that Pillow can write
        kept = {"subsampling": sampling} if sampling >= 0 else {}
        return {"quality": QUALITY, "progressive": "progression" in image.info, **kept, **dots}
    if kind == "WEBP":
        return {"lossless": _is_lossless(data), "quality": QUALITY, "exact": True}
    return dots


def _is_lossless(data: bytes) -> bool:
    """Whether a WebP file holds its picture without loss, by the kind of its first one."""
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        if name in (b"VP8L", b"VP8 "):
            return bool(name == b"VP8L")
        place += 8 + (16 if name == b"ANMF" else length + length % 2)
    return False


def _deep(
    data: bytes, orientation: int, path: Path
) -> tuple[np.ndarray, Shaped[np.ndarray, "h w"] | None]:
    """Colours and opacity of a file with 16 bits a channel."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise UnreadableImage(f"{path}: has 16-bit values of a kind that OpenCV cannot decode")
    stored = upright(stored, orientation)
    if stored.ndim == 2:
        return np.repeat(stored[..., None], 3, 2), None
    opacity = np.ascontiguousarray(stored[..., 3]) if stored.shape[2] == 4 else None
    return np.ascontiguousarray(stored[..., 2::-1]), opacity


def _channels(original: Original, colours: np.ndarray) -> np.ndarray:
    """The planes that the file had: grey or RGB, with opacity or without."""
    # A grey PNG with opacity is written as RGB: OpenCV has no two channels of 16 bits.
    grey = original.grey and original.opacity is None
    pixels = colours[..., 1] if grey else colours
    if original.opacity is not None:
        pixels = np.concatenate([pixels, original.opacity[..., None]], 2)
    return np.ascontiguousarray(pixels)


def _deep_png(pixels: np.ndarray, exif: bytes, profile: bytes) -> bytes:
    ordered = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    plain = cv2.imencode(".png", ordered)[1].tobytes()
    header = 8 + 25  # the signature, and IHDR with its length and checksum
    chunks = _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile)) if profile else b""
    chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
    return plain[:header] + chunks + plain[header:]


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _tiff(pixels: np.ndarray, original: Original) -> bytes:
    """One strip, deflated; Pillow writes no colours of 16 bits."""
    tags = original.exif
    assert isinstance(tags, Tags)
    depth, planes = 8 * pixels.itemsize, 1 if pixels.ndim == 2 else pixels.shape[2]
    strip = zlib.compress(
        pixels.astype(pixels.dtype.newbyteorder("<" if tags.order == "<" else ">")).tobytes(), 6
    )
    strip += bytes(len(strip) % 2)
    values = tags.values | {
        256: tags.number(LONG, pixels.shape[1]),
        257: tags.number(LONG, pixels.shape[0]),
        258: tags.number(SHORT, *[depth] * planes),
        259: tags.number(SHORT, 8),  # Adobe's deflate
        262: tags.number(SHORT, 1 if planes == 1 else 2),  # black is 0, or RGB
        273: tags.number(LONG, 8),
        277: tags.number(SHORT, planes),
        278: tags.number(LONG, pixels.shape[0]),
        279: tags.number(LONG, len(strip)),
    }
    if planes == 4:
        values[338] = tags.number(SHORT, 2)  # opacity that was not multiplied into the colours
    if original.profile:
        values[_PROFILE] = UNDEFINED, original.profile
    start = 8 + len(strip)
    mark = b"II" if tags.order == "<" else b"MM"
    header = mark + struct.pack(f"{tags.order}HI", 42, start)
    return header + strip + packed(Tags(tags.order, values, tags.directories), start)
