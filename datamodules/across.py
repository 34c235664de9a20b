"""Training on one data set and testing on another: synthetic to real, S2R (ISPL, Section 4.1)."""

from typing import Any, final

import pytorch_lightning as pl
from torch.utils.data import DataLoader


@final
class Across(pl.LightningDataModule):
    """The training and validation batches of one data set, the test batches of another.

    The protocols of ISPL's Table 3 in these terms: S2S and R2R are one data set each, S2R is this.
    The order and the draws of training follow the seed of `train`; pictures for testing are the
    same whatever the seed.

    Args:
        train: gives the batches for training and validation.
        test: gives those for testing and prediction.

    Raises:
        ValueError: if both have a size and it differs.
    """

    def __init__(self, train: pl.LightningDataModule, test: pl.LightningDataModule) -> None:
        super().__init__()
        sizes: list[Any] = [getattr(module, "size", None) for module in (train, test)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f"train has pictures of size {sizes[0]} and test of {sizes[1]}; "
                "give both the same size"
            )
        self.train = train
        self.test = test
        self.size = sizes[0]
        self.first_batch = 0

    def prepare_data(self) -> None:
        """Prepares both sets, so that a fault of either shows before anything is trained.

        Raises:
            FileNotFoundError: if there is no such set.
            ValueError: if one of them is incomplete or holds broken pictures; names them.
        """
        for module in (self.train, self.test):
            module.prepare_data()

    def setup(self, stage: str) -> None:
        """Sets up what `stage` needs; the test set before training too, for its faults.

        Raises:
            FileNotFoundError: if there is no such set.
            ValueError: if one of them lacks photographs.
        """
        for module in (self.train, self.test):
            module.trainer = self.trainer
        if stage in ("fit", "validate"):
            self.train.setup(stage)
        if stage != "validate":
            self.test.setup("test" if stage == "fit" else stage)
        if stage == "fit":
            _refuse_shared(self.train, self.test)

    def train_dataloader(self) -> DataLoader:
        """The batches of `train` from step `first_batch` on.

        Raises:
            ValueError: if there are none.
        """
        self.train.first_batch = self.first_batch  # type: ignore[attr-defined]  # of all sets here
        return self.train.train_dataloader()

    def val_dataloader(self) -> DataLoader:
        """The validation batches of `train`.

        Raises:
            ValueError: if there are none, or fewer photographs than processes.
        """
        return self.train.val_dataloader()

    def test_dataloader(self) -> DataLoader:
        """The test batches of `test`.

        Raises:
            ValueError: if there are none, or fewer photographs than processes.
        """
        return self.test.test_dataloader()

    def predict_dataloader(self) -> DataLoader:
        """What `test` has to predict.

        Raises:
            ValueError: if there are none, or fewer photographs than processes.
        """
        return self.test.predict_dataloader()


def _refuse_shared(train: pl.LightningDataModule, test: pl.LightningDataModule) -> None:
    """Nothing, unless both are of one folder and have photographs in common."""
    if getattr(train, "root", None) != getattr(test, "root", None):
        return
    seen, tested = getattr(train, "photographs", {}), getattr(test, "photographs", {})
    learnt = {
        some.name(i) for split, some in seen.items() for i in range(len(some)) if split != "test"
    }
    held_out = tested.get("test", ())
    shared = {held_out.name(i) for i in range(len(held_out))} & learnt if held_out else set()
    if shared:
        raise ValueError(
            f"{len(shared)} photographs are trained on and tested on, the first is {min(shared)}; "
            "give both sets of one folder the same splits"
        )
