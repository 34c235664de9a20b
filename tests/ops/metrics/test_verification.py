import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from ops.metrics.verification import (
    BINS,
    Verification,
    accepted_at,
    area_under,
    equal_error_rate,
    pair_counts,
    resolves,
    roc,
    tar_at_far,
    verification_accuracy,
)


def pairs(count=400, decimals=6):
    """Scores, higher where a pair is of one person, with ties where few decimals are kept."""
    same = torch.rand(count) < 0.3
    return ((torch.randn(count) + 1.5 * same) * 10**decimals).round() / 10**decimals, same


def photographs(people=12, each=5, dimensions=8):
    labels = torch.arange(people).repeat_interleave(each)
    faces = torch.randn(people, dimensions)[labels]
    return faces + 0.7 * torch.randn(len(labels), dimensions), labels


def all_pairs(embeddings, labels):
    """Cosines in float64, by numpy."""
    unit = embeddings.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    i, j = np.triu_indices(len(unit), 1)
    found = torch.from_numpy((unit @ unit.T)[i, j])
    return found, labels[i] == labels[j], (labels[i], labels[j])


@pytest.mark.parametrize("decimals", [6, 1])
def test_the_curve_is_that_of_scikit_learn(decimals):
    scores, same = pairs(decimals=decimals)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    found = roc(scores, same)
    np.testing.assert_allclose(found.far, far, atol=1e-12)
    np.testing.assert_allclose(found.tar, tar, atol=1e-12)
    np.testing.assert_allclose(found.thresholds, thresholds, atol=1e-6)
    assert (found.same, found.different) == (int(same.sum()), int((~same).sum()))


@pytest.mark.parametrize("decimals", [6, 1])
def test_the_area_is_that_of_scikit_learn(decimals):
    scores, same = pairs(decimals=decimals)
    expected = roc_auc_score(same, scores)
    assert float(area_under(roc(scores, same))) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("far", [0.01, 0.1, 0.5, 1.0])
def test_the_true_accept_rate_is_the_best_that_scikit_learn_finds_at_the_rate(far):
    scores, same = pairs(decimals=1)
    false, true, _ = roc_curve(same, scores, drop_intermediate=False)
    assert float(tar_at_far(scores, same, far)) == pytest.approx(true[false <= far].max())


def test_one_false_accept_in_ten_is_counted_by_hand():
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, *torch.linspace(0.5, 0.1, 9).tolist()])
    same = torch.tensor([True, False, True, True, *[False] * 9])
    assert float(tar_at_far(scores, same, 0.1)) == 1
    assert float(tar_at_far(scores[:4], same[:4], 1.0)) == 1


def test_a_rate_that_the_pairs_cannot_resolve_is_refused():
    scores, same = pairs(50)
    different = int((~same).sum())
    assert not resolves(roc(scores, same), 0.9 / different)
    message = f"far=0.001 cannot be resolved: {different} pairs of different people resolve"
    with pytest.raises(ValueError, match=message):
        tar_at_far(scores, same, 1e-3)
    with pytest.raises(ValueError, match="cannot be resolved"):
        accepted_at(roc(scores, same), 1.5)
    accepted_at(roc(scores, same), 1 / different)


@pytest.mark.parametrize("kind", [True, False])
def test_pairs_of_one_kind_have_no_curve(kind):
    with pytest.raises(ValueError, match="pairs of one person and of different people, got"):
        roc(torch.rand(5), torch.full((5,), kind))


def test_scores_that_are_no_numbers_are_refused():
    scores, same = pairs(10)
    scores[3] = torch.nan
    with pytest.raises(ValueError, match="1 of 10 scores are not a number"):
        roc(scores, same)


def test_the_equal_error_rate_of_two_normal_distributions_is_known():
    count, distance = 200_000, 2.0
    scores = torch.randn(2 * count)
    scores[:count] += distance
    same = torch.arange(2 * count) < count
    expected = torch.distributions.Normal(0, 1).cdf(torch.tensor(-distance / 2))
    assert float(equal_error_rate(roc(scores, same))) == pytest.approx(float(expected), abs=2e-3)


def test_equal_errors_between_two_thresholds_are_interpolated():
    scores, same = torch.tensor([1.0, 0.0]), torch.tensor([False, True])
    assert float(equal_error_rate(roc(scores, same))) == 1
    tied = torch.zeros(2)
    assert float(equal_error_rate(roc(tied, same))) == 0.5


def accuracy_by_hand(scores, same, folds):
    """LFW's protocol with every score tried as a threshold."""
    found = []
    for fold in folds.unique():
        others, own = folds != fold, folds == fold
        best = max((balanced(scores[others], same[others], t), t) for t in scores[others].tolist())
        found.append(balanced(scores[own], same[own], best[1]))
    return sum(found) / len(found)


def balanced(scores, same, threshold):
    accepted = scores >= threshold
    right = accepted[same].double().mean() + (~accepted[~same]).double().mean()
    return float(right / 2)


def test_the_accuracy_is_found_with_thresholds_of_the_other_folds():
    scores, same = pairs(120)
    folds = torch.arange(120) % 5
    expected = accuracy_by_hand(scores, same, folds)
    assert float(verification_accuracy(scores, same, folds)) == pytest.approx(expected)


def test_a_threshold_that_suits_no_other_fold_is_not_used():
    scores = torch.tensor([0.9, 0.8, 0.2, 0.1])  # each fold is perfect at a threshold of its own
    same, folds = torch.tensor([True, False, True, False]), torch.tensor([0, 0, 1, 1])
    assert float(verification_accuracy(scores, same, folds)) == 0.5


@pytest.mark.parametrize("folds", [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 2, 2]])
def test_folds_without_both_kinds_of_pairs_are_refused(folds):
    same = torch.tensor([True, False, True, False])
    with pytest.raises(ValueError, match="each of two folds or more needs pairs"):
        verification_accuracy(torch.rand(4), same, torch.tensor(folds))


def test_every_pair_is_counted_once_in_its_cosines_bin():
    embeddings, labels = photographs(30, 40)  # more photographs than a block holds
    scores, same, (one, other) = all_pairs(embeddings, labels)
    counts = pair_counts(embeddings, labels, 3)
    fold = torch.where(one % 3 == other % 3, one % 3, 3)
    expected = torch.bincount((~same).long() * 4 + fold, minlength=8).view(2, 4)
    assert torch.equal(counts.sum(-1), expected)
    mean = (counts.sum((0, 1)) * (1 - 2 * (torch.arange(BINS) + 0.5) / BINS)).sum() / len(scores)
    assert float(mean) == pytest.approx(float(scores.mean()), abs=2 / BINS)


def test_the_metric_says_what_the_functions_say_of_all_pairs():
    embeddings, labels = photographs()
    metric = Verification()
    for part in torch.arange(len(labels)).split(7):
        metric.update(embeddings[part], labels[part])
    verdict = metric.compute()
    scores, same, (one, other) = all_pairs(embeddings, labels)
    curve = roc(scores, same)
    assert (verdict.people, verdict.photographs) == (12, 60)
    for function in (area_under, equal_error_rate, lambda c: accepted_at(c, 0.01)):
        assert float(function(verdict.curve)) == pytest.approx(float(function(curve)), abs=2e-3)
    within = one % 6 == other % 6
    found = verification_accuracy(scores[within], same[within], one[within] % 6)
    assert float(verdict.accuracy) == pytest.approx(float(found), abs=0.02)


def test_the_order_of_the_photographs_does_not_matter():
    embeddings, labels = photographs()
    order = torch.randperm(len(labels))
    one, other = Verification(), Verification()
    one.update(embeddings, labels)
    other.update(embeddings[order], labels[order])
    assert float(one.compute().accuracy) == float(other.compute().accuracy)
    assert torch.equal(one.compute().curve.tar, other.compute().curve.tar)


@pytest.mark.parametrize("people", [1, 3])
def test_too_few_people_are_refused(people):
    metric = Verification()
    metric.update(*photographs(people))
    with pytest.raises(ValueError, match=f"four people or more, got {people} on {5 * people}"):
        metric.compute()


def test_embeddings_that_are_not_finite_are_refused():
    embeddings, labels = photographs()
    embeddings[3, 2] = torch.inf
    with pytest.raises(ValueError, match="not finite"):
        pair_counts(embeddings, labels, 2)


def verdict_of_a_rank(rank):
    torch.manual_seed(0)
    embeddings, labels = photographs()
    part = (slice(0, 13), slice(13, None))[rank]  # unlike numbers of photographs
    metric = Verification()
    metric.update(embeddings[part], labels[part])
    verdict = metric.compute()
    return [verdict.accuracy, verdict.curve.tar, verdict.curve.far]


def test_two_processes_give_what_one_gives(two_processes):
    torch.manual_seed(0)
    metric = Verification()
    metric.update(*photographs())
    verdict = metric.compute()
    for found in two_processes(verdict_of_a_rank):
        for value, expected in zip(found, [verdict.accuracy, verdict.curve.tar], strict=False):
            assert torch.equal(value, expected)


def verdict_beside_an_empty_rank(rank):
    torch.manual_seed(0)
    metric = Verification()
    embeddings, people = photographs()
    kept = slice(None) if rank == 0 else slice(0, 0)
    metric.update(embeddings[kept], people[kept])
    return metric.compute().accuracy


def test_a_process_without_a_photograph_takes_part(two_processes):
    torch.manual_seed(0)
    metric = Verification()
    metric.update(*photographs())
    for found in two_processes(verdict_beside_an_empty_rank):
        assert torch.equal(found, metric.compute().accuracy)
