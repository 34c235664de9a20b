"""The first samples of a data set, and a contact sheet of them with what was done to each."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it

import pytorch_lightning as pl  # isort: skip
import numpy as np
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from jsonargparse.typing import NonNegativeInt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from datamodules.degradations.base import LABELLED
from datamodules.images import resize
from experiments.cli import SettingsParser, link_seed, silence, told_as_settings
from experiments.messages import one_line
from experiments.settings import SettingsError

SAMPLES: Final = 8  # of a part
LARGEST: Final = 256  # side of a picture on the sheet; larger ones are shrunk
SMALLEST: Final = 128  # smaller ones are enlarged by whole numbers
WIDTH: Final = 1640  # of the sheet, unless one card needs more
GAP: Final = 8
APART: Final = 24  # between cards, so that it shows which pictures belong together
DONE: Final = "done in this order: "
PARTS: Final = {"unpaired": "unpaired: the target is another person's clean face"}
UNITS: Final = "Noise: 1 is the brightest value; blur: in pixels; angles: in radians."
TEXT: Final = 13
TITLE: Final = 18


@dataclass(frozen=True)
class Card:
    """One sample: its pictures by title, each (3, h, w) in [0, 1], and what is told of it."""

    pictures: dict[str, Tensor]
    told: tuple[str, ...]


Parts = dict[str, list[Card]]
"""The samples of "training", of "testing", and of the halves of either."""


def first_samples(settings: dict[str, Any], overrides: Sequence[str]) -> Parts:
    """The first eight samples of each part of the data, as a training would begin.

    Args:
        settings: `data` and what belongs to it, as merged.
        overrides: laid on them, as on the command line.

    Raises:
        SettingsError: if a setting is wrong, or the data are not there or not whole.
    """
    module = build(settings, overrides)
    parts: Parts = {}
    with told_as_settings(), warnings.catch_warnings():
        # More workers than this machine has cores matter to a training, not here.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        module.prepare_data()
        for part, stage, loader in (
            ("training", "fit", "train_dataloader"),
            ("testing", "test", "test_dataloader"),
        ):
            # A set to be tested on only has Lightning's own, which raises.
            if getattr(type(module), loader) is getattr(pl.LightningDataModule, loader):
                continue
            module.setup(stage)
            parts |= _first(getattr(module, loader)(), f"{part}{_place(module, part)}")
    return parts


def _place(module: pl.LightningDataModule, part: str) -> str:
    """Where the pictures of a part lie, as far as the data tell."""
    joined = getattr(module, {"training": "train", "testing": "test"}[part], None)
    root = getattr(joined, "root", getattr(module, "root", None))
    return "" if root is None else f" ({root})"


def build(settings: dict[str, Any], overrides: Sequence[str]) -> pl.LightningDataModule:
    """The data of a run, every setting checked as the run would check it.

    Raises:
        SettingsError: with the one line that says what is wrong.
    """
    silence()
    parser = SettingsParser(allow_abbrev=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_argument("--seed_everything", type=NonNegativeInt, default=0)
    parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
    link_seed(parser)
    try:
        config = parser.parse_args([f"--config={yaml.safe_dump(settings)}", *overrides])
    except SettingsError as error:
        known = [action.dest for action in parser._actions]
        raise SettingsError(one_line(str(error), settings, known)) from None
    with told_as_settings():
        module: pl.LightningDataModule = parser.instantiate_classes(config).data
    return module


def _first(batches: Iterable[Any], part: str) -> Parts:
    found: Parts = {}
    for batch in batches:
        for name, half in _halves(batch):
            title = f"{part}, {PARTS.get(name, name)}" if name else part
            found.setdefault(title, []).extend(_cards(half))
        if all(len(cards) >= SAMPLES for cards in found.values()):
            break
    return {title: cards[:SAMPLES] for title, cards in found.items()}


def _halves(batch: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "image" in batch:
        yield "", batch
        return
    yield from batch.items()


def _cards(batch: dict[str, Any]) -> Iterator[Card]:
    for i in range(len(batch["image"])):
        pictures = {"input": batch["image"][i]}
        if "target" in batch:
            pictures["target"] = batch["target"][i]
        for k, reference in enumerate(batch["references"][i] if "references" in batch else ()):
            pictures[f"reference {k + 1}"] = reference
        yield Card(pictures, tuple(_told(batch, i)))


def _told(batch: dict[str, Any], i: int) -> Iterator[str]:
    yield str(batch["name"][i])
    if "degradation" in batch:
        yield f"{DONE}{batch['degradation'][i]}"
    if "label" in batch:
        there = zip(LABELLED, batch["label"][i].tolist(), strict=True)
        yield "label: " + ", ".join(f"{kind} {value:g}" for kind, value in there)
    if "identity" in batch:
        yield f"person {int(batch['identity'][i])} of this split"


def write(parts: Parts, title: str, path: Path) -> None:
    """Saves the sheet of `parts` as PNG.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(parts, title).save(path)


def sheet(parts: Parts, title: str) -> Image.Image:
    """The cards of all parts in rows, each part under its name and the size of its pictures.

    Raises:
        ValueError: if there are no cards.
    """
    if not any(parts.values()):
        raise ValueError("there is no sample to show")
    blocks = [_text([title], TITLE + 6)]
    if any(line.startswith(DONE) for line in _lines(parts)):
        blocks.append(_text([UNITS]))
    for part, cards in parts.items():
        shape = tuple(cards[0].pictures["input"].shape[-2:])
        blocks += [_text([f"{part}: {shape[1]} x {shape[0]} pixels{_scale_told(*shape)}"], TITLE)]
        drawn = [_card(card) for card in cards]
        most = max(1, (WIDTH + APART) // (drawn[0].width + APART))
        columns = -(-len(drawn) // -(-len(drawn) // most))  # rows of equal length
        blocks += [_beside(drawn[k : k + columns], APART) for k in range(0, len(drawn), columns)]
    return _bordered(_below(blocks, 2 * GAP))


def _lines(parts: Parts) -> list[str]:
    return [line for cards in parts.values() for card in cards for line in card.told]


def _shown(height: int, width: int) -> tuple[int, int]:
    """The size at which a picture is shown."""
    longest = max(height, width)
    if longest > LARGEST:
        return round(height * LARGEST / longest), round(width * LARGEST / longest)
    factor = max(1, SMALLEST // longest)
    return height * factor, width * factor


def _scale_told(height: int, width: int) -> str:
    high, wide = _shown(height, width)
    if high < height:
        return f", shown at {wide} x {high} by area: fine noise and blur look weaker than they are"
    return f", each shown as {high // height} x {high // height}" if high > height else ""


def _card(card: Card) -> Image.Image:
    columns = [
        _below([_text([title]), _picture(picture)], 2) for title, picture in card.pictures.items()
    ]
    pictures = _beside(columns, 4)
    width = max(pictures.width, LARGEST + 4)
    lines = [line for told in card.told for line in _wrapped(told, width)]
    text = _text(lines)
    canvas = Image.new("RGB", (width, pictures.height + 4 + text.height), "white")
    canvas.paste(pictures, (0, 0))
    canvas.paste(text, (0, pictures.height + 4))
    return canvas


def _picture(image: Tensor) -> Image.Image:
    pixels = (image.clamp(0, 1) * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()
    height, width = pixels.shape[:2]
    high, wide = _shown(height, width)
    if high < height:
        return Image.fromarray(resize(np.ascontiguousarray(pixels), (high, wide)))
    return Image.fromarray(pixels).resize((wide, high), Image.Resampling.NEAREST)


def _wrapped(line: str, width: int) -> Iterator[str]:
    """`line` in pieces of at most `width` pixels; a longer word is cut up."""
    font = ImageFont.load_default(TEXT)
    kept = ""
    for word in line.split(" "):
        longer = f"{kept} {word}" if kept else word
        if font.getlength(longer) <= width:
            kept = longer
            continue
        if kept:
            yield kept
        *full, kept = _pieces(word, width)
        yield from full
    yield kept


def _pieces(word: str, width: int) -> list[str]:
    """`word` in pieces of at most `width` pixels."""
    font = ImageFont.load_default(TEXT)
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _text(lines: Sequence[str], size: int = TEXT) -> Image.Image:
    font = ImageFont.load_default(size)
    high = round(1.35 * size)
    width = max((int(font.getlength(line)) + 2 for line in lines), default=1)
    canvas = Image.new("RGB", (width, high * max(1, len(lines))), "white")
    draw = ImageDraw.Draw(canvas)
    for k, line in enumerate(lines):
        draw.text((0, k * high), line, "black", font)
    return canvas


def _beside(images: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    canvas = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width + gap
    return canvas


def _below(images: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    height = sum(image.height for image in images) + gap * (len(images) - 1)
    canvas = Image.new("RGB", (max(image.width for image in images), height), "white")
    top = 0
    for image in images:
        canvas.paste(image, (0, top))
        top += image.height + gap
    return canvas


def _bordered(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (image.width + 4 * GAP, image.height + 4 * GAP), "white")
    canvas.paste(image, (2 * GAP, 2 * GAP))
    return canvas
