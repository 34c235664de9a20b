"""A folder as photographs come: every kind of broken file, and odd ones that are good."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from tests.datamodules.pictures import BROKEN, encoded, picture

GIF = encoded("gif")
NOISE = np.random.default_rng(7).bytes(3000)


def wrong_checksum() -> bytes:
    data = bytearray(encoded("png"))
    data[data.index(b"IDAT") + 20] ^= 1
    return bytes(data)


def garbage_inside(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + NOISE[:400] + data[middle + 400 :]


def signed_tiff() -> bytes:
    return cv2.imencode(".tiff", picture(channels=1).astype(np.int16) - 100)[1].tobytes()


# Name: content, and a part of the reason.
DAMAGED: dict[str, tuple[bytes, str]] = BROKEN | {
    "wrong_checksum.png": (wrong_checksum(), "cannot be decoded"),
    "garbage_inside.jpg": (garbage_inside(encoded("jpeg", picture(90, 90))), "broken data stream"),
    "no_end.png": (encoded("png")[:-12], "cannot be decoded"),
    "page.jpg": (b"<!DOCTYPE html><title>404</title>", "is not a PNG, JPEG, WebP or TIFF"),
    "animation.jpg": (GIF, "is not a PNG, JPEG, WebP or TIFF"),
    "bitmap.png": (encoded("bmp"), "is not a PNG, JPEG, WebP or TIFF"),
    "icon.png": (encoded("ico"), "is not a PNG, JPEG, WebP or TIFF"),
    "paper.png": (b"%PDF-1.7\n%%EOF\n" * 20, "is not a PNG, JPEG, WebP or TIFF"),
    "noise.jpg": (NOISE, "is not a PNG, JPEG, WebP or TIFF"),
    "signed.tif": (signed_tiff(), "16-bit colours of a kind"),
    "two\nlines.jpg": (b"\xff\xd8\xff", "cannot be decoded"),
    "holiday.heic": (b"ftypheic", "unknown kind: .heic"),
    "waving.gif": (GIF, "unknown kind: .gif"),
}


def write_broken(root: Path) -> dict[str, str]:
    """A part of the reason that has to be told, by the name of each broken file written."""
    root.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in DAMAGED.items():
        (root / name).write_bytes(content)
    reasons = {name: reason for name, (_, reason) in DAMAGED.items()}
    (root / "dead.jpg").symlink_to("nowhere.jpg")
    (root / "album.png").mkdir()
    os.mkfifo(root / "pipe.png")
    reasons |= {"dead.jpg": "dead link", "album.png": "folder", "pipe.png": "no plain file"}
    if os.geteuid() != 0:  # root may read anything
        (root / "locked.jpg").write_bytes(encoded("jpeg"))
        (root / "locked.jpg").chmod(0)
        reasons["locked.jpg"] = "cannot be opened: Permission denied"
    return reasons


def write_odd(root: Path) -> dict[str, np.ndarray]:
    """What has to be read, RGB and upright, by the name of each odd but good file written."""
    root.mkdir(parents=True, exist_ok=True)
    good: dict[str, np.ndarray] = {}

    def put(name: str, image: Image.Image, kind: str, **options: object) -> None:
        data = io.BytesIO()
        image.save(data, kind, **options)
        (root / name).write_bytes(data.getvalue())
        again = ImageOps.exif_transpose(Image.open(io.BytesIO(data.getvalue())))
        good[name] = np.asarray(again.convert("RGB"))

    def plain(seed: int) -> Image.Image:
        return Image.fromarray(picture(seed=seed))

    turned = Image.Exif()
    turned[0x0112] = 6
    put("grey.png", plain(1).convert("L"), "png")
    put("cmyk.jpg", plain(2).convert("CMYK"), "jpeg")
    put("turned.jpg", plain(3), "jpeg", exif=turned)
    put("palette.png", plain(4).quantize(16), "png")
    put("m\u00e4dchen \u5c11\u5973.png", plain(5), "png")
    put("with space.jpg", plain(6), "jpeg")
    put("LOUD.JPG", plain(7), "jpeg")
    put("exact.webp", plain(8), "webp", lossless=True)
    put("scan.tiff", plain(9), "tiff", compression="tiff_lzw")
    put("png_named.jpg", plain(10), "png")
    put("new\nline.png", plain(11), "png")
    put("progressive.jpeg", plain(12), "jpeg", progressive=True)
    put(os.fsdecode(b"not_utf8_\xff.png"), plain(13), "png")
    good |= _by_hand(root)
    return good


def _by_hand(root: Path) -> dict[str, np.ndarray]:
    """Kinds whose conversion is stated here, and not left to Pillow."""
    colours, opacity = picture(seed=14).astype(np.int64), picture(channels=1, seed=15)
    Image.fromarray(np.concatenate([colours.astype(np.uint8), opacity], 2)).save(root / "clear.png")
    share = opacity / 255
    on_white = colours * share + 255 * (1 - share)
    deep = np.random.default_rng(16).integers(0, 65536, (40, 48), np.uint16)
    (root / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    eight = np.rint(deep / 257).astype(np.uint8)
    return {"clear.png": np.rint(on_white), "deep.png": np.repeat(eight[..., None], 3, 2)}
