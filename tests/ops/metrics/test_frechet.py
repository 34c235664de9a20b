import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from ops.metrics.frechet import FrechetDistance, Moments, frechet_distance


def features(count, dimensions=24, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dimensions, dimensions, generator=generator)
    return torch.randn(count, dimensions, generator=generator) @ mix + shift


def moments(x):
    return Moments(x.double().mean(0), torch.cov(x.double().T))


def by_scipy(a, b):
    root = sqrtm(a.covariance.numpy() @ b.covariance.numpy()).real
    apart = np.square((a.mean - b.mean).numpy()).sum()
    return apart + np.trace(a.covariance.numpy() + b.covariance.numpy() - 2 * root)


def test_the_distance_is_scipys():
    a, b = moments(features(200)), moments(features(90, shift=0.7, seed=1))
    assert float(frechet_distance(a, b)) == pytest.approx(by_scipy(a, b), rel=1e-10)
    assert float(frechet_distance(b, a)) == pytest.approx(by_scipy(a, b), rel=1e-10)


def test_fewer_samples_than_features_are_allowed():
    a, b = moments(features(9)), moments(features(200, seed=1))
    c = moments(features(13, seed=2))
    values = torch.linalg.eigvals(a.covariance @ c.covariance).real.clamp(min=0)
    spread = a.covariance.trace() + c.covariance.trace() - 2 * values.sqrt().sum()
    expected = float((a.mean - c.mean).square().sum() + spread)
    assert float(frechet_distance(a, c)) == pytest.approx(expected, rel=1e-6)
    assert float(frechet_distance(a, b)) == pytest.approx(float(frechet_distance(b, a)), rel=1e-7)


def test_distributions_along_the_axes_have_a_closed_form():
    a = Moments(torch.zeros(3).double(), torch.diag(torch.tensor([1.0, 4.0, 0.0])).double())
    b = Moments(torch.ones(3).double(), torch.diag(torch.tensor([9.0, 4.0, 1.0])).double())
    assert float(frechet_distance(a, b)) == pytest.approx(3 + 4 + 0 + 1, rel=1e-12)
    assert float(frechet_distance(b, b)) == pytest.approx(0, abs=1e-12)


def test_the_metric_is_torchmetrics_own_on_the_same_features():
    output, target = features(60, 12), features(50, 12, 0.4, seed=1)

    class Flat(nn.Module):
        num_features = 12

        def forward(self, x):
            return x.flatten(1)

    theirs = FrechetInceptionDistance(Flat(), input_img_size=(3, 2, 2))
    theirs.update(target.view(-1, 3, 2, 2), real=True)
    theirs.update(output.view(-1, 3, 2, 2), real=False)
    ours = FrechetDistance(12)
    for part in range(0, 60, 17):
        ours.update(output[part : part + 17], target[part : part + 17])
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()), rel=1e-5)


def test_sums_far_from_zero_keep_their_digits():
    output, target = features(80, 6, 1e4), features(80, 6, 1e4 + 0.5, seed=1)
    metric = FrechetDistance(6)
    metric.update(output, target)
    expected = frechet_distance(moments(output), moments(target))
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-5)


def test_one_sample_is_no_distribution():
    metric = FrechetDistance(4)
    metric.update(features(1, 4), features(5, 4))
    assert metric.compute().isnan()


def distance_of_a_rank(rank):
    part = (slice(0, 20), slice(20, 50))[rank]
    metric = FrechetDistance(24)
    metric.update(features(50)[part], features(50, seed=1)[part])
    return metric.compute()


def test_two_processes_give_what_one_gives(two_processes):
    metric = FrechetDistance(24)
    metric.update(features(50), features(50, seed=1))
    for found in two_processes(distance_of_a_rank):
        torch.testing.assert_close(found, metric.compute(), rtol=1e-10, atol=0)
