import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from ops.metrics.recognition import Recognition, recognition_rank

PEOPLE = torch.tensor([30, 10, 20, 10, 40, 30, 20, 10])


def faces(count=40):
    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(len(PEOPLE), 6, generator=generator)
    identity = PEOPLE[torch.randint(len(PEOPLE), (count,), generator=generator)]
    first = torch.stack([gallery[who == PEOPLE][0] for who in identity])
    probe = 3 * first + 3 * torch.randn(count, 6, generator=generator)
    return probe, identity, gallery


def scores(probe, gallery, match):
    """Cosines written out, a column for each of the identities in ascending order."""
    table = torch.empty(len(probe), 4)
    for column, who in enumerate((10, 20, 30, 40)):
        own = torch.nn.functional.normalize(gallery[who == PEOPLE])
        if match == "mean":
            own = own.mean(0, keepdim=True)
        cosines = torch.nn.functional.cosine_similarity(probe[:, None], own[None], dim=2)
        table[:, column] = cosines.max(1).values
    return table


@pytest.mark.parametrize("match", ["nearest", "mean"])
def test_the_share_is_scikit_learns_top_k_accuracy(match):
    probe, identity, gallery = faces()
    metric = Recognition((1, 2, 3), match)
    metric.update(probe[:9], identity[:9], gallery[:3], PEOPLE[:3])
    metric.update(probe[9:], identity[9:], gallery[3:], PEOPLE[3:])
    table = scores(probe, gallery, match).numpy()
    expected = [
        top_k_accuracy_score(identity, table, k=k, labels=[10, 20, 30, 40]) for k in (1, 2, 3)
    ]
    assert metric.compute().tolist() == expected
    assert 0 < expected[0] < expected[1] < expected[2]


def test_the_gallerys_own_faces_are_recognised_at_once():
    _, _, gallery = faces()
    assert recognition_rank(5 * gallery, PEOPLE, gallery, PEOPLE).tolist() == [1] * len(PEOPLE)


def test_a_judge_that_sees_no_difference_recognises_nobody():
    gallery, who = torch.ones(3, 4), torch.arange(3)
    assert recognition_rank(gallery, who, gallery, who).tolist() == [3, 3, 3]
    broken = torch.full((1, 4), torch.nan)
    assert recognition_rank(broken, who[:1], gallery, who).tolist() == [3]


def test_a_stranger_is_refused():
    probe, _, gallery = faces(3)
    with pytest.raises(ValueError, match=r"not in the gallery: \[50\]"):
        recognition_rank(probe, torch.tensor([10, 50, 50]), gallery, PEOPLE)


def test_ranks_that_cannot_be_are_refused():
    for ranks in ((), (0, 1), (3, 1)):
        with pytest.raises(ValueError, match="ranks must be ascending numbers above 0"):
            Recognition(ranks)


def test_without_a_probe_there_is_no_share():
    _, _, gallery = faces()
    metric = Recognition((1, 5))
    metric.update(gallery[:0], PEOPLE[:0], gallery, PEOPLE)
    assert metric.compute().isnan().tolist() == [True, True]


def share_of_a_rank(rank):
    """Each process sees a part of the probes and a part of the gallery."""
    probe, identity, gallery = faces()
    part, own = (slice(0, 25), slice(25, 40))[rank], (slice(0, 6), slice(6, 8))[rank]
    metric = Recognition()
    metric.update(probe[part], identity[part], gallery[own], PEOPLE[own])
    return metric.compute()


def test_two_processes_give_what_one_gives(two_processes):
    probe, identity, gallery = faces()
    metric = Recognition()
    metric.update(probe, identity, gallery, PEOPLE)
    assert all(torch.equal(found, metric.compute()) for found in two_processes(share_of_a_rank))
