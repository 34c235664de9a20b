"""The components of an edit, fitted to a training set before its first step (Makeup-Go)."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import pytorch_lightning as pl
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from ops.kernels.component import ComponentBasis, PatchPCA
from ops.kernels.scales import ScaleMeter, Scales, common_scale, eigenvalue_scales
from ops.kernels.second_moment import Mode
from ops.kernels.whitening import Heads, Maps, Whitened


@dataclass(frozen=True)
class Cut:
    """How a map is cut into what the heads of a network predict (Makeup-Go, Section 4).

    Attributes:
        dedicated: components with a head of their own; one more head predicts the rest. 0 leaves
            the map whole, "all components are mixed" (Table 1, one branch).
        scales: what each component is divided by: its measured deviation, the printed root of its
            eigenvalue, or one deviation for all ("w/o ScaleNorm").
        shared: the rest as one whitened map, or as a map for each component.
        patch_size: side of the patches in pixels.
        mode: one basis for the three channels, or patches of all three.
        batches: of training pairs that the components are fitted to, in each process.
    """

    dedicated: NonNegativeInt = 7
    scales: Literal["measured", "eigenvalues", "none"] = "measured"
    shared: Literal["whitened", "maps"] = "whitened"
    patch_size: PositiveInt = 11
    mode: Mode = "per_channel"
    batches: PositiveInt = 100

    def heads(self, basis: ComponentBasis, scales: Scales) -> Heads:
        """What the heads predict, for a basis and scales.

        Raises:
            ValueError: if `dedicated` is not from 0 to n - 1.
        """
        kind = Whitened if self.shared == "whitened" else Maps
        return kind(basis, self.dedicated, scales)

    def unfitted(self) -> tuple[ComponentBasis, Heads]:
        """A basis and heads of the right shapes, to be filled by `fit` or from a checkpoint.

        Raises:
            ValueError: if `dedicated` is not from 0 to n - 1.
        """
        basis = ComponentBasis.empty(self.patch_size, self.mode)
        return basis, self.heads(basis, common_scale(basis, self.dedicated))

    def fit(self, maps: Iterable[Tensor], device: Any) -> tuple[ComponentBasis, Scales]:
        """The components of the maps of all processes, and their scales.

        Raises:
            ValueError: if all maps are 0, or smaller than a patch.
        """
        pca = PatchPCA(self.patch_size, self.mode).to(device)
        meter = ScaleMeter(self.patch_size, self.mode).to(device)
        for some in maps:
            pca.update(some)
            if self.scales == "measured":
                meter.update(some)
        basis = _basis_of_all(pca)
        if self.scales == "none":
            return basis, common_scale(basis, self.dedicated)
        if self.scales == "eigenvalues":
            return basis, eigenvalue_scales(basis, self.dedicated)
        meter.sum_over_ranks()
        return basis, meter.scales(basis, self.dedicated)

    def fit_to_edits(self, trainer: pl.Trainer, device: Any) -> dict[str, Any]:
        """The state of the basis that is fitted to what the edits took away, for ARI.

        Raises:
            ValueError: if the training pairs do not differ.
        """
        pca = PatchPCA(self.patch_size, self.mode).to(device)
        for image, target in training_pairs(trainer, self.batches, device):
            pca.update(target - image)
        return _basis_of_all(pca).state_dict()


def training_pairs(trainer: pl.Trainer, count: int, device: Any) -> Iterable[tuple[Tensor, Tensor]]:
    """The images and targets of the first `count` training batches of this process."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    for batch in islice(data.train_dataloader(), count):
        yield batch["image"].to(device), batch["target"].to(device)


def _basis_of_all(pca: PatchPCA) -> ComponentBasis:
    pca.sum_over_ranks()
    basis = pca.basis()
    if not basis.eigenvalues[0] > 0:
        raise ValueError("all maps are 0: fit the components to pairs that differ")
    return basis
