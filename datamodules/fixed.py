"""One fixed test set, as `make prepare SET=nasfe_tests` or `SET=ispl_tests` writes it."""

import hashlib
from pathlib import Path
from typing import Any, final

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.degradations.base import LABELLED, Step
from datamodules.images import UnreadableImage, planes, read_image
from datamodules.index import failures, refuse
from datamodules.loading import Feed, Loading
from datamodules.photographs import Sample
from datamodules.stream import Key
from datamodules.testsets import CLEAN, read_manifest


@final
class FixedSet(pl.LightningDataModule):
    """Degraded photographs beside clean ones, the same bytes for everybody; for testing only.

    A batch holds "image", "target", "name", "label" and "degradation". To train on another set,
    put both into `datamodules.across.Across`.

    Args:
        root: folder that the test sets were written to.
        test: which of them, such as "Test-BN".
        batch_size: pairs in a batch of one process.
        loading: workers and limits; every file's checksum is compared before anything else.

    Raises:
        ValueError: if `batch_size` is below 1.
    """

    def __init__(
        self,
        root: str,
        test: str,
        batch_size: int = 1,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.test = test
        self.first_batch = 0
        self._feed = Feed(self, batch_size, 0, loading)
        self._pairs: FixedPairs | None = None

    def prepare_data(self) -> None:
        """Compares every file with the manifest.

        Raises:
            FileNotFoundError: if there are no test sets.
            ValueError: if there is no such set, or a file is missing or has changed; names them.
        """
        pairs = FixedPairs(self.root, self.test)
        digests = {self.root / file: digest for file, digest in pairs.digests.items()}

        def look(path: Path) -> None:
            if not path.is_file():
                raise UnreadableImage(f"{path}: is missing")
            if hashlib.sha256(path.read_bytes()).hexdigest() != digests[path]:
                raise UnreadableImage(f"{path}: is not the file that the manifest tells of")

        refuse(failures(look, list(digests), "Comparing checksums"), self.root, len(digests))

    def setup(self, stage: str) -> None:
        """Reads the manifest.

        Raises:
            FileNotFoundError: if there are no test sets.
            ValueError: if there is no such set.
        """
        self._pairs = FixedPairs(self.root, self.test)

    def test_dataloader(self) -> DataLoader:
        """All pairs of the set, in the manifest's order.

        Raises:
            ValueError: if there are fewer than processes.
        """
        return self._feed.evaluation(self._pairs or FixedPairs(self.root, self.test), self.test)

    def predict_dataloader(self) -> DataLoader:
        """The pairs of `test_dataloader`; `predict` writes an answer for each.

        Raises:
            ValueError: if there are fewer than processes.
        """
        return self.test_dataloader()


@final
class FixedPairs(Dataset[Sample]):
    """The pairs of one test set, by keys (epoch, index) whose epoch means nothing.

    Raises:
        FileNotFoundError: if there are no test sets.
        ValueError: if there is no such set.
    """

    def __init__(self, root: Path, test: str) -> None:
        files: list[dict[str, Any]] = read_manifest(root)["files"]
        clean = {file["photograph"]: file for file in files if "steps" not in file}
        self._files = [file for file in files if file["file"].startswith(f"{test}/")]
        self._clean = clean
        self._root = root
        if not self._files or test == CLEAN:
            there = sorted({file["file"].partition("/")[0] for file in files} - {CLEAN})
            raise ValueError(f"no test set {test} in {root}; there are {', '.join(there)}")

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every file that these pairs read, by its path below the folder."""
        wanted = [*self._files, *(self._clean[file["photograph"]] for file in self._files)]
        return {file["file"]: file["sha256"] for file in wanted}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, key: Key) -> Sample:
        file = self._files[key[1]]
        clean = self._clean[file["photograph"]]
        kinds = [step["kind"] for step in file["steps"]]
        return {
            "image": planes(read_image(self._root / file["file"])),
            "target": planes(read_image(self._root / clean["file"])),
            "name": file["file"].partition("/")[2].rpartition(".")[0],
            "label": torch.tensor([float(kind in kinds) for kind in LABELLED]),
            "degradation": ", ".join(_told(step) for step in file["steps"]),
        }


def _told(step: dict[str, Any]) -> str:
    parameters = {key: value for key, value in step.items() if key not in ("kind", "name")}
    return str(Step(step["kind"], step["name"], parameters))
