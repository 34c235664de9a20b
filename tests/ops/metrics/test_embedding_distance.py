import pytest
import torch
from sklearn.metrics.pairwise import paired_cosine_distances, paired_euclidean_distances

from ops.metrics.embedding_distance import embedding_distance, identity_similarity


def embeddings():
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(5, 16, generator=generator), torch.randn(5, 16, generator=generator))


def test_both_are_scikit_learns_of_pairs():
    output, target = embeddings()
    far = paired_euclidean_distances(output.numpy(), target.numpy())
    apart = paired_cosine_distances(output.numpy(), target.numpy())
    torch.testing.assert_close(embedding_distance(output, target), torch.from_numpy(far))
    torch.testing.assert_close(identity_similarity(output, target), torch.from_numpy(1 - apart))


def test_lengths_matter_to_the_distance_alone():
    output, target = embeddings()
    same = identity_similarity(output, target)
    torch.testing.assert_close(identity_similarity(7 * output, target), same)
    assert (embedding_distance(7 * output, target) > embedding_distance(output, target)).all()
    assert embedding_distance(target, target).tolist() == [0] * 5


def test_embeddings_in_bf16_are_compared_in_float32():
    output, target = (each.bfloat16() for each in embeddings())
    assert torch.equal(
        embedding_distance(output, target),
        embedding_distance(*map(torch.Tensor.float, (output, target))),
    )
    assert identity_similarity(output, target).dtype == torch.float32


@pytest.mark.parametrize("compare", [embedding_distance, identity_similarity])
def test_shapes_that_differ_are_refused(compare, unchecked_types):
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(2, 4\)"):
        compare(torch.zeros(2, 3), torch.zeros(2, 4))
