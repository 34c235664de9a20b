import pytest
import torch
from torch import nn

from ops.nets.embedder import Embedder
from ops.nets.embedder_maps import EmbedderMaps
from ops.nets.facenet import FaceNet


def embedder() -> Embedder:
    return Embedder("test_resnet", dimensions=8, size=32)


def test_the_maps_are_those_of_the_layers_in_their_order() -> None:
    judge = embedder().frozen()
    names = (judge.embedder.names[2], judge.embedder.names[0])
    image = torch.rand(2, 3, 20, 24)
    found, wanted = EmbedderMaps(judge, names)(image), judge.activations(image, names)
    assert all(torch.equal(a, wanted[name]) for a, name in zip(found, names, strict=True))
    assert found[0].shape[-1] < found[1].shape[-1]


def test_gradients_reach_the_image_and_no_weight() -> None:
    judge = embedder().frozen()
    made = EmbedderMaps(judge, judge.embedder.names[1:2]).train()
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    made(image)[-1].square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in made.parameters())


def test_it_is_comparable_where_its_embedder_is() -> None:
    trained = embedder()
    names = trained.names[:1]
    assert not EmbedderMaps(trained.frozen(), names).comparable
    trained.comparable = True
    assert EmbedderMaps(trained.frozen(), names).comparable


def test_facenet_has_maps_of_256_channels_as_well() -> None:
    made = EmbedderMaps(FaceNet(size=80), ("repeat_1",))
    assert made(torch.rand(1, 3, 40, 40))[0].shape[:2] == (1, 256)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \['nothing'\]"):
        EmbedderMaps(embedder().frozen(), ("nothing",))(torch.rand(1, 3, 32, 32))


def test_a_network_without_activations_is_refused() -> None:
    with pytest.raises(TypeError, match="Conv2d does not show the maps of its layers"):
        EmbedderMaps(nn.Conv2d(3, 3, 1), ("x",))
