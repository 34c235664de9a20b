import pytest
import torch
from torch import nn

from lightning_modules.inversion_loss import (
    Guidance,
    InversionLoss,
    Layer,
    Smoothness,
    Spectrum,
    Terms,
    Usual,
    Watched,
)
from ops.losses.embedding import Normalised, dot_product
from ops.losses.gaussian_activation import gaussian_activation
from ops.losses.guidance import guiding_distance
from ops.losses.mirror import mirror_asymmetry
from ops.losses.spectrum import pyramid_spectrum
from ops.losses.total_variation import total_variation
from ops.nets.facenet import FaceNet
from tests.lightning_modules.inverted import LAYER, LENGTH, SIDE, embedder, pictures

NONE = Terms(tv=Smoothness(0.0))


@pytest.fixture
def images() -> torch.Tensor:
    return pictures(20, 2)


def total(terms: Terms, images: torch.Tensor, progress: float = 0.0) -> torch.Tensor:
    loss = InversionLoss(embedder(), terms)
    aim = loss.aim(pictures(21, 2), pictures(22, 2, 1))
    return loss(images, aim, progress).total


def added(terms: Terms, images: torch.Tensor, progress: float = 0.0) -> torch.Tensor:
    """What a regulariser adds to the distance of embeddings."""
    return total(terms, images, progress) - total(NONE, images)


def test_without_regularisers_the_loss_is_the_distance_of_unnormalised_embeddings(
    images: torch.Tensor,
) -> None:
    judge = embedder()
    wanted = (judge(images) - judge(pictures(21, 2))).square().sum(1)
    torch.testing.assert_close(total(NONE, images), wanted)


def test_the_target_is_scaled_and_the_distance_any(images: torch.Tensor) -> None:
    judge = embedder()
    seen, target = judge(images), judge(pictures(21, 2))
    far = Terms(scale=3.0, tv=Smoothness(0.0))
    torch.testing.assert_close(total(far, images), (seen - 3 * target).square().sum(1))
    dot = Terms(dot_product, tv=Smoothness(0.0))
    torch.testing.assert_close(total(dot, images), -(seen * target).sum(1))
    cosine = Terms(Normalised(), tv=Smoothness(0.0))
    wanted = 2 - 2 * nn.functional.cosine_similarity(seen, target)
    torch.testing.assert_close(total(cosine, images), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 1.0), (0.5, 0.1), (1.0, 0.01)])
def test_total_variation_fades_along_the_run(
    images: torch.Tensor, progress: float, factor: float
) -> None:
    terms = Terms(tv=Smoothness(0.5, last=0.01, alpha=1.0))
    wanted = factor * 0.5 * total_variation(images, 1.0)
    torch.testing.assert_close(added(terms, images, progress), wanted, rtol=1e-3, atol=1e-3)


def test_a_weight_that_would_have_to_fall_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the last share of a weight must be above 0, got 0\.0"):
        Smoothness(last=0.0)


def test_the_guide_is_compared_in_the_layers_by_their_weights(images: torch.Tensor) -> None:
    layers = (Layer(LAYER), Layer("layer3", 0.5))
    found = added(Terms(tv=Smoothness(0.0), guide=Guidance(20.0, layers)), images)
    judge, names = embedder(), ["layer1", "layer3"]
    maps = judge.activations(images, names), judge.activations(pictures(22, 2), names)
    wanted = 20 * guiding_distance(*maps, {"layer1": 1.0, "layer3": 0.5})
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_the_regularisers_of_the_appendices_are_added(images: torch.Tensor) -> None:
    mirror = added(Terms(tv=Smoothness(0.0), mirror=2.0), images)
    torch.testing.assert_close(mirror, 2 * mirror_asymmetry(images), rtol=1e-3, atol=1e-3)
    told = Spectrum(3.0, norm=5.0, slope=-0.5, levels=2)
    spectrum = added(Terms(tv=Smoothness(0.0), spectrum=told), images)
    wanted = 3 * pyramid_spectrum(images, 5.0, -0.5, 2)
    torch.testing.assert_close(spectrum, wanted, rtol=1e-3, atol=1e-3)


def test_activations_are_held_against_those_of_faces(images: torch.Tensor) -> None:
    terms = Terms(tv=Smoothness(0.0), gaussian=Usual(0.5, LAYER, 0.1))
    loss, judge = InversionLoss(embedder(), terms), embedder()
    faces = pictures(23, 5)
    loss.fit(faces)
    aim = loss.aim(pictures(21, 2), pictures(22, 2, 1))
    found = loss(images, aim, 0.0).total - total(NONE, images)
    maps = judge.activations(faces, [LAYER])[LAYER]
    own = judge.activations(images, [LAYER])[LAYER]
    wanted = gaussian_activation(own, maps.mean(0), maps.var(0, correction=0), 0.1)
    torch.testing.assert_close(found, 0.5 * wanted, rtol=1e-3, atol=1e-3)


def test_a_fit_that_nobody_asked_for_does_nothing() -> None:
    loss = InversionLoss(embedder(), NONE)
    loss.fit(pictures(23, 5))
    assert dict(loss.state_dict()) == {}


def test_gradients_reach_the_images_alone(images: torch.Tensor) -> None:
    judge = embedder()
    loss = InversionLoss(judge, Terms(guide=Guidance(1.0, (Layer(LAYER),))))
    aim = loss.aim(pictures(21, 2), pictures(22, 2, 1))
    assert not aim.embedding.requires_grad
    images.requires_grad_()
    loss(images, aim, 0.0).total.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None for p in judge.parameters())


def test_guides_that_are_all_the_same_are_looked_at_once() -> None:
    loss = InversionLoss(embedder(), Terms(guide=Guidance(1.0, (Layer(LAYER),))))
    alike = pictures(22, 1, 1).expand(4, 2, 3, SIDE, SIDE)
    assert len(loss.aim(pictures(21, 4), alike).maps[LAYER]) == 1
    assert len(loss.aim(pictures(21, 4), pictures(22, 4, 2)).maps[LAYER]) == 8


def test_an_aim_is_repeated_for_each_guide() -> None:
    aim = InversionLoss(embedder(), NONE).aim(pictures(21, 2), pictures(22, 2, 3))
    assert torch.equal(aim.repeated(3).embedding, aim.embedding.repeat_interleave(3, 0))
    assert aim.repeated(3).embedding.shape == (6, LENGTH)


def test_one_pass_gives_embedding_and_maps_even_in_training(images: torch.Tensor) -> None:
    judge = embedder()
    watched = Watched(judge, ["layer2", "act1"])
    judge.train()
    seen, maps = watched(images)
    torch.testing.assert_close(seen, embedder()(images))
    wanted = embedder().activations(images, ["layer2", "act1"])
    assert maps.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(maps[name], value)
    assert not any(module._forward_hooks for module in judge.modules())


def test_of_layers_of_one_name_the_outermost_is_meant() -> None:
    inner = nn.Sequential()
    inner.add_module("a", nn.Identity())
    network = nn.Sequential()
    network.add_module("a", nn.ReLU())
    network.add_module("inner", inner)
    watched = Watched(network, ["a", "inner.a"])
    _, maps = watched(torch.tensor([-1.0]))
    assert maps == {"a": 0, "inner.a": 0}
    assert isinstance(watched._layers["a"], nn.ReLU)


@pytest.mark.parametrize("name", ["layer9", ""])
def test_layers_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"layers called '{name}'; there are act1, layer1"):
        Watched(embedder(), [name])


def test_layers_that_are_there_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="2 layers called 'weightless'; there are 0, 1"):
        Watched(
            nn.Sequential(*(nn.ModuleDict({"weightless": nn.ReLU()}) for _ in "ab")), ["weightless"]
        )


def test_other_embedders_are_watched_by_their_stages_names() -> None:
    judge = FaceNet(size=80)
    image = torch.rand(1, 3, 80, 80)
    _, maps = Watched(judge, ["conv2d_2b"])(image)
    torch.testing.assert_close(
        maps["conv2d_2b"], judge.activations(image, ["conv2d_2b"])["conv2d_2b"]
    )


def test_a_guide_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weight 2\.0 needs layers"):
        Guidance(2.0)
    assert Terms(guide=Guidance(0.0, (Layer("a"),))).layers == ()
