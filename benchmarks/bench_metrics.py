"""What each metric of an evaluation costs: images a second at 512 x 512, and Frechet's distance.

Where torchmetrics has the same number, it is timed beside ours, after a look at whether the
numbers are the same. Networks have random weights, which cost what trained ones do; FID's is left
out where torch-fidelity's file of weights is not at hand. Images a second are of CPU time on one
thread.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.timing import Row, Work, interleaved, summary
from ops.metrics.frechet import Moments, frechet_distance
from ops.metrics.niqe import FEATURES, NiqeModel, gaussian_window, niqe
from ops.metrics.ssim import ms_ssim, ssim
from ops.nets.embedder import Embedder
from ops.nets.facenet import FaceNet

from torchmetrics.functional.image import (  # isort: skip - after ops, which repairs torchvision
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.image.fid import _compute_fid  # isort: skip

SIDE, ROUNDS, FEATURES_OF_INCEPTION, SAMPLES = 512, 9, 2048, 4096
PEER = ", torchmetrics"


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a noisy copy, smooth enough to be like a photograph."""
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, 32, 32)
    target = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (target + 0.02 * torch.randn_like(target)).clamp(0, 1), target


def metrics() -> dict[str, Work]:
    """The metrics by name, each on one image."""
    output, target = images()
    clean = NiqeModel(
        torch.zeros(FEATURES, dtype=torch.float64),
        torch.eye(FEATURES, dtype=torch.float64),
        gaussian_window(),
    )
    judges = {"embedder, regnetx_002": Embedder("regnetx_002"), "FaceNet": FaceNet()}
    judged = {
        f"judge: {name}": partial(embed, judge.eval(), output, target)
        for name, judge in judges.items()
    }
    return {
        "psnr": lambda: peak_signal_noise_ratio(output, target, data_range=1.0),
        **similarities(output, target),
        "niqe": lambda: niqe(output, clean),
        **judged,
    }


def similarities(output: torch.Tensor, target: torch.Tensor) -> dict[str, Work]:
    """SSIM at one scale and at five, by torchmetrics and by ours."""
    works: dict[str, Work] = {
        "ssim" + PEER: partial(structural_similarity_index_measure, data_range=1.0),
        "ssim": ssim,
        "ms_ssim" + PEER: partial(multiscale_structural_similarity_index_measure, data_range=1.0),
        "ms_ssim": ms_ssim,
    }
    pairs = {name: partial(work, output, target) for name, work in works.items()}
    for name in ("ssim", "ms_ssim"):
        np.testing.assert_allclose(float(pairs[name]()), float(pairs[name + PEER]()), atol=1e-5)
    return pairs


def embed(judge: nn.Module, output: torch.Tensor, target: torch.Tensor) -> object:
    """What a judge has to do for a pair."""
    return judge(output), judge(target)


def moments(seed: int) -> Moments:
    """Those of as many samples as a small test set has."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(SAMPLES, FEATURES_OF_INCEPTION, generator=generator, dtype=torch.float64)
    return Moments(samples.mean(0), samples.T.cov())


def distances() -> dict[str, Work]:
    """Frechet's distance by torchmetrics and by ours."""
    a, b = moments(0), moments(1)
    theirs = _compute_fid(a.mean, a.covariance, b.mean, b.covariance)
    np.testing.assert_allclose(float(theirs), float(frechet_distance(a, b)), rtol=1e-6)
    return {
        "Frechet distance" + PEER: lambda: _compute_fid(a.mean, a.covariance, b.mean, b.covariance),
        "Frechet distance": lambda: frechet_distance(a, b),
    }


def run() -> list[Row]:
    """A row for each metric, those that torchmetrics has beside it."""
    with torch.no_grad():
        times = interleaved(metrics(), ROUNDS)
        times |= interleaved(distances(), 3)
    rows = {name: summary(name, found) for name, found in times.items()}
    for name, row in rows.items():
        if not name.startswith("Frechet"):
            row.extras["images a second"] = f"{1 / row.median_s:.1f}"
        if (theirs := rows.get(name + PEER)) is not None:
            rows[name] = replace(row, ratio=theirs.median_s / row.median_s, baseline=theirs.name)
    return list(rows.values())
