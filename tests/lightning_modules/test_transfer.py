from pathlib import Path

import pytest
import torch

from lightning_modules.inversion import from_guide, from_noise
from lightning_modules.inversion_loss import Guidance, Terms, Usual
from lightning_modules.transfer import refuse_unguided, transferred
from ops.nets.inverter import GuidedInverter, Inverter
from tests.lightning_modules.inverted import (
    LAYER,
    LENGTH,
    SIDE,
    TERMS,
    TargetData,
    fit,
    in_one_pass,
    iterative,
    pictures,
)

FACE, GUIDES = pictures(20, 1), pictures(21, 3)


def guided() -> GuidedInverter:
    return GuidedInverter(LENGTH, SIDE, 6, guide_filters=4)


def test_a_network_makes_the_embeddings_face_in_each_guides_pose() -> None:
    method = in_one_pass(guided())
    made = transferred(method, FACE, GUIDES)
    embedding = method.embedder(FACE).expand(3, -1)
    torch.testing.assert_close(made, method.network(embedding, GUIDES), check_device=False)
    assert not torch.allclose(made[0], made[1])


def test_an_iterative_inversion_takes_the_steps_of_a_run_on_the_guides(tmp_path: Path) -> None:
    data = TargetData(1, 3)
    data.targets |= {"image": FACE, "guides": GUIDES[None]}
    run = fit(tmp_path, iterative(5, start=from_guide), data, val_check_interval=1000)
    method = iterative(5, start=from_guide)
    transferred(method, FACE.flip(0), GUIDES.flip(0) * 0.5)  # leaves nothing behind
    torch.testing.assert_close(transferred(method, FACE, GUIDES), run.images.detach())


def test_an_iterative_inversion_comes_nearer_to_the_photograph() -> None:
    method = iterative(20, start=from_guide)
    made = transferred(method, FACE, GUIDES)
    wanted = method.embedder(FACE)
    distances = [(method.embedder(x) - wanted).norm(dim=1) for x in (made, GUIDES)]
    assert (distances[0] < 0.7 * distances[1]).all()


def test_what_a_run_has_learned_of_faces_is_kept(tmp_path: Path) -> None:
    usual = Usual(0.1, LAYER, faces=4)
    method = iterative(2, Terms(tv=TERMS.tv, gaussian=usual), start=from_guide)
    fit(tmp_path, method, TargetData(), val_check_interval=1000)
    assert method.loss.gaussian is not None
    learned = method.loss.gaussian.mean.clone()
    transferred(method, FACE, GUIDES)
    assert torch.equal(method.loss.gaussian.mean, learned)


def test_methods_that_heed_no_guide_are_refused() -> None:
    alone = Terms(tv=TERMS.tv, guide=Guidance())
    for method in (in_one_pass(Inverter(LENGTH, SIDE, 6)), iterative(2, alone, start=from_noise)):
        with pytest.raises(ValueError, match=r"this run heeds no guide, .* take a run of"):
            refuse_unguided(method)
    for method in (
        in_one_pass(guided()),
        iterative(2, alone, start=from_guide),
        iterative(2, TERMS, start=from_noise),
    ):
        refuse_unguided(method)
