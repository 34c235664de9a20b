import warnings
from pathlib import Path

import lpips
import pytest
import torch
import torchvision

from ops.metrics.lpips import Lpips

pytestmark = pytest.mark.filterwarnings("ignore:.*pretrained.*", "ignore:.*weight enum.*")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(torchvision.models.alexnet().state_dict(), path)
    return path


def test_the_distance_is_the_packages_own_with_the_backbone_of_the_file(weights: Path) -> None:
    torch.manual_seed(1)
    output, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    layers = torch.nn.Sequential(
        *(reference.net.slice1[i] for i in range(2)),
        *(reference.net.slice2[i] for i in range(3)),
        *(reference.net.slice3[i] for i in range(3)),
        *(reference.net.slice4[i] for i in range(2)),
        *(reference.net.slice5[i] for i in range(2)),
    )
    state = torch.load(weights, weights_only=True)
    names = [name for name in state if name.startswith("features")]
    for parameter, name in zip(layers.parameters(), names, strict=True):
        parameter.data = state[name]
    expected = reference(2 * output - 1, 2 * target - 1).flatten()
    assert torch.allclose(Lpips(str(weights))(output, target), expected, atol=1e-6)


def test_equal_images_have_no_distance(weights: Path) -> None:
    image = torch.rand(1, 3, 64, 64)
    assert float(Lpips(str(weights))(image, image)) == 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no AlexNet weights at .*none\.pth"):
        Lpips(str(tmp_path / "none.pth"))


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold AlexNet"):
        Lpips(str(tmp_path / "other.pth"))


def test_images_that_leave_alexnet_nothing_are_refused(weights: Path) -> None:
    measure = Lpips(str(weights))
    assert measure(torch.rand(1, 3, 31, 40), torch.rand(1, 3, 31, 40)).shape == (1,)
    with pytest.raises(ValueError, match="LPIPS needs at least 31 pixels a side, got 30 x 40"):
        measure(torch.rand(1, 3, 30, 40), torch.rand(1, 3, 30, 40))
