import pytest
import torch

from ops.losses.gaussian_activation import GaussianActivation, gaussian_activation

SHAPE = (3, 4, 5)


def fitted(activations: torch.Tensor, smoothing: float = 0.1) -> GaussianActivation:
    found = GaussianActivation(SHAPE, smoothing)
    found.fit(activations.split(3))
    return found


def test_it_is_equation_5_for_each_image() -> None:
    activations, mean = torch.randn(2, *SHAPE), torch.randn(SHAPE)
    variance, nu = torch.rand(SHAPE), 0.05
    largest = float(variance.sqrt().max())
    result = gaussian_activation(activations, mean, variance, nu)
    for i in range(2):
        total = 0.0
        triples = zip(activations[i].flatten(), mean.flatten(), variance.flatten(), strict=True)
        for a, v, s in triples:
            total += nu * float(a - v) ** 2 * largest**2 / (float(s) + nu * largest**2)
        assert result[i].item() == pytest.approx(total, rel=1e-5)


def test_with_little_smoothing_it_is_equation_4_up_to_a_factor() -> None:
    activations, mean = torch.randn(2, 2, *SHAPE, dtype=torch.float64)[:, 0:2]
    variance = torch.rand(SHAPE, dtype=torch.float64) + 0.1
    nu = 1e-9
    result = gaussian_activation(activations, mean[0], variance, nu)
    wanted = ((activations - mean[0]).square() / variance).sum((1, 2, 3))
    torch.testing.assert_close(result / (nu * variance.max()), wanted, rtol=1e-6, atol=0)


def test_with_much_smoothing_it_is_the_squared_distance_from_the_mean() -> None:
    activations, variance = torch.randn(2, *SHAPE), torch.rand(SHAPE)
    result = gaussian_activation(activations, torch.zeros(SHAPE), variance, 1e6)
    torch.testing.assert_close(result, activations.square().sum((1, 2, 3)))


def test_a_number_that_never_varied_is_held_hardest_and_stays_finite() -> None:
    variance = torch.ones(SHAPE)
    variance[0, 0, 0] = 0
    off = torch.zeros(2, *SHAPE)
    off[0, 0, 0, 0], off[1, 1, 1, 1] = 1, 1
    still, lively = gaussian_activation(off, torch.zeros(SHAPE), variance, 0.01)
    assert still.item() == pytest.approx(1)
    assert lively.item() == pytest.approx(0.01 / 1.01)


def test_rescaling_activations_rescales_their_loss_as_a_whole() -> None:
    activations = torch.randn(8, *SHAPE, dtype=torch.float64)
    factors = torch.rand(SHAPE, dtype=torch.float64) + 0.5
    losses = []
    for numbers in (activations, activations * factors):
        mean, variance = numbers.mean(0), numbers.var(0, correction=0)
        losses.append(gaussian_activation(numbers, mean, variance, 1e-9) / variance.max())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


def test_the_statistics_are_those_of_all_images_whatever_the_batches() -> None:
    activations = torch.randn(10, *SHAPE) * torch.rand(SHAPE) + torch.randn(SHAPE)
    exact = activations.double()
    for split in ([10], [1] * 10, [3, 7], [0, 4, 0, 6]):
        found = GaussianActivation(SHAPE)
        found.fit(iter(activations.split(split)))
        torch.testing.assert_close(found.mean, exact.mean(0).float())
        torch.testing.assert_close(found.variance, exact.var(0, correction=0).float())
        assert found.images.item() == 10


def test_small_deviations_around_a_large_mean_are_not_lost() -> None:
    activations = 1000 + 1e-3 * torch.randn(50, *SHAPE).clamp(-3, 3)
    found = fitted(activations)
    wanted = activations.double().var(0, correction=0).float()
    torch.testing.assert_close(found.variance, wanted, rtol=1e-5, atol=0)


def test_a_number_that_all_images_share_has_no_variance_at_all() -> None:
    activations = torch.rand(7, *SHAPE)
    activations[:, 1] = 0.1
    assert torch.equal(fitted(activations).variance[1], torch.zeros(SHAPE[1:]))


def test_the_collection_is_less_unusual_than_other_images() -> None:
    collection = torch.randn(64, *SHAPE) * torch.rand(SHAPE)
    found = fitted(collection)
    assert found(collection).max() < found(torch.randn(16, *SHAPE) * 2).min()
    assert found(found.mean.unsqueeze(0)).item() == 0


def test_fitting_again_forgets_what_was() -> None:
    found = fitted(torch.randn(6, *SHAPE))
    other = torch.randn(5, *SHAPE)
    found.fit([other])
    torch.testing.assert_close(found.mean, other.mean(0))
    assert found.images.item() == 5


def test_the_statistics_survive_in_the_state_dict() -> None:
    found = fitted(torch.randn(6, *SHAPE))
    loaded = GaussianActivation(SHAPE, 0.1)
    loaded.load_state_dict(found.state_dict())
    activations = torch.randn(2, *SHAPE)
    assert torch.equal(loaded(activations), found(activations))


def test_its_derivative_is_right() -> None:
    activations = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    mean, variance = torch.rand(2, *SHAPE, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a: gaussian_activation(a, mean, variance, 0.1), activations
    )


def test_half_precision_is_summed_in_float32() -> None:
    found, activations = fitted(torch.randn(6, *SHAPE)), torch.randn(2, *SHAPE).bfloat16()
    assert found(activations).dtype == torch.float32
    torch.testing.assert_close(found(activations), found(activations.float()))


def test_without_statistics_there_is_no_loss() -> None:
    with pytest.raises(RuntimeError, match="call fit, or load them"):
        GaussianActivation(SHAPE)(torch.zeros(1, *SHAPE))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "2 images or more, got 0"),
        ([torch.rand(1, *SHAPE)], "2 images or more, got 1"),
        ([torch.full((4, *SHAPE), 0.3)], "all 4 images have the same activations"),
        ([torch.full((4, *SHAPE), torch.nan)], "must be finite"),
        ([torch.rand(2, 3, 4, 4)], r"shape \(3, 4, 5\) an image, got \(2, 3, 4, 4\)"),
    ],
)
def test_a_collection_that_has_no_statistics_is_refused(batches, message) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianActivation(SHAPE).fit(batches)


def test_smoothing_must_be_positive() -> None:
    with pytest.raises(ValueError, match="smoothing must be positive, got 0"):
        GaussianActivation(SHAPE, 0.0)
    with pytest.raises(ValueError, match="smoothing must be positive, got -1"):
        gaussian_activation(torch.zeros(1, *SHAPE), *torch.ones(2, *SHAPE), -1.0)
