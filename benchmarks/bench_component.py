"""Components of patches: how they are found and how an image is cut into them.

Finding: PatchPCA against scikit-learn's IncrementalPCA on the stride-1 patches, 11 x 11, of four
planes of 512 x 512 (10^6 patches), and PatchPCA alone on forty (10^7). The peer gets batches of the
size that suits it best; with its own, of 605, it takes three times as long. Cutting: one plane of
512 x 512 into 8 groups, against the 121 printed pairs of convolutions.
"""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.timing import Row, Work, compare, interleaved, peak_in_fresh_process, summary
from ops.kernels.component import ComponentBasis, PatchPCA

SIDE, PATCH = 512, 11
GROUPS = [*([i] for i in range(7)), [*range(7, PATCH**2)]]
PEER, OURS, LONG = "IncrementalPCA, 10^6", "PatchPCA, 10^6", "PatchPCA, 10^7"
ONE_BY_ONE, GROUPED, PARTS = "121 pairs one by one", "121 pairs at once", "decompose"
ROWS_AT_A_TIME = 4000


def plane(index: int, side: int) -> torch.Tensor:
    """A made-up discrepancy: noise with a falling spectrum around a shift of tone."""
    generator = torch.Generator().manual_seed(index)
    coarse = torch.randn(1, 1, side // 8, side // 8, generator=generator)
    smooth = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    return 0.05 + 0.02 * smooth + 0.005 * torch.randn(1, 1, side, side, generator=generator)


def by_scikit_learn(planes: list[torch.Tensor]) -> tuple[np.ndarray, float]:
    """The peer: the patches are cut out and given to it in batches; their second moment."""
    from sklearn.decomposition import IncrementalPCA  # type: ignore[import-untyped]

    pca = IncrementalPCA()
    for maps in planes:
        exact = maps[0, 0].double().numpy()
        patches = np.lib.stride_tricks.sliding_window_view(exact, (PATCH, PATCH))
        flat = patches.reshape(-1, PATCH**2)
        with threadpool_limits(1):
            for rows in np.array_split(flat, -(-len(flat) // ROWS_AT_A_TIME)):
                pca.partial_fit(rows)
    seen = pca.n_samples_seen_
    spread = (pca.components_.T * pca.explained_variance_) @ pca.components_ * (seen - 1) / seen
    return spread + np.outer(pca.mean_, pca.mean_), float(seen)


def by_patch_pca(planes: list[torch.Tensor]) -> PatchPCA:
    """Ours, fed with one plane at a time, down to the basis."""
    pca = PatchPCA(PATCH)
    for maps in planes:
        pca.update(maps)
    pca.basis()
    return pca


def one_by_one(basis: ComponentBasis, image: torch.Tensor) -> list[torch.Tensor]:
    """The printed equation, a component at a time."""
    kernels = basis.vectors.view(-1, 1, 1, PATCH, PATCH)
    parts = []
    for group in GROUPS:
        total = torch.zeros_like(image)
        for i in group:
            coefficients = F.conv2d(image, kernels[i], padding=PATCH - 1)
            total += F.conv2d(coefficients, kernels[i].flip(-2, -1))
        parts.append(total / PATCH**2)
    return parts


def grouped(basis: ComponentBasis, image: torch.Tensor) -> list[torch.Tensor]:
    """The printed equation for all components at once, then summed in groups."""
    kernels = basis.vectors.view(-1, 1, PATCH, PATCH)
    coefficients = F.conv2d(image, kernels, padding=PATCH - 1)
    maps = F.conv2d(coefficients, kernels.flip(-2, -1), groups=len(kernels)) / PATCH**2
    return [maps[:, group].sum(1, keepdim=True) for group in GROUPS]


def check() -> None:
    """Whether all ways agree.

    Raises:
        AssertionError: if they do not, so that there is nothing to compare.
    """
    planes = [plane(0, 64), plane(1, 64)]
    moment, seen = by_scikit_learn(planes)
    ours = by_patch_pca(planes).moment
    np.testing.assert_allclose(ours.mean().numpy(), moment, rtol=1e-9)
    if int(ours.patches) != seen:
        raise AssertionError(f"{int(ours.patches)} patches against {seen}")
    basis, image = by_patch_pca(planes).basis(), planes[0]
    for way in (one_by_one, grouped):
        torch.testing.assert_close(way(basis, image), basis.decompose(image, GROUPS))


def cases(small: bool = False) -> dict[str, Work]:
    """All ways, of finding and of cutting."""
    if small:
        check()
    planes = [plane(i, 64 if small else SIDE) for i in range(1 if small else 40)]
    few, image = planes[:4], planes[0]
    # Fitted in small, so as to leave no free memory that would hide a peak.
    basis = by_patch_pca([plane(0, 64)]).basis()
    return {
        PEER: lambda: by_scikit_learn(few),
        OURS: lambda: by_patch_pca(few),
        LONG: lambda: by_patch_pca(planes),
        ONE_BY_ONE: lambda: one_by_one(basis, image),
        GROUPED: lambda: grouped(basis, image),
        PARTS: lambda: basis.decompose(image, GROUPS),
    }


def run() -> list[Row]:
    """Both comparisons, and 10^7 patches by PatchPCA without a peer, which would take minutes."""
    every = cases()
    finding = compare("benchmarks.bench_component", {x: every[x] for x in (PEER, OURS)}, 1, PEER)
    long = summary(LONG, interleaved({LONG: every[LONG]}, 3)[LONG])
    peak = peak_in_fresh_process("benchmarks.bench_component", LONG)
    ways = {x: every[x] for x in (GROUPED, ONE_BY_ONE, PARTS)}
    cutting = compare("benchmarks.bench_component", ways, 5, GROUPED)
    return [*finding, dataclasses.replace(long, peak_mib=peak), *cutting]
