"""`python -m benchmarks.limits data/makeup`: what can be undone of the edits of a makeup set.

Three rows beside which a network's ARI is to be read, on the test portraits:

- rounding: what would be undone if white noise of rounding to 8 bits were all that is left: 1 - q /
  lambda_i of each component, q the variance of rounding. No bound: smoothing may lose more.
- colour: the best affine map of a pixel's colour, one for all pictures.
- linear: the best linear filter over what the CRN's network sees, fitted to the training pairs.
"""

import argparse
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import ROOT
from datamodules.loading import Loading
from datamodules.makeup import Makeup
from ops.kernels.component import ComponentBasis, PatchPCA
from ops.metrics.ari import accumulated_relative_improvement

Pairs = list[tuple[Tensor, Tensor]]

RECEPTIVE_FIELD = 15  # of the CRN: seven 3x3 convolutions one after another
ROUNDING = 1 / (12 * 255**2)
RIDGE = 1e-3


def pairs_of(root: str, size: int, batches: int) -> tuple[Pairs, Pairs]:
    """Training parts of 96 pixels and whole test portraits, images and targets."""
    data = Makeup(root, size=size, crop=min(96, size), batch_size=8, loading=Loading(workers=0))
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    train = [(b["image"], b["target"]) for b in islice(data.train_dataloader(), batches)]
    return train, [(b["image"], b["target"]) for b in data.test_dataloader()]


def rows_of_windows(images: Tensor, side: int) -> Tensor:
    """Each pixel's window, mirrored at the border, and a 1, as a row."""
    padded = F.pad(images - 0.5, (side // 2,) * 4, mode="reflect")
    rows = F.unfold(padded, side).mT.flatten(0, 1)
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def linear_filter(pairs: Pairs, side: int) -> Tensor:
    """The least-squares filter from windows to the edit, (3 side^2 + 1, 3)."""
    count = 3 * side**2 + 1
    moment = RIDGE * torch.eye(count, dtype=torch.float64)
    cross = torch.zeros(count, 3, dtype=torch.float64)
    for image, target in pairs:
        for i in range(len(image)):
            rows = rows_of_windows(image[i : i + 1], side)
            moment += (rows.T @ rows).double()
            cross += (rows.T @ (target - image)[i].flatten(1).T).double()
    weights: Tensor = torch.linalg.solve(moment, cross)
    return weights.float()


def filtered(image: Tensor, weights: Tensor, side: int) -> Tensor:
    """Images (1, 3, h, w) with the filter's estimate of the edit undone."""
    return (image + (rows_of_windows(image, side) @ weights).T.view_as(image)).clamp(0, 1)


def energies(maps: list[Tensor], basis: ComponentBasis) -> Tensor:
    """The sums of squares of each component over all maps."""
    return torch.stack([basis.energies(some) for some in maps]).sum(0)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("root", help="folder of a makeup set, Meitu's edits among them")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batches", type=int, default=30, help="of 8 training parts")
    told = parser.parse_args()
    train, test = pairs_of(str(ROOT / told.root), told.size, told.batches)
    pca = PatchPCA()
    for image, target in train:
        pca.update(target - image)
    basis = pca.basis()
    before = energies([target - image for image, target in test], basis)
    patches = sum(3 * len(x) * (x.shape[-2] - 10) * (x.shape[-1] - 10) for x, _ in test)
    bound = accumulated_relative_improvement(before, torch.full_like(before, ROUNDING * patches))
    print(f"| rounding | | {float(bound):.1f} |")
    for name, side in (("colour", 1), ("linear", RECEPTIVE_FIELD)):
        weights = linear_filter(train, side)
        errors = [target - filtered(image, weights, side) for image, target in test]
        after = energies(errors, basis)
        psnr = torch.stack([-10 * error.square().mean().log10() for error in errors]).mean()
        print(f"| {name} | {psnr:.2f} | {accumulated_relative_improvement(before, after):.1f} |")


if __name__ == "__main__":
    main()
