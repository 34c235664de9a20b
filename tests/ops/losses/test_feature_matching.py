import pytest
import torch
import torch.nn.functional as F

from ops.losses.feature_matching import (
    VGG_WEIGHTS,
    feature_distance,
    feature_matching,
    perceptual_distance,
)
from ops.nets.features import RandomFeatures
from ops.nets.patch_discriminator import MultiScaleDiscriminator


def maps() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 3)]


def test_with_squares_and_weights_of_one_it_is_equation_12() -> None:
    output, target = maps(), maps()
    wanted = 0.0
    for a, b in zip(output, target, strict=True):
        batch, channels, height, width = a.shape
        norm = torch.linalg.vector_norm((b - a).flatten(1), dim=1) ** 2
        wanted += norm.sum().item() / batch / (height * width * channels)
    result = feature_distance(output, target, (1.0, 1.0), F.mse_loss)
    assert result.item() == pytest.approx(wanted, rel=1e-5)


def test_by_default_differences_are_absolute_and_weighted() -> None:
    output, target = maps(), maps()
    means = [(a - b).abs().mean() for a, b in zip(output, target, strict=True)]
    result = feature_distance(output, target, (0.25, 2.0))
    torch.testing.assert_close(result, 0.25 * means[0] + 2 * means[1])


def test_a_small_difference_keeps_its_pull() -> None:
    output = torch.full((1, 1, 4, 4), 1e-3, requires_grad=True)
    target = torch.zeros(1, 1, 4, 4)
    pulls = [
        torch.autograd.grad(feature_distance([output], [target], (1.0,), distance), output)[0].sum()
        for distance in (F.l1_loss, F.mse_loss)
    ]
    assert pulls[0].item() == pytest.approx(1)
    assert pulls[1].item() == pytest.approx(2e-3)


def test_only_the_output_receives_a_gradient() -> None:
    output, target = torch.randn(2, 1, 3, 4, 4, requires_grad=True)
    output.retain_grad()
    target.retain_grad()
    feature_distance([output], [target], (1.0,)).backward()
    assert output.grad is not None
    assert target.grad is None


def test_a_missing_weight_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 maps of the output, 2 of the target and 5 weights"):
        feature_distance(maps(), maps(), VGG_WEIGHTS)


def test_matching_is_the_mean_over_the_scales_of_the_sum_over_their_layers() -> None:
    fakes, reals = [maps(), maps()], [maps(), maps()]
    sums = [
        sum((a - b).abs().mean() for a, b in zip(fake, real, strict=True))
        for fake, real in zip(fakes, reals, strict=True)
    ]
    torch.testing.assert_close(feature_matching(fakes, reals), (sums[0] + sums[1]) / 2)


def test_a_discriminators_judgements_are_matched_without_their_logits() -> None:
    judge = MultiScaleDiscriminator(widths=(4, 6, 8)).eval()
    image, condition = torch.rand(2, 1, 3, 32, 32)
    seen = [judgement.maps for judgement in judge(image, condition)]
    assert feature_matching(seen, seen) == 0
    with torch.no_grad():
        for part in judge.judges:
            part.head.bias.add_(3)
    again = [judgement.maps for judgement in judge(image, condition)]
    assert feature_matching(again, seen) == 0


def test_the_image_is_pulled_towards_its_target() -> None:
    features = RandomFeatures(4)
    target = torch.rand(1, 3, 32, 32)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    optimizer = torch.optim.Adam([image], 0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = perceptual_distance(image, target, features, (1.0, 1.0, 1.0))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert perceptual_distance(target, target, features, (1.0, 1.0, 1.0)) == 0


def test_the_perceptual_distance_compares_the_maps_of_the_given_network() -> None:
    features = RandomFeatures(4)
    image, target = torch.rand(2, 2, 3, 16, 16)
    result = perceptual_distance(image, target, features, (0.5, 1.0, 2.0), F.mse_loss)
    pairs = zip(features(image), features(target), (0.5, 1.0, 2.0), strict=True)
    torch.testing.assert_close(result, sum(w * (a - b).square().mean() for a, b, w in pairs))
