"""A data set that is there, packed into tar shards (`make prepare FORMAT=webdataset`)."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from experiments.settings import SettingsError

if TYPE_CHECKING:  # their packages take seconds to load
    from datamodules.celeba import CelebA
    from datamodules.ffhq import FFHQ
    from datamodules.folder import Folder
    from datamodules.photographs import FolderPhotographs
    from datamodules.shard_manifest import Manifest
    from datamodules.stream import Split
    from datamodules.vggface2 import VGGFace2

LEAST, MOST = 16, 1000  # photographs in a shard, unless told otherwise
SHARDS = 64  # for training, at least
SETS = ("ffhq", "celeba", "vggface2", "folder")


def main(
    set_name: str, source: Path, target: Path, per_shard: int | None = None, seed: int = 0
) -> int:
    """The exit code, after packing all splits of the data set in `source`.

    Args:
        set_name: the layout of `source`; its class's own splits are packed.
        source: folder of the set.
        target: folder of the shards; what an earlier call has finished there is kept, and where
            all is finished the shards are checked.
        per_shard: photographs in a shard; by default 1000, or fewer, down to 16, where that would
            leave fewer than 64 shards for training, which is enough for eight processes.
        seed: of the order in which the training photographs are packed.

    Raises:
        SettingsError: if the set cannot be packed, or `target` holds something else.
    """
    from datamodules.shard_manifest import MANIFEST
    from datamodules.shard_packing import check_shards, write_shards

    finished = (target / MANIFEST).exists()
    try:
        packed_as, photographs = _files(set_name, source)
        several = max(LEAST, min(MOST, len(photographs["train"]) // SHARDS))
        several = several if per_shard is None else per_shard
        manifest = write_shards(target, packed_as, photographs, several, seed)
        if finished:
            check_shards(target)
    except (ValueError, OSError, ImportError) as error:
        raise SettingsError(str(error)) from error
    sys.stdout.write(_summary(manifest, target, finished))
    return 0


def data_set(
    layout: str, source: Path, size: int | None = None
) -> "FFHQ | CelebA | VGGFace2 | Folder":
    """The data set of a layout in `source`, undegraded, looked through and ready to be read.

    Args:
        layout: ffhq, celeba, vggface2 or folder.
        source: folder of the set.
        size: side of its pictures where the layout leaves it open; else the class's own.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if there is no such layout, or the set is not whole.
    """
    module = _module(layout, str(source), size)
    module.prepare_data()
    module.setup("test")
    return module


def _module(layout: str, root: str, size: int | None) -> "FFHQ | CelebA | VGGFace2 | Folder":
    from datamodules.celeba import CelebA
    from datamodules.ffhq import FFHQ
    from datamodules.folder import Folder
    from datamodules.loading import Loading
    from datamodules.vggface2 import VGGFace2

    here = Loading(workers=0)
    if layout == "ffhq":
        return FFHQ(root, size or 512, loading=here)
    if layout == "celeba":
        return CelebA(root, loading=here)
    if layout == "vggface2":
        return VGGFace2(root, size or 224, loading=here)
    if layout == "folder":
        return Folder(root, size or 512, loading=here)
    raise ValueError(
        f"sets of {', '.join(SETS)} can be read photograph by photograph, got {layout}"
    )


def _files(set_name: str, source: Path) -> "tuple[str, Mapping[Split, FolderPhotographs]]":
    from datamodules.shards import is_sharded

    if is_sharded(source):
        raise ValueError(f"{source} holds shards already; name the folder of the pictures")
    module = data_set(set_name, source)
    return module.packed_as, cast("dict[Split, FolderPhotographs]", module.photographs)


def _summary(manifest: "Manifest", target: Path, finished: bool) -> str:
    counts = [
        f"{split} {sum(shard.samples for shard in shards)} in {len(shards)}"
        for split, shards in manifest.splits.items()
    ]
    were = "were there already, and are whole" if finished else "are written"
    return f"shards in {target} {were} (photographs of {', '.join(counts)} shards)\n"
