from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules.enhancement import PRINTED, Enhancement, References, Terms
from ops.nets.degradation_classifier import DegradationClassifier
from ops.nets.features import RandomFeatures
from ops.nets.nasfe import NASFE


def enhancement(
    terms: Terms = PRINTED, labels: bool = True, identity: int | None = 16, dropout: float = 0.5
) -> Enhancement:
    torch.manual_seed(0)
    fusion = nn.Conv2d(8, 8, 3, padding=1)
    network = NASFE(fusion, 8, labels, identity, (4, 4, 4, 8), (0, 0, 1, 1), (0, 0, 1), 8)
    references = References(RandomFeatures(4), dropout)
    return Enhancement(network, DegradationClassifier((4, 8)), references, terms)


def batch(count: int = 2) -> dict[str, Any]:
    image, target = torch.rand(2, count, 3, 16, 16)
    label = torch.tensor([[1.0, 0.0, 1.0]] * count)
    references = torch.rand(count, 2, 3, 16, 16)
    return {"image": image, "target": target, "references": references, "label": label}


@pytest.mark.parametrize(
    ("terms", "labels", "expected"),
    [
        (PRINTED, True, ["pixels", "perceptual", "identity"]),
        (Terms(classification=0.1), True, ["pixels", "perceptual", "identity", "classification"]),
        (Terms(classification=0.1), False, ["pixels", "perceptual", "identity"]),
        (Terms(perceptual=0.0), True, ["pixels", "identity"]),
        (Terms(0.0, 0.0), True, ["pixels"]),
    ],
)
def test_only_the_terms_that_count_are_computed(
    terms: Terms, labels: bool, expected: list[str]
) -> None:
    made, given = enhancement(terms, labels), batch()
    assert list(made.losses(given, made.drawn(given))) == expected


def test_the_total_weighs_each_term_by_its_lambda() -> None:
    made = enhancement(Terms(2.0, 3.0, 5.0))
    names = ("pixels", "perceptual", "identity", "classification")
    losses = {name: torch.tensor(10.0**k) for k, name in enumerate(names)}
    assert float(made.total(losses)) == 1 + 20 + 300 + 5000


def test_the_same_faces_without_references_give_the_same_losses() -> None:
    made, given = enhancement(), batch()
    first, second, others = (
        made.losses(given, torch.tensor(dropped))
        for dropped in ([True, False], [True, False], [False, True])
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["pixels"], others["pixels"])


def test_as_many_faces_do_without_references_as_was_asked_for() -> None:
    given = {"image": torch.zeros(4000, 3, 1, 1)}
    for dropout in (0.0, 0.3, 1.0):
        share = enhancement(dropout=dropout).drawn(given).float().mean()
        assert float(share) == pytest.approx(dropout, abs=0.04 * (0 < dropout < 1))


def test_the_classifier_is_trained_where_its_term_counts() -> None:
    for terms, labels in ((Terms(classification=0.1), True), (PRINTED, True), (PRINTED, False)):
        made = enhancement(terms, labels)
        trained = {p.requires_grad for p in made.classifier.parameters()}
        assert trained == {made.classifies} == {labels and terms.classification > 0}


def test_what_was_not_trained_is_told() -> None:
    made = enhancement()
    assert "untrained face network" in made.caveat(classifier_known=True)
    assert "classifier" not in made.caveat(classifier_known=True)
    assert "untrained classifier" in made.caveat(classifier_known=False)
    assert "classifier" not in enhancement(Terms(classification=1.0)).caveat(False)
    assert enhancement(Terms(0.0, 0.0), labels=False, identity=None).caveat(False) == ""
