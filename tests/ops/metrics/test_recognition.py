import math

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


def add(metric, probes, gallery, part):
    """Adds probes that are none of the gallery's photographs, and a part of the gallery."""
    probe, identity = probes
    none = torch.full((len(probe), 1), -1)
    numbers = torch.arange(len(PEOPLE))
    metric.update(probe, identity, none, gallery[part], PEOPLE[part], numbers[part])


def scores(probe, gallery):
    """Cosines written out, a column for each of the identities in ascending order."""
    table = torch.empty(len(probe), 4)
    for column, who in enumerate((10, 20, 30, 40)):
        own = torch.nn.functional.normalize(gallery[who == PEOPLE])
        cosines = torch.nn.functional.cosine_similarity(probe[:, None], own[None], dim=2)
        table[:, column] = cosines.max(1).values
    return table


def test_the_share_is_scikit_learns_top_k_accuracy():
    probe, identity, gallery = faces()
    metric = Recognition((1, 2, 3))
    add(metric, (probe[:9], identity[:9]), gallery, slice(0, 3))
    add(metric, (probe[9:], identity[9:]), gallery, slice(3, 8))
    table = scores(probe, gallery).numpy()
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


def looked_up(people, photographs, references=2):
    """Every photograph is looked up as itself, with others of its person beside it."""
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(people, photographs, 16, generator=generator)
    numbers = torch.arange(people * photographs).view(people, photographs)
    metric = Recognition((1,))
    for who in range(people):
        for k in range(photographs):
            others = [(k + step) % photographs for step in range(1, references + 1)]
            shown = numbers[who, others]
            apart = torch.cat([numbers[who, k : k + 1], shown])[None]
            own = torch.full((references,), who)
            metric.update(seen[who, k][None], own[:1], apart, seen[who, others], own, shown)
    return float(metric.compute())


def test_a_judge_that_sees_nothing_recognises_by_chance():
    """The face itself is in the gallery as a reference of others, and would be found at once."""
    assert looked_up(people=40, photographs=6) < 0.1


def test_a_face_of_whose_person_nothing_else_is_there_is_not_counted():
    assert math.isnan(looked_up(people=5, photographs=3))
    metric = Recognition((1,))
    seen, who = torch.eye(3), torch.tensor([0, 0, 1])
    apart = torch.tensor([[0], [1], [2]])
    metric.update(seen, who, apart, seen, who, torch.arange(3))
    assert float(metric.compute()) == 0  # of two; the third has itself alone


def test_more_probes_than_are_compared_at_once_are_all_counted():
    probe, identity, gallery = faces(1100)
    metric = Recognition((1,))
    add(metric, (probe, identity), gallery, slice(None))
    place = recognition_rank(probe, identity, gallery, PEOPLE)
    assert float(metric.compute()) == float((place == 1).double().mean())


def test_ranks_that_cannot_be_are_refused():
    for ranks in ((), (0, 1), (3, 1)):
        with pytest.raises(ValueError, match="ranks must be ascending numbers above 0"):
            Recognition(ranks)


def test_without_a_probe_there_is_no_share():
    _, _, gallery = faces()
    metric = Recognition((1, 5))
    add(metric, (gallery[:0], PEOPLE[:0]), gallery, slice(None))
    assert metric.compute().isnan().tolist() == [True, True]


def share_of_a_rank(rank):
    """Each process sees a part of the probes and a part of the gallery."""
    probe, identity, gallery = faces()
    part, own = (slice(0, 25), slice(25, 40))[rank], (slice(0, 6), slice(6, 8))[rank]
    metric = Recognition()
    add(metric, (probe[part], identity[part]), gallery, own)
    return metric.compute()


def test_two_processes_give_what_one_gives(two_processes):
    probe, identity, gallery = faces()
    metric = Recognition()
    add(metric, (probe, identity), gallery, slice(None))
    assert all(torch.equal(found, metric.compute()) for found in two_processes(share_of_a_rank))
