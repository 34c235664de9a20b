"""NIQE of 8-bit images of 512 x 512 against the loop over blocks that libraries have.

The loop is written out from the paper in numpy and scipy: a window of 7 x 7 in two dimensions,
one block after the other, and a table of gamma functions for each of its ten fits. Images a second
are of CPU time on one thread.
"""

import numpy as np
import torch
from scipy import ndimage, special

from benchmarks.timing import Row, Work, compare
from ops.metrics.niqe import NiqeModel, gaussian_window, niqe

PEER, OURS, BATCH = "loop over blocks, one image", "niqe, one image", "niqe, four images"


def loop(rgb: np.ndarray, model: NiqeModel) -> float:
    """NIQE of an image (h, w, 3) of 8 bits, whose sides are multiples of 96."""
    luma = np.floor(16.5 + rgb @ np.array([65.481, 128.553, 24.966]) / 255)
    rows = np.concatenate([one_scale(luma, 96, model), one_scale(halved(luma), 48, model)], 1)
    offset = model.mean.numpy() - rows.mean(0)
    covariance = (model.covariance.numpy() + np.cov(rows, rowvar=False)) / 2
    return float(np.sqrt(offset @ np.linalg.pinv(covariance) @ offset))


def one_scale(luma: np.ndarray, side: int, model: NiqeModel) -> np.ndarray:
    window = model.window.numpy()
    mean = ndimage.correlate(luma, window, mode="nearest")
    variance = ndimage.correlate(luma**2, window, mode="nearest") - mean**2
    contrast = (luma - mean) / (np.sqrt(np.abs(variance)) + 1)
    heights, widths = (range(0, size, side) for size in luma.shape)
    return np.array(
        [of_block(contrast[y : y + side, x : x + side]) for y in heights for x in widths]
    )


def of_block(block: np.ndarray) -> list[float]:
    shape, left, right = fit(block)
    found = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = fit(block * np.roll(block, shift, (0, 1)))
        mean = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
        found += [shape, mean, left, right]
    return found


def fit(block: np.ndarray) -> tuple[float, float, float]:
    shapes = np.arange(200, 10001) / 1000
    one, two, three = (special.gamma(k / shapes) for k in (1, 2, 3))
    left = np.sqrt(np.mean(block[block < 0] ** 2))
    right = np.sqrt(np.mean(block[block > 0] ** 2))
    gamma, rho = left / right, np.mean(np.abs(block)) ** 2 / np.mean(block**2)
    wanted = rho * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    at = np.argmin((two**2 / (one * three) - wanted) ** 2)
    scale = np.sqrt(one[at] / three[at])
    return shapes[at], left * scale, right * scale


def halved(luma: np.ndarray) -> np.ndarray:
    down, across = (halving(size) for size in luma.shape)
    return down @ luma @ across.T


def halving(size: int) -> np.ndarray:
    """The matrix of imresize by 1/2, the image mirrored at its ends."""
    matrix = np.zeros((size // 2, size))
    for row in range(size // 2):
        for place in range(2 * row - 3, 2 * row + 5):
            x = abs(place - 2 * row - 0.5) / 2
            near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            column = -1 - place if place < 0 else min(place, 2 * size - 1 - place)
            matrix[row, column] += (near if x <= 1 else far) / 2
    return matrix


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Made-up texture of 8 bits, of several scales, that is even nowhere."""
    rng = np.random.default_rng(seed)
    layers = [
        ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (sigma, sigma, 0)) * sigma
        for sigma in (0.7, 2, 6)
    ]
    return np.clip(np.rint(128 + 40 * sum(layers)), 0, 255).astype(np.uint8)


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def made_up_model() -> NiqeModel:
    return NiqeModel(torch.ones(36).double(), torch.eye(36).double(), gaussian_window())


def cases(small: bool = False) -> dict[str, Work]:
    """The forms on the same image, of which the loop gets the whole blocks cut out."""
    model, side = made_up_model(), 200 if small else 512
    rgb = picture(side, side)
    whole, image = rgb[: side // 96 * 96, : side // 96 * 96], as_tensor(rgb)
    if small and abs(loop(whole, model) - niqe(image, model).item()) > 1e-6:
        raise AssertionError("niqe and the loop disagree, so there is nothing to compare")
    four = image.repeat(1 if small else 4, 1, 1, 1)
    return {
        PEER: lambda: loop(whole, model),
        OURS: lambda: niqe(image, model),
        BATCH: lambda: niqe(four, model),
    }


def run() -> list[Row]:
    """The loop, one image and four, of which the time of one is given."""
    rows = []
    for row in compare("benchmarks.bench_niqe", cases(), 15, PEER):
        images = 4 if row.name == BATCH else 1
        row.extras["images/s"] = f"{images / row.median_s:.1f}"
        row.extras["times faster an image"] = f"{(row.ratio or 0) * images:.1f}"
        rows.append(row)
    return rows
