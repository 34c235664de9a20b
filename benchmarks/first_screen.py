"""`python -m benchmarks.first_screen EXPERIMENT=RUN ...`: docs/first_screen.webp, of drawn faces.

Each experiment names the drawn test faces (its demo scale), each run the trained network; the
number behind a third `=` is that of the face, 0 at first.
"""

import sys
from pathlib import Path
from typing import Any

import experiments.networks as networks  # repairs torchvision before anything imports it
from benchmarks.timing import ROOT
from experiments.data_sheet import build
from experiments.settings import load_chain, paper_of

import numpy as np  # isort: skip
import torch  # isort: skip
from PIL import Image, ImageDraw, ImageFont  # isort: skip

TO = ROOT / "docs" / "first_screen.webp"
SIDE, GAP, TITLE, MARGIN = 176, 4, 20, 62
ROWS = ("given", "result", "wanted")
FIRST_ROW = {"Inverting face embeddings": "guide"}


def drawn_faces(experiment: str) -> Any:
    """The first test batch of an experiment's demo scale, drawn if it is not there yet."""
    settings = load_chain(experiment, "demo").settings
    own = settings["data"]["init_args"]
    if not all("draw" in part for part in (own.get("test", own).get("init_args", own),)):
        raise SystemExit(f"{experiment} has no drawn faces at demo scale")
    kept = {key: settings[key] for key in ("data", "seed_everything") if key in settings}
    data = build(kept, ())
    data.prepare_data()
    data.setup("test")
    return next(iter(data.test_dataloader()))


def column(experiment: str, run: Path, face: int) -> list[Image.Image]:
    """What the network is given, what it makes of it, and what is wanted."""
    method, state = networks.untrained(run)
    networks.with_weights(method, state)
    batch = drawn_faces(experiment)
    with torch.no_grad():
        made = method.predict_step(batch, 0).image
    if "guides" in batch:  # an embedding is no picture; the guide is where the inversion starts
        shown = (batch["guides"][:, 0], made, batch["image"])
    else:
        shown = (batch["image"], made, batch["target"])
    return [tile(images[face]) for images in shown]


def tile(image: torch.Tensor) -> Image.Image:
    """A picture of SIDE pixels' height, its middle if it is wider than that."""
    pixels = image.detach().float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def sheet(columns: dict[str, list[Image.Image]]) -> Image.Image:
    """The columns beside each other under their titles."""
    step = SIDE + GAP
    size = (MARGIN + step * len(columns), TITLE + step * len(ROWS))
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, name in enumerate(ROWS):
        draw.text((4, TITLE + row * step + SIDE // 2), name, "black", font)
    for place, (title, tiles) in enumerate(columns.items()):
        draw.text((MARGIN + place * step, 2), title, "black", font)
        for row, each in enumerate(tiles):
            picture.paste(each, (MARGIN + place * step, TITLE + row * step))
    return picture


def main(arguments: list[str]) -> None:
    """Writes the picture; what cannot be shown is told and left out."""
    columns = {}
    for argument in arguments:
        experiment, run, *face = argument.split("=")
        paper = paper_of(experiment)
        title = "Inversion (from its guide)" if paper in FIRST_ROW else paper
        columns[title] = column(experiment, Path(run), int(face[0]) if face else 0)
    if not columns:
        raise SystemExit(__doc__)
    sheet(columns).save(TO, quality=88, method=6)
    print(f"{TO}: {TO.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
