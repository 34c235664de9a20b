"""What a search for a fusion cell shows while it goes on: alphas, entropies and the genotype."""

import logging
from pathlib import Path
from typing import Any, Final, Protocol, cast, final

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from lightning_modules.figures import save_figure
from lightning_modules.pictures import Sheet
from ops.nets.darts import SearchNetwork, edges_of
from ops.nets.genotype import Genotype
from ops.nets.operators import NAMES

GENOTYPE: Final = "genotype.json"  # in a run's folder
_ROW, _COLUMN = 0.17, 0.42  # inches of a cell of the heat map

log = logging.getLogger(__name__)


class Searching(Protocol):
    """What the record asks of a training."""

    batches_done: int


@final
class ArchitectureRecord(pl.Callback):
    """Numbers and pictures of a search at each validation, and its genotype in the run's folder.

    Logs val/entropy, the mean over the edges of the cell, in nats; val/entropy_cells and
    val/entropy_blocks, the same over the edges that come from other cells and over those that come
    from blocks of the same cell; and val/skips, how many of the edges that would stay are skip
    connections. Validation and test write pictures/alphas_<batch>.png. With each checkpoint goes
    genotype.json, the cell that would be left of the search.

    A search that goes wrong ends in a cell of skip connections: they train soonest, so the alphas
    run after them. The remedy of DARTS+ (Liang et al., 2019), to stop the search there, is left to
    the user: what comes is a warning.

    Args:
        fusion: what is searched.
        most_skips: share of the cell's edges that may be skip connections without a warning.
    """

    def __init__(self, fusion: SearchNetwork, most_skips: float) -> None:
        self._fusion, self._most_skips = fusion, most_skips

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs entropies and skip connections; warns of too many of these."""
        genotype = self._fusion.derive()
        named = entropies_of(self._fusion) | {"skips": float(skips_of(genotype))}
        pl_module.log_dict({f"val/{name}": value for name, value in named.items()}, sync_dist=True)
        edges = 2 * genotype.count
        if named["skips"] > self._most_skips * edges and trainer.is_global_zero:
            log.warning(
                "%d of the cell's %d edges are skip connections: stop the search, or let the "
                "alphas start later or learn slower",
                named["skips"],
                edges,
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the heat map."""
        self._draw(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the heat map."""
        self._draw(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Writes the genotype."""
        if trainer.is_global_zero:
            write_genotype(self._fusion.derive(), Path(trainer.default_root_dir) / GENOTYPE)

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        batches = cast(Searching, pl_module).batches_done
        path = Path(trainer.default_root_dir) / "pictures" / f"alphas_{batches:07d}.png"
        weights = self._fusion.alphas.detach().softmax(1).float().cpu()
        save_figure(alphas_figure(weights, self._fusion.derive()), path)
        picture = np.asarray(Image.open(path).convert("RGB"))
        for logger in trainer.loggers:
            Sheet.send(picture, logger, path.name, batches)


def entropies_of(fusion: SearchNetwork) -> dict[str, float]:
    """Mean entropies of the edges in nats: of all, from other cells, and from earlier blocks.

    The last is left out where the cell has a single block.
    """
    entropies = fusion.entropies()
    inner = [edge for i in range(fusion.blocks) for edge in edges_of(i)[2:]]
    outer = [edge for i in range(fusion.blocks) for edge in edges_of(i)[:2]]
    named = {"entropy": entropies, "entropy_cells": entropies[outer]}
    named |= {"entropy_blocks": entropies[inner]} if inner else {}
    return {name: float(some.mean()) for name, some in named.items()}


def skips_of(genotype: Genotype) -> int:
    """How many edges of a cell are skip connections."""
    return sum(edge.operator == "skip" for block in genotype.blocks for edge in block)


def write_genotype(genotype: Genotype, path: Path) -> None:
    """Writes a genotype as JSON, whole or not at all.

    Raises:
        OSError: if the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(genotype.to_json(), encoding="utf-8")
    temporary.replace(path)


def alphas_figure(weights: Float[Tensor, "edges operators"], genotype: Genotype) -> Figure:
    """A heat map of an edge's proportions in each row, those that the genotype keeps framed.

    Args:
        weights: of Eq. 5, each row summing to 1.
        genotype: the cell derived from them.
    """
    rows, columns = weights.shape
    figure = Figure((_COLUMN * columns + 3.2, _ROW * rows + 1.8), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(weights.numpy(), cmap="viridis", vmin=0, aspect="auto")
    axes.set_xticks(range(columns), NAMES, rotation=60, ha="right", fontsize="small")
    axes.set_yticks(range(rows), _edge_names(genotype.count), fontsize="x-small")
    for block, kept in enumerate(genotype.blocks):
        for edge in kept:
            corner = (NAMES.index(edge.operator) - 0.5, edges_of(block)[edge.source] - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.6))
    figure.colorbar(shown, label=r"proportion $\alpha_{j \to i}^k$; framed: what would be kept")
    return figure


def _edge_names(blocks: int) -> list[str]:
    return [
        f"{_source_name(source)} > {block + 1}"
        for block in range(blocks)
        for source in range(len(edges_of(block)))
    ]


def _source_name(source: int) -> str:
    return ("cell - 1", "cell - 2")[source] if source < 2 else f"block {source - 1}"
