import builtins
import math

import pytest
import torch

from ops.losses.metric_learning import ArcFace, SemiHardTriplet

MARGIN = 0.2


def batch(people=4, photographs=3, dimensions=6):
    labels = torch.arange(people).repeat_interleave(photographs)
    return torch.randn(len(labels), dimensions, dtype=torch.float64), labels


def semi_hard_terms(embeddings, labels, margin):
    """The hinge of each semi-hard triplet, by three loops."""
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    count, terms = len(labels), []
    for a in range(count):
        for p in range(count):
            for n in range(count):
                if a == p or labels[a] != labels[p] or labels[a] == labels[n]:
                    continue
                near = float((unit[a] - unit[p]).square().sum())
                far = float((unit[a] - unit[n]).square().sum())
                if near < far < near + margin:
                    terms.append(near - far + margin)
    return terms


def test_the_triplet_loss_is_the_mean_over_all_semi_hard_triplets():
    embeddings, labels = batch()
    terms = semi_hard_terms(embeddings, labels, MARGIN)
    assert len(terms) > 3
    found = SemiHardTriplet(MARGIN)(embeddings, labels)
    assert float(found) == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_the_triplet_loss_does_not_know_the_embeddings_lengths():
    embeddings, labels = batch()
    stretched = embeddings * torch.rand(len(labels), 1, dtype=torch.float64).add(0.5)
    loss = SemiHardTriplet()
    torch.testing.assert_close(loss(stretched, labels), loss(embeddings, labels))


def test_without_semi_hard_triplets_the_loss_is_0_and_gives_a_gradient_of_0():
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(2)[labels].requires_grad_()
    loss = SemiHardTriplet()(apart, labels)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not apart.grad.any()


def test_the_triplet_loss_falls_as_it_is_followed():
    embeddings, labels = batch()
    embeddings = embeddings.float().requires_grad_()
    loss, optimizer = SemiHardTriplet(1.0), torch.optim.SGD([embeddings], 0.5)
    before = len(semi_hard_terms(embeddings.detach(), labels, 1.0))
    for _ in range(200):
        optimizer.zero_grad()
        loss(embeddings, labels).backward()
        optimizer.step()
    assert len(semi_hard_terms(embeddings.detach(), labels, 1.0)) < before / 4


def arcface(embeddings, labels, directions, margin, scale):
    """ArcFace's cross-entropy by its angles, one photograph at a time."""
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    losses = []
    for vector, label in zip(unit, labels.tolist(), strict=True):
        cosines = [float(vector @ way / way.norm()) for way in directions]
        angle = math.acos(cosines[label])
        if angle <= math.pi - margin:
            own = math.cos(angle + margin)
        else:
            own = math.cos(angle) - margin * math.sin(margin)
        logits = [scale * value for value in cosines]
        logits[label] = scale * own
        top = max(logits)
        total = math.fsum(math.exp(value - top) for value in logits)
        losses.append(top + math.log(total) - logits[label])
    return math.fsum(losses) / len(losses)


def prepared(margin=0.5, scale=64.0, people=4, dimensions=6):
    loss = ArcFace(margin, scale)
    loss.prepare(people, dimensions)
    return loss


@pytest.mark.parametrize(("margin", "scale"), [(0.5, 64.0), (0.3, 16.0), (0.0, 1.0)])
def test_arcface_is_its_closed_form(margin, scale):
    embeddings, labels = batch()
    loss = prepared(margin, scale)
    directions = loss.entropy.W.detach().double().T
    expected = arcface(embeddings, labels, directions, margin, scale)
    assert float(loss(embeddings, labels).detach()) == pytest.approx(expected, rel=1e-4)


def test_arcface_goes_on_falling_where_the_angle_is_almost_pi():
    loss = prepared(people=2)
    first = loss.entropy.W.detach().T[:1].double()
    embeddings = -first + 0.01 * torch.randn(1, 6, dtype=torch.float64)
    directions = loss.entropy.W.detach().double().T
    expected = arcface(embeddings, torch.tensor([0]), directions, 0.5, 64.0)
    assert float(loss(embeddings, torch.tensor([0])).detach()) == pytest.approx(expected, rel=1e-4)


def test_the_peoples_directions_are_trained_and_the_same_in_every_run():
    one, other = prepared(), prepared()
    assert torch.equal(one.entropy.W, other.entropy.W)
    torch.testing.assert_close(one.entropy.W.norm(dim=0), torch.ones(4))
    embeddings, labels = batch()
    one(embeddings, labels).backward()
    assert [name for name, p in one.named_parameters() if p.grad.any()] == ["entropy.W"]


def test_arcface_must_know_how_many_people_there_are():
    with pytest.raises(RuntimeError, match="call prepare"):
        ArcFace()(*batch())
    with pytest.raises(ValueError, match="needs 2 or more, got 1"):
        ArcFace().prepare(1, 6)


@pytest.mark.parametrize("loss", [SemiHardTriplet(), prepared()])
def test_losses_are_in_float32_under_autocast(loss):
    embeddings, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(embeddings.bfloat16(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(embeddings.bfloat16().float(), labels))


def test_triplets_need_no_preparation():
    loss = SemiHardTriplet()
    loss.prepare(5, 6)
    assert loss.state_dict() == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SemiHardTriplet(0.0), r"margin must be in \(0, 4\), got 0.0"),
        (lambda: SemiHardTriplet(4.0), r"margin must be in \(0, 4\), got 4.0"),
        (lambda: ArcFace(-0.1), "margin must be in .*got -0.1 and 64.0"),
        (lambda: ArcFace(0.5, 0.0), "scale positive, got 0.5 and 0.0"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_missing_package_is_named_with_the_extra_to_install(monkeypatch):
    there = builtins.__import__

    def none_such(name, *rest):
        if name.startswith("pytorch_metric_learning"):
            raise ImportError(name)
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", none_such)
    with pytest.raises(ImportError, match=r"pip install -e '.\[embedder\]'"):
        ArcFace()
