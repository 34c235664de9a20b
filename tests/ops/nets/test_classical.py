import kornia
import numpy as np
import pytest
import torch
from skimage.color import rgb2gray
from skimage.exposure import equalize_hist

from ops.nets.classical import equalised


@pytest.fixture
def dark() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    grey = 0.2 * torch.rand(2, 1, 40, 31, generator=generator) ** 2
    return grey + 0.01 * torch.rand(2, 3, 40, 31, generator=generator)  # colours stay in gamut


def luma(image: torch.Tensor) -> torch.Tensor:
    return (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)


def test_a_dark_face_becomes_as_bright_as_by_scikit_image(dark: torch.Tensor) -> None:
    bright = luma(equalised(dark))
    for ours, image in zip(bright, luma(dark), strict=True):
        theirs = equalize_hist(image.mul(255).round().byte().numpy(), nbins=256)
        theirs = (theirs - theirs.min()) / (1 - theirs.min())  # the darkest stays black in ours
        assert abs(float(ours.mean()) - theirs.mean()) < 0.06
        assert np.corrcoef(ours.flatten(), theirs.flatten())[0, 1] > 0.98


def test_grey_stays_grey(dark: torch.Tensor) -> None:
    grey = dark[:, :1].expand(-1, 3, -1, -1)
    answer = equalised(grey)
    assert float((answer - answer.mean(1, keepdim=True)).abs().max()) < 2e-3
    assert rgb2gray(answer[0].permute(1, 2, 0).numpy()).mean() > 0.3


def test_images_do_not_influence_one_another(dark: torch.Tensor) -> None:
    torch.testing.assert_close(equalised(dark)[1:], equalised(dark[1:]))


def test_pixels_of_one_brightness_stay_equal_wherever_they_are(dark: torch.Tensor) -> None:
    order = torch.randperm(40 * 31, generator=torch.Generator().manual_seed(1))

    def moved(image: torch.Tensor) -> torch.Tensor:
        return image.flatten(2)[:, :, order].reshape(image.shape)

    def adaptive(image: torch.Tensor) -> torch.Tensor:
        return kornia.enhance.equalize_clahe(image, clip_limit=0.0)

    torch.testing.assert_close(equalised(moved(dark)), moved(equalised(dark)))
    assert float((adaptive(moved(dark)) - moved(adaptive(dark))).abs().mean()) > 0.01
