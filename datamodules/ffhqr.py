"""FFHQR: 70,000 portraits and their professional retouches (Shafaei et al., WACV 2021)."""

from pathlib import Path
from typing import final

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from datamodules.augmentation import Augmentation
from datamodules.identities import check_disjoint
from datamodules.loading import Feed, Loading
from datamodules.numbered import REMEDY, SPLITS, Pair, check_pairs, list_pairs, of_split
from datamodules.pairs import EvaluationPairs, SemiSupervisedPairs, Strangers, paired_subset
from datamodules.reading import FramedReader, Square
from datamodules.stream import Split
from datamodules.synthetic import DrawnSet, may_be_drawn, write_drawn

EVALUATED: tuple[Split, ...] = ("val", "test")


@final
class FFHQR(pl.LightningDataModule):
    """Semi-supervised batches for training, plain pairs for validation and testing.

    Training gives {"paired": ..., "unpaired": ...}, endlessly, as `datamodules.stream` says; set
    `first_batch` to start in the middle. Each half is a dict of "image", "target" and "name"; an
    unpaired "name" is that of the image and that of the target. Without an unpaired half (gamma 1,
    or `unpaired` false) the key is absent. Validation and testing give one such dict a batch.

    Args:
        root: folder of the set.
        size: side of the pictures in pixels.
        batch_size: pairs in a batch of one process, and as many unpaired pictures beside them.
        gamma: share of the training photographs that are pairs, |X_a| / |X|.
        unpaired: use the other photographs too.
        draw: faces to draw at `root` first, unless a set of photographs is there.
        seed: of the pairs chosen, of the order and of augmentation.
        loading: workers, cache, checks and augmentation.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        root: str,
        size: int = 512,
        batch_size: int = 1,
        gamma: float = 0.1,
        unpaired: bool = True,
        draw: DrawnSet | None = None,
        seed: int = 0,
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        if size < 16:
            raise ValueError(f"size must be 16 or more, got {size}")
        self.root = Path(root)
        self.size = size
        self.gamma = gamma
        self.unpaired = unpaired
        self.draw = draw
        self.seed = seed
        self.loading = loading
        self.first_batch = 0
        self._read = FramedReader(self.root, Square(size), loading.cache)
        self._feed = Feed(self, batch_size, seed, loading)
        self._pairs: list[Pair] = []

    def prepare_data(self) -> None:
        """Draws the set if asked to, looks at every picture, and makes the resized copies.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the set is incomplete or holds broken pictures; names them.
        """
        if self.draw is not None and may_be_drawn(self.root):
            write_drawn(self.root, "ffhqr", self.draw)
        pairs = self._listed()
        check_pairs(self.root, pairs, self.loading.verify)
        self._pairs = pairs  # `setup` of this process need not look again
        if self.loading.cache:
            paths = [path for pair in pairs for path in (pair.raw, pair.retouched)]
            self._read.make_copies(paths, REMEDY)

    def setup(self, stage: str) -> None:
        """Lists the set, and looks at its pictures if nobody has.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if the set is incomplete or holds broken pictures; names them.
        """
        if not self._pairs:
            pairs = self._listed()
            check_pairs(self.root, pairs, self.loading.verify)
            self._pairs = pairs
        if stage == "fit":  # whatever is wrong shows before anything is trained
            self._training()
            for split in EVALUATED:
                of_split(self._pairs, split)

    def train_dataloader(self) -> DataLoader:
        """Endless batches {"paired", "unpaired"} from step `first_batch` on.

        Raises:
            ValueError: if the set has no photographs for training, or too few for this gamma.
        """
        return self._feed.training(self._training())

    def val_dataloader(self) -> DataLoader:
        """Batches of pairs 56000 to 62999.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """Batches of pairs 63000 to 69999.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader:
        """The pairs of `test_dataloader`; `predict` writes an answer for each.

        Raises:
            ValueError: if there are none, or fewer than processes.
        """
        return self._evaluation("test")

    def _listed(self) -> list[Pair]:
        pairs = list_pairs(self.root)
        check_disjoint(
            {
                split: [pair.person for pair in pairs if pair.number in numbers]
                for split, numbers in SPLITS.items()
            }
        )
        return pairs

    def _training(self) -> SemiSupervisedPairs:
        pairs = of_split(self._pairs, "train")
        paired, others = paired_subset(pairs, self.gamma, self.seed)
        strangers = Strangers(others, self.seed) if self.unpaired and self.gamma < 1 else None
        augmentation = Augmentation(self.loading.transform)
        return SemiSupervisedPairs(paired, strangers, self._read, augmentation, self.seed)

    def _evaluation(self, split: Split) -> DataLoader:
        pairs = of_split(self._pairs, split)
        return self._feed.evaluation(EvaluationPairs(pairs, self._read), split)
