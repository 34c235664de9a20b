import pytest
import torch
import torch.nn.functional as F

from ops.losses.embedding import Normalised, dot_product, shares, squared_distance, unit_length

DISTANCES = [
    squared_distance,
    dot_product,
    Normalised(),
    Normalised(dot_product),
    Normalised(squared_distance, shares),
]


def pair(length: int = 6) -> torch.Tensor:
    return torch.randn(2, 4, length, dtype=torch.float64)


def pull(distance, embedding: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    embedding = embedding.clone().requires_grad_()
    return -torch.autograd.grad(distance(embedding, target).sum(), embedding)[0]


def test_the_two_distances_are_those_of_the_paper() -> None:
    embedding, target = pair()
    squares, products = squared_distance(embedding, target), dot_product(embedding, target)
    for i in range(4):
        assert squares[i].item() == pytest.approx(
            sum((embedding[i] - target[i]).tolist()[k] ** 2 for k in range(6))
        )
        assert products[i].item() == pytest.approx(-float(embedding[i] @ target[i]))


def test_normalised_distances_are_those_of_embeddings_at_length_one() -> None:
    embedding, target = pair()
    cosine = F.cosine_similarity(embedding, target)
    torch.testing.assert_close(Normalised(dot_product)(embedding, target), -cosine)
    torch.testing.assert_close(Normalised()(embedding, target), 2 - 2 * cosine)


@pytest.mark.parametrize("distance", [Normalised(), Normalised(dot_product)])
def test_a_normalised_distance_does_not_see_lengths(distance) -> None:
    embedding, target = pair()
    torch.testing.assert_close(distance(3 * embedding, 0.1 * target), distance(embedding, target))
    along = (pull(distance, embedding, target) * embedding).sum(1)
    torch.testing.assert_close(along, torch.zeros_like(along))


def test_a_far_target_pulls_as_the_dot_product_does() -> None:
    embedding, target = pair()
    wanted = pull(dot_product, embedding, target)
    angles = []
    for scale in (1.0, 10.0, 1000.0):
        found = pull(squared_distance, embedding, scale * target)
        angles.append((1 - F.cosine_similarity(found, wanted)).max().item())
    assert angles[0] > 1e-2
    assert angles[1] < angles[0] / 10
    assert angles[2] < 1e-5
    torch.testing.assert_close(found / (2 * scale), wanted, rtol=0, atol=0.01)


def test_the_dot_product_has_no_least_value() -> None:
    target, _ = pair()
    values = [dot_product(s * target, target).max().item() for s in (1, 10, 100)]
    assert values == sorted(values, reverse=True)
    assert values[2] == pytest.approx(100 * values[0])


def test_a_softmax_is_not_the_normalised_embedding_of_facenet() -> None:
    embedding, _ = pair()
    torch.testing.assert_close(shares(embedding).sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(unit_length(embedding).norm(dim=1), torch.ones(4).double())
    assert F.cosine_similarity(shares(embedding), unit_length(embedding)).min() < 0.9


@pytest.mark.parametrize("distance", DISTANCES)
def test_descent_brings_an_embedding_to_its_targets_direction(distance) -> None:
    embedding, target = pair()
    for _ in range(400):
        embedding = embedding + 0.2 * pull(distance, embedding, target)
    last = shares if getattr(distance, "normalisation", None) is shares else (lambda e: e)
    assert F.cosine_similarity(last(embedding), last(target)).min() > 0.97


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_derivative_is_right_and_the_embeddings_alone_get_it(distance) -> None:
    embedding, target = pair()
    embedding.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: distance(e, target), embedding)
    target.requires_grad_()
    distance(embedding, target).sum().backward()
    assert embedding.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("distance", DISTANCES)
def test_half_precision_is_summed_in_float32(distance) -> None:
    embedding, target = pair(128).bfloat16()
    result = distance(embedding, target)
    assert result.shape == (4,)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, distance(embedding.float(), target.float()))


@pytest.mark.parametrize("distance", DISTANCES)
def test_shapes_that_differ_are_refused(distance, unchecked_types) -> None:
    with pytest.raises(ValueError, match=r"got \(4, 6\) and \(1, 6\)"):
        distance(torch.zeros(4, 6), torch.zeros(1, 6))
