from pathlib import Path

import pytest
import torch

from ops.nets.inception import InceptionFeatures
from ops.nets.weights import sha256_of

fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights under the network's own names."""
    extractor = fidelity.FeatureExtractorInceptionV3
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict", lambda *_: None)
        patch.setattr(fidelity.torch, "load", lambda *_, **__: {})
        network = extractor("inception", ["2048"], "none")
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def features(weights: Path) -> InceptionFeatures:
    return InceptionFeatures(str(weights), sha256_of(weights))


def test_features_are_those_of_the_image_rounded_to_8_bits(features):
    image = torch.rand(1, 3, 40, 37)
    expected = features.network((image * 255).round().to(torch.uint8))[0]
    found = features(image)
    assert found.shape == (1, features.dimensions)
    assert torch.equal(found, expected)


def test_nothing_of_it_learns_or_drops_out(features):
    assert not features.training
    assert not any(p.requires_grad for p in features.parameters())


def test_other_weights_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold Inception's weights"):
        InceptionFeatures(str(tmp_path / "other.pth"), sha256_of(tmp_path / "other.pth"))


def test_a_file_with_another_hash_is_refused(weights):
    with pytest.raises(ValueError, match="expected 00"):
        InceptionFeatures(str(weights), "0" * 64)


def test_fid_is_of_the_published_weights_whatever_their_file_is_called(weights):
    found = sha256_of(weights)
    with pytest.raises(ValueError, match=f"has sha256 {found}, expected 6726825d[0-9a-f]{{56}}:"):
        InceptionFeatures(str(weights))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        InceptionFeatures(str(tmp_path / "nowhere.pth"))
