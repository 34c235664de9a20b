import pytest
import torch
from torch import nn

from ops.metrics.embedding_distance import embedding_distance, identity_similarity
from ops.metrics.judges import Judges


class Linear(nn.Module):
    dimensions = 5

    def __init__(self, seed: int, comparable: bool) -> None:
        super().__init__()
        self.comparable = comparable
        generator = torch.Generator().manual_seed(seed)
        self.matrix = nn.Parameter(torch.randn(3 * 16, 5, generator=generator))

    def forward(self, image):
        return image.flatten(1) @ self.matrix


def test_each_judge_gives_its_own_two_columns():
    first, second = Linear(0, True), Linear(1, True)
    judges = Judges({"facenet": first, "own": second})
    output, target = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    found = judges.compare(judges(output), judges(target))
    assert tuple(found) == judges.columns
    assert judges.columns == ("identity_facenet", "fed_facenet", "identity_own", "fed_own")
    for name, judge in (("facenet", first), ("own", second)):
        seen = judge(output).detach(), judge(target).detach()
        assert torch.equal(found[f"identity_{name}"], identity_similarity(*seen))
        assert torch.equal(found[f"fed_{name}"], embedding_distance(*seen))
    assert not any(column.requires_grad for column in found.values())


def test_embeddings_go_by_the_judges_names_and_are_as_long_as_these_say():
    first, second = Linear(0, True), Linear(1, True)
    judges, images = Judges({"facenet": first, "own": second}), torch.rand(2, 3, 4, 4)
    found = judges(images)
    assert torch.equal(found["facenet"], first(images).detach())
    assert torch.equal(found["own"], second(images).detach())
    assert judges.dimensions == {name: x.shape[1] for name, x in found.items()}


def test_the_definition_tells_each_judges_origin_and_length():
    first, second = Linear(0, True), Linear(1, True)
    first.origin = "FaceNet of faces.pt (sha256 01234567)"
    told = Judges({"facenet": first, "own": second}).definition
    expected = "facenet, FaceNet of faces.pt (sha256 01234567) (d = 5); own, Linear (d = 5)."
    assert told.endswith(expected)
    assert "frechet_x: squared Frechet distance" in told


def test_a_judge_has_to_say_how_long_its_embeddings_are(unchecked_types):
    with pytest.raises(ValueError, match="judge own, a Flatten, does not say how long"):
        Judges({"own": nn.Flatten()})


def test_judges_are_not_saved_with_what_holds_them():
    judges = Judges({"own": Linear(0, True)})
    assert not judges.state_dict()
    assert not list(judges.parameters())


def test_an_untrained_judge_is_named_where_the_columns_are_defined():
    mixed = Judges({"facenet": Linear(0, False), "own": Linear(1, True)})
    assert not mixed.comparable
    assert mixed.definition.endswith("Untrained, so not comparable: facenet.")
    trained = Judges({"own": Linear(1, True)})
    assert trained.comparable
    assert "ntrained" not in trained.definition


def test_judges_need_names_that_a_column_can_have():
    with pytest.raises(ValueError, match=r"letters, digits and _, got \[\]"):
        Judges({})
    with pytest.raises(ValueError, match=r"got \['face net'\]"):
        Judges({"face net": Linear(0, True)})
