"""Pictures made for tests, whole and broken, and sets of them in FFHQR's layout."""

import io
import struct
import zlib

import numpy as np
import torch
from PIL import Image

from datamodules.numbered import RAW, RETOUCHED


def picture(height=40, width=48, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


def write_set(root, numbers, *, size=16, flat=False, ending="png"):
    for number in numbers:
        folder = "" if flat else f"{number // 1000 * 1000:05d}"
        for half in (RAW, RETOUCHED):
            path = root / half / folder / f"{number:05d}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(size, size, seed=[number, len(half)])).save(path)
    return root


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for part in batch:
            assert batch[part]["name"] == other[part]["name"]
            assert torch.equal(batch[part]["image"], other[part]["image"])
            assert torch.equal(batch[part]["target"], other[part]["target"])


def png_header_of(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = b"IDAT" + zlib.compress(b"\0" * 1000)
    parts = [struct.pack(">I", 13), chunk, struct.pack(">I", zlib.crc32(chunk))]
    parts += [struct.pack(">I", len(packed) - 4), packed, struct.pack(">I", zlib.crc32(packed))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + b"\0\0\0\0IEND\xaeB`\x82"


def encoded(kind, array=None, **options):
    data = io.BytesIO()
    Image.fromarray(picture() if array is None else array).save(data, kind, **options)
    return data.getvalue()


BROKEN = {
    "empty.png": (b"", "empty"),
    "truncated.png": (encoded("png")[:-200], "cannot be decoded"),
    "cut_trailer.png": (encoded("png")[:-5], "cannot be decoded"),
    "truncated.jpg": (encoded("jpeg")[:-200], "truncated"),
    "truncated.webp": (encoded("webp")[:-200], "cannot be decoded"),
    "truncated.tif": (encoded("tiff")[:-1000], "cannot be decoded"),
    "signature_only.png": (encoded("png")[:8], "cannot be decoded"),
    "text.png": (b"no picture, but words " * 20, "is not a PNG, JPEG, WebP or TIFF"),
    "page.tif": (b"MMXXVI is a year " * 20, "cannot be decoded"),
    "sound.webp": (b"RIFF\x00\x01\x00\x00WAVEfmt " + bytes(200), "cannot be decoded"),
    "speck.png": (encoded("png", picture(1, 1)), "1 x 1, below 16 pixels"),
    "sliver.png": (encoded("png", picture(15, 400)), "400 x 15, below 16 pixels"),
    "bomb.png": (png_header_of(20000, 20000), "20000 x 20000, above 100000000 pixels"),
    "float.tif": (encoded("tiff", np.zeros((40, 40), np.float32)), "32-bit values"),
}


def break_some(root):
    """5 % of the pictures broken, each in its own way; their names."""
    half = root / RAW / "00000"
    damage(half / "00001.png")
    kinds = [BROKEN[f"{kind}.png"][0] for kind in ("empty", "truncated", "text", "speck", "bomb")]
    for number, content in enumerate(kinds, start=2):
        (half / f"{number:05d}.png").write_bytes(content)
    (half / "00007.png").unlink()
    (half / "00007.png").symlink_to("nowhere.png")
    return [f"{number:05d}.png" for number in range(1, 8)]
