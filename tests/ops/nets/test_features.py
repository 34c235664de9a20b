from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import vgg19

from ops.nets.features import RandomFeatures, Vgg19Features, vgg19_stack


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict in torchvision's names, untrained, with a classifier too small to matter."""
    torch.manual_seed(0)
    state = {f"features.{k}": v for k, v in vgg19_stack().state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({**state, "classifier.0.weight": torch.zeros(1)}, path)
    return path


def test_the_stack_is_that_of_torchvision() -> None:
    with torch.device("meta"):
        ours, theirs = vgg19_stack(), vgg19().features
    assert [type(x) for x in ours] == [type(x) for x in theirs]
    shapes = [{k: v.shape for k, v in x.state_dict().items()} for x in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_the_maps_are_those_after_the_named_layers(weights: Path) -> None:
    features = Vgg19Features(str(weights), layers=(1, 6))
    image = torch.rand(1, 3, 16, 16)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    expected = nn.Sequential(*features.stack)((image - mean) / std)
    assert len(features.stack) == 7
    first, second = features(image)
    assert first.shape == (1, 64, 16, 16)
    torch.testing.assert_close(second, expected)


def test_without_the_imagenet_normalisation_the_image_goes_in_as_it_is(weights: Path) -> None:
    features = Vgg19Features(str(weights), layers=(0,), imagenet=False)
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(features(image)[0], features.stack[0](image))


def test_safetensors_are_read_too(weights: Path, tmp_path: Path) -> None:
    save_file(torch.load(weights, weights_only=True), tmp_path / "vgg19.safetensors")
    image = torch.rand(1, 3, 8, 8)
    a = Vgg19Features(str(weights), layers=(1,))(image)
    b = Vgg19Features(str(tmp_path / "vgg19.safetensors"), layers=(1,))(image)
    assert torch.equal(a[0], b[0])


def test_a_missing_file_names_its_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"download https://download\.pytorch\.org"):
        Vgg19Features(str(tmp_path / "none.pth"))


def test_a_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    for name in ("other.pth", "broken.pth"):
        with pytest.raises(ValueError, match=f"{name} does not hold torchvision's VGG-19"):
            Vgg19Features(str(tmp_path / name))


def test_a_layer_that_vgg19_does_not_have_is_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match="below 37"):
        Vgg19Features(str(weights), layers=(1, 40))


def test_random_features_depend_on_their_seed_alone() -> None:
    image = torch.rand(1, 3, 16, 16)
    torch.manual_seed(1)
    first = RandomFeatures(4, seed=3)(image)
    torch.manual_seed(2)
    second, other = RandomFeatures(4, seed=3)(image), RandomFeatures(4, seed=4)(image)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert [tuple(x.shape[1:]) for x in first] == [(4, 8, 8), (8, 4, 4), (16, 2, 2)]


def test_only_trained_features_are_comparable_and_both_kinds_are_frozen(weights: Path) -> None:
    trained, random = Vgg19Features(str(weights), layers=(1,)), RandomFeatures()
    assert (trained.comparable, random.comparable) == (True, False)
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    for features in (trained, random):
        assert not features.training
        assert not any(p.requires_grad for p in features.parameters())
        (gradient,) = torch.autograd.grad(sum(x.sum() for x in features(image)), image)
        assert gradient.any()
