"""What each metric of an evaluation costs: images a second at 512 x 512, and Frechet's distance.

Networks have random weights, which cost what trained ones do; FID's is left out where
torch-fidelity's file of weights is not at hand. Images a second are of CPU time on one thread.
"""

from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.timing import Row, Work, interleaved
from lightning_modules.measures import Measures
from ops.metrics.frechet import Moments, frechet_distance
from ops.metrics.niqe import FEATURES, NiqeModel, gaussian_window, niqe
from ops.nets.embedder import Embedder
from ops.nets.facenet import FaceNet

from torchmetrics.functional.image import (  # isort: skip - after ops, which repairs torchvision
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.image.fid import _compute_fid  # isort: skip

SIDE, ROUNDS, FEATURES_OF_INCEPTION, SAMPLES = 512, 5, 2048, 4096


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a noisy copy, smooth enough to be like a photograph."""
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, 32, 32)
    target = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (target + 0.02 * torch.randn_like(target)).clamp(0, 1), target


def metrics() -> dict[str, Work]:
    """The metrics by name, each on one image."""
    output, target = images()
    (five_scales,) = Measures(ms_ssim=True).each
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
        "ssim": lambda: structural_similarity_index_measure(output, target, data_range=1.0),
        "ms_ssim": lambda: five_scales(output, target),
        "niqe": lambda: niqe(output, clean),
        **judged,
    }


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
        "Frechet distance, torchmetrics": lambda: _compute_fid(
            a.mean, a.covariance, b.mean, b.covariance
        ),
        "Frechet distance": lambda: frechet_distance(a, b),
    }


def run() -> list[Row]:
    """A row for each metric, then the two forms of the distance."""
    with torch.no_grad():
        times = interleaved(metrics(), ROUNDS)
        pair = interleaved(distances(), 3)
    rows = [
        Row(
            name, float(np.median(found)), extras={"images a second": f"{1 / np.median(found):.1f}"}
        )
        for name, found in times.items()
    ]
    theirs, ours = (float(np.median(found)) for found in pair.values())
    first, second = pair
    return [*rows, Row(first, theirs), Row(second, ours, ratio=theirs / ours, baseline=first)]
