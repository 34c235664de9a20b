"""A trained method at work: what it changes on faces, and on pictures larger than it can take."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from datamodules.inbox import Crops, listed
from datamodules.original import read_original
from experiments.cli import SettingsParser, told_as_settings
from experiments.networks import checkpoint_file
from experiments.pasting import Change
from experiments.settings import SettingsError
from lightning_modules.base import Restored, Training
from lightning_modules.checkpoints import CheckpointError, read_checkpoint
from lightning_modules.embedder import trained_embedder
from lightning_modules.nasfe import FaceEnhancement
from ops.nets.embedder import Embedder, FrozenEmbedder

import pytorch_lightning as pl  # isort: skip

OVERLAP: Final = 0.25
"""Share of a tile's side that it has in common with the next one."""

AT_ONCE: Final = 8
"""Faces of one picture that the network gets together."""

Restore = Callable[[Mapping[str, Any]], Restored]


class Answer(NamedTuple):
    """What a method changed on the faces of a picture.

    Attributes:
        changes: output minus input of each crop.
        masks: (h, w) where each was changed, in [0, 1]; none where the method does not tell.
        likeness: cosine between the judge's embeddings of each face before and after.
        failure: why the method could not restore the picture; else empty.
    """

    changes: list[Change]
    masks: list[Any]
    likeness: list[float]
    failure: str = ""


@final
class Restorer(pl.LightningModule):
    """Predicts nothing but the answers of a trained method.

    Args:
        method: with its trained weights.
        judge: a face embedder; None leaves likeness out.
        tile: pixels of a square; pictures that are crops are restored by such squares at their own
            size. 0 for none.
    """

    def __init__(
        self, method: Training, judge: FrozenEmbedder | None = None, tile: int = 0
    ) -> None:
        super().__init__()
        self.method, self.judge, self.tile = method, judge, tile

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Answer:
        """The answer to an item of `datamodules.inbox.Visits`."""
        faces = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        answer = Answer([], [], [])
        try:
            for first in range(0, len(faces["image"]), AT_ONCE):
                some = {name: value[first : first + AT_ONCE] for name, value in faces.items()}
                _add(answer, some["image"], self._restored(some), self.judge)
        except (ValueError, torch.OutOfMemoryError) as error:
            reason = " ".join(str(error).split())
            return Answer([], [], [], f"cannot be restored: {reason}")
        return answer

    def _restored(self, faces: Mapping[str, Tensor]) -> Restored:
        if self.tile:
            return restored_in_tiles(self.method.restore, faces["image"], self.tile)
        return self.method.restore(faces)


def _add(answer: Answer, image: Tensor, restored: Restored, judge: FrozenEmbedder | None) -> None:
    if restored.image.shape != image.shape:
        raise ValueError(f"the network made {[*restored.image.shape]} of {[*image.shape]}")
    changes = (restored.image.float() - image).permute(0, 2, 3, 1)
    answer.changes.extend(changes.cpu().numpy())
    if restored.mask is not None:
        answer.masks.extend(restored.mask[:, 0].float().cpu().numpy())
    if judge is not None:
        before, after = judge.normalised(image), judge.normalised(restored.image)
        answer.likeness.extend((before * after).sum(1).tolist())


def takes_tiles(restore: Restore, tile: int) -> str:
    """Why a network cannot restore squares of `tile` pixels; empty where it can."""
    try:
        restored_in_tiles(restore, torch.full((1, 3, tile, tile), 0.5), tile)
    except (ValueError, RuntimeError) as error:  # torch tells of wrong sizes by either
        return " ".join(str(error).split())
    return ""


def restored_in_tiles(restore: Restore, image: Tensor, tile: int) -> Restored:
    """What `restore` makes of `image`, (1, 3, h, w), by overlapping squares of `tile` pixels.

    In the overlaps one square's answer fades into the next one's. A picture smaller than a square
    is reflected up to its size.

    Raises:
        ValueError: if the network's answer to a square has another size.
    """
    height, width = image.shape[-2:]
    padded = _reflected(image, max(tile, height), max(tile, width))
    weight = _faded(tile).to(image)
    total = image.new_zeros(1, 4, *padded.shape[-2:])
    weights = torch.zeros_like(total[:, :1])
    masked = False
    for top in _starts(padded.shape[-2], tile):
        for left in _starts(padded.shape[-1], tile):
            place = (..., slice(top, top + tile), slice(left, left + tile))
            answer = restore({"image": padded[place]})
            if answer.image.shape[-2:] != (tile, tile):
                got = " x ".join(map(str, answer.image.shape[-2:]))
                raise ValueError(f"the network made {got} of a tile of {tile} x {tile} pixels")
            masked = answer.mask is not None
            mask = answer.image[:, :1] if answer.mask is None else answer.mask
            total[place] += weight * torch.cat([answer.image, mask], 1)
            weights[place] += weight
    whole = (total / weights)[..., :height, :width]
    return Restored(whole[:, :3], whole[:, 3:] if masked else None)


def _starts(side: int, tile: int) -> list[int]:
    """Where the tiles of a side begin; the last one ends where it does."""
    step = max(1, round(tile * (1 - OVERLAP)))
    return [*range(0, side - tile, step), side - tile]


def _faded(tile: int) -> Tensor:
    """Weights (tile, tile) that rise from near 0 at the border to 1 behind the overlap."""
    place = (torch.arange(tile) + 0.5) / tile
    ramp = (torch.minimum(place, 1 - place) / OVERLAP).clamp(max=1)
    return ramp[:, None] * ramp


def _reflected(image: Tensor, height: int, width: int) -> Tensor:
    down, right = height - image.shape[-2], width - image.shape[-1]
    while down or right:  # a reflection cannot be longer than the picture
        now = min(down, image.shape[-2] - 1), min(right, image.shape[-1] - 1)
        image = F.pad(image, (0, now[1], 0, now[0]), mode="reflect")
        down, right = down - now[0], right - now[1]
    return image


def refuse_unsuited(method: Training, references: bool, tile: int) -> None:
    """Nothing, for a method that can restore what is asked for.

    Args:
        method: with its trained weights.
        references: whether clean photographs of the person are given.
        tile: as of `Restorer`.

    Raises:
        SettingsError: if it wants more than photographs, or takes no references or tiles.
    """
    network: Any = getattr(method, "network", None)
    if getattr(getattr(network, "prior", None), "needs_parsing", False):
        raise SettingsError("the network wants parsing maps, which photographs come without")
    if references and not (isinstance(method, FaceEnhancement) and network.identity):
        raise SettingsError("the network takes no references; leave --references out")
    if tile:
        with torch.inference_mode():
            reason = takes_tiles(method.restore, tile)
        if reason:
            raise SettingsError(f"--tile={tile} does not suit the network: {reason}")


def references_of(folder: str, crops: Crops) -> Tensor:
    """Clean photographs of the person, (k, 3, h, w), as the network sees them.

    Raises:
        SettingsError: if one cannot be read or shows no face.
    """
    found = []
    try:
        for entry in listed(folder):
            pixels = read_original(entry.path).colours
            faces = crops.of(pixels, crops.located(pixels)[:1])
            if not len(faces):
                raise SettingsError(f"--references: no face found on {entry.path}; take it out")
            found.append(faces[0])
    except (OSError, ValueError) as error:
        raise SettingsError(f"--references={folder}: {error}") from error
    return torch.stack(found)


def judge_of(run: Path) -> FrozenEmbedder:
    """The embedder of a finished run.

    Raises:
        SettingsError: if the run is of no embedder, or its checkpoint cannot be read.
    """
    file = checkpoint_file(run)
    parser = SettingsParser(allow_abbrev=False)
    parser.add_subclass_arguments(Embedder, "network")
    try:
        told = yaml.safe_load(read_checkpoint(file)["visagist"]["settings"])
        network = told["model"]["init_args"]["network"]
        with told_as_settings():
            built = parser.instantiate_classes(parser.parse_object({"network": network})).network
        return trained_embedder(built, file)
    except (CheckpointError, KeyError, TypeError, SettingsError) as error:
        raise SettingsError(f"--judge={run} is no embedder's run: {error}") from error
