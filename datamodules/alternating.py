"""The training photographs of a set in two halves, for the two players of a search."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, cast, final

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Int64
from torch.utils.data import DataLoader

from datamodules.photographs import Photographs
from datamodules.selection import SomePhotographs
from datamodules.stream import Purpose, Split, sample_generator

_ORDER: Final = 1  # draws of Purpose.SUBSET; number 0 is that of subsets
_SEED: Final = 2


class Divisible(Protocol):
    """What a set needs to be halved."""

    seed: int
    first_batch: int
    photographs: dict[Split, Photographs]

    def train_dataloader(self) -> DataLoader:
        """Endless batches from step `first_batch` on."""
        ...


@final
class Alternating(pl.LightningDataModule):
    """Two training batches at a time, of two halves of a set that have no photograph in common.

    A search fits weights to one half and judges by the other which architecture they serve
    (Auto-DeepLab, Liu et al., CVPR 2019, Section 4.2; which NASFE follows). Where the set tells who
    is on a photograph, all photographs of a person are in one half; else each is by itself. The
    seed decides which are where.

    Training gives {"weights": ..., "alphas": ...}, endlessly, each a batch of the set with as many
    photographs as the set is asked for; what the set counts, such as a subset, it counts in each
    half, and it has its workers twice. Batch number n is a function of (seed, n) alone. "identity"
    is numbered as in the whole. Validation, testing and prediction are the set's own.

    Args:
        train: the set, such as `CelebA`, `VGGFace2`, `FFHQ` or `Folder`.

    Raises:
        ValueError: if it is none that can be halved.
    """

    def __init__(self, train: pl.LightningDataModule) -> None:
        super().__init__()
        lacking = [name for name in Divisible.__annotations__ if not hasattr(train, name)]
        if lacking:
            raise ValueError(
                f"{type(train).__name__} cannot be halved, for it has no {' and no '.join(lacking)}"
                "; name a set of photographs, such as datamodules.celeba.CelebA"
            )
        self.train = train
        self.size = getattr(train, "size", None)
        self.first_batch = 0

    def prepare_data(self) -> None:
        """Prepares the set.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if it is incomplete or holds broken pictures; names them.
        """
        self.train.prepare_data()

    def setup(self, stage: str) -> None:
        """Sets the set up, and before training halves it once to see whether that can be done.

        Raises:
            FileNotFoundError: if there is no set.
            ValueError: if it lacks photographs, or has those of one person only.
        """
        self.train.trainer = self.trainer
        self.train.setup(stage)
        if stage == "fit":
            self._halves()

    def train_dataloader(self) -> Iterable[dict[str, Any]]:
        """Endless batches {"weights", "alphas"} from step `first_batch` on.

        Raises:
            ValueError: if a half has fewer photographs or people than a batch asks for.
        """
        self._divisible.first_batch = self.first_batch
        return SideBySide({name: half.train_dataloader() for name, half in self._halves().items()})

    def val_dataloader(self) -> DataLoader:
        """The validation batches of the set.

        Raises:
            ValueError: if there are none, or fewer photographs than processes.
        """
        return self.train.val_dataloader()

    def test_dataloader(self) -> DataLoader:
        """The test batches of the set.

        Raises:
            ValueError: if there are none, or fewer photographs than processes.
        """
        return self.train.test_dataloader()

    def predict_dataloader(self) -> DataLoader:
        """What the set has to predict.

        Raises:
            ValueError: if there are none, or fewer photographs than processes.
        """
        return self.train.predict_dataloader()

    @property
    def _divisible(self) -> Divisible:
        return cast(Divisible, self.train)

    def _halves(self) -> dict[str, Divisible]:
        """The set twice, each time with one half of its training photographs."""
        seed = self._divisible.seed
        weights, alphas = halves(self._divisible.photographs["train"], seed)
        return {
            "weights": self._with(weights, seed),
            # With one seed for both, the photographs of one number would be degraded alike.
            "alphas": self._with(alphas, _other_seed(seed)),
        }

    def _with(self, half: Photographs, seed: int) -> Divisible:
        """The set with `half` to train on."""
        copied = copy.copy(self._divisible)  # its loaders ask the set itself for its first batch
        copied.photographs = {"train": half}
        copied.seed = seed
        return copied


@final
class SideBySide:
    """The batches of several loaders at a time, as a dict of them; ends with the first of them.

    Args:
        loaders: by the name that their batches get.
    """

    def __init__(self, loaders: Mapping[str, Iterable[Any]]) -> None:
        self.loaders = loaders

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batches in zip(*self.loaders.values(), strict=False):
            yield dict(zip(self.loaders, batches, strict=True))


def halves(photographs: Photographs, seed: int) -> tuple[Photographs, Photographs]:
    """The photographs in two parts, as near to equal as whole people allow, drawn by the seed.

    Raises:
        ValueError: if there is one person only, or where nobody tells who is on the photographs
            fewer than two of them.
    """
    known = photographs.people
    one_by_one = np.arange(len(photographs))
    who = one_by_one if known is None else np.unique(known, return_inverse=True)[1]
    counts = np.bincount(who)
    if len(counts) < 2:
        raise ValueError(
            f"two halves need two {'photographs' if known is None else 'people'} or more for "
            f"training, and there are {len(counts)}; add some"
        )
    order = sample_generator(seed, 0, _ORDER, Purpose.SUBSET).permutation(len(counts))
    # So many people into the first half that its photographs are nearest to half of all.
    seen = np.cumsum(counts[order])[:-1]
    first = 1 + int(np.abs(2 * seen - len(who)).argmin())
    inside = np.isin(who, order[:first])
    one, other = np.flatnonzero(inside), np.flatnonzero(~inside)
    return _half(photographs, one), _half(photographs, other)


def _half(photographs: Photographs, positions: Int64[np.ndarray, " n"]) -> Photographs:
    known = photographs.people
    return SomePhotographs(photographs, positions, None if known is None else known[positions])


def _other_seed(seed: int) -> int:
    return int(sample_generator(seed, 0, _SEED, Purpose.SUBSET).integers(2**62))
