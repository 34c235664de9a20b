from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import vgg16, vgg19

from ops.nets.features import RandomFeatures, Vgg19Features, VggFaceFeatures, vgg19_stack


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
    with pytest.raises(ValueError, match=r"other\.pth does not hold torchvision's VGG-19"):
        Vgg19Features(str(tmp_path / "other.pth"))
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"broken\.pth cannot be read .* is at https://download"):
        Vgg19Features(str(tmp_path / "broken.pth"))
    fake = (tmp_path / "other.pth").rename(tmp_path / "vgg19-dcbb9e9d.pth")
    with pytest.raises(ValueError, match=r"expected dcbb9e9d[0-9a-f]{56} as the published"):
        Vgg19Features(str(fake))


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


@pytest.fixture(scope="module")
def face_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential]:
    """A state dict in Oxford's names, and torchvision's VGG-16 with the same weights."""
    torch.manual_seed(0)
    reference = vgg16(num_classes=1, init_weights=False).features
    names = ["1_1", "1_2", "2_1", "2_2", *(f"{i}_{j}" for i in (3, 4, 5) for j in (1, 2, 3))]
    layers = [layer for layer in reference if isinstance(layer, nn.Conv2d)]
    state = {"fc8.bias": torch.zeros(2622)}
    for name, layer in zip(names, layers, strict=True):
        state |= {f"conv{name}.weight": layer.weight.data, f"conv{name}.bias": layer.bias.data}
    path = tmp_path_factory.mktemp("face") / "vgg_face_dag.pth"
    torch.save(state, path)
    return path, reference


def test_vgg_face_is_vgg16_on_pixels_without_the_mean_face(
    face_weights: tuple[Path, nn.Sequential],
) -> None:
    path, reference = face_weights
    image = torch.rand(1, 3, 48, 40)
    mean = torch.tensor([129.186279296875, 104.76238250732422, 93.59396362304688])
    (pool3,) = VggFaceFeatures(str(path))(image)
    assert pool3.shape == (1, 256, 6, 5)
    expected = reference[:17](255 * image - mean.view(1, 3, 1, 1))
    torch.testing.assert_close(pool3, expected)
    plain = VggFaceFeatures(str(path), layers=(1, 30), native=False)(image)
    torch.testing.assert_close(plain[0], reference[:2](image))
    torch.testing.assert_close(plain[1], reference(image))


def test_vgg_face_refuses_another_file(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no VGG-Face weights.*make weights ARGS=vgg_face"):
        VggFaceFeatures(str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match="does not hold Oxford's VGG-Face"):
        VggFaceFeatures(str(weights))
