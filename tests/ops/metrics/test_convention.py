import dataclasses

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio as psnr_of_skimage
from skimage.metrics import structural_similarity as ssim_of_skimage
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from ops.metrics.convention import HIFACEGAN, OURS, SUPER_RESOLUTION, Convention, luma, rounded
from ops.metrics.ssim import ssim

PRIMARIES = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])[..., None, None]


def test_luma_of_the_primaries_is_bt_601s_in_the_studio_range():
    levels = 255 * luma(PRIMARIES).flatten().double()
    wanted = torch.tensor([16, 235, 81.481, 144.553, 40.966], dtype=torch.float64)
    torch.testing.assert_close(levels, wanted, rtol=0, atol=2e-5)


def test_luma_is_that_of_scikit_image():
    image = torch.rand(1, 3, 5, 7, dtype=torch.float64)
    wanted = rgb2ycbcr(image[0].permute(1, 2, 0).numpy())[..., 0]
    np.testing.assert_allclose(255 * luma(image)[0, 0].numpy(), wanted, rtol=0, atol=1e-10)


def test_ours_leaves_every_value_alone():
    image = torch.randn(2, 3, 4, 5)
    assert torch.equal(OURS.prepare(image), image)
    assert Convention() == OURS


def test_rounding_cuts_to_the_range_and_takes_halves_to_the_even_level():
    levels = torch.tensor([-3.0, 0.5, 1.5, 2.4, 2.6, 254.5, 300.0], dtype=torch.float64)
    assert (255 * rounded(levels / 255)).round(decimals=9).tolist() == [0, 0, 2, 2, 3, 254, 255]


def test_8_bit_images_are_not_changed_by_rounding():
    image = torch.arange(256).float().view(1, 1, 16, 16).expand(-1, 3, -1, -1) / 255
    assert torch.equal(HIFACEGAN.prepare(image), image)


def test_rounding_keeps_the_kind_of_numbers():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert rounded(torch.rand(4).to(dtype)).dtype == dtype


def test_rounding_comes_before_luma_which_is_not_rounded_again():
    image = torch.full((1, 3, 1, 1), 100.4 / 255, dtype=torch.float64)
    found = 255 * Convention(rounding=True, channel="Y").prepare(image).item()
    assert found == pytest.approx(16 + 219 * 100 / 255, abs=1e-9)


def test_the_border_is_cut_from_all_four_sides():
    image = torch.rand(2, 3, 11, 10)
    assert torch.equal(Convention(border=4).prepare(image), image[:, :, 4:7, 4:6])
    assert SUPER_RESOLUTION.prepare(image).shape == (2, 1, 3, 2)


def test_a_border_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="border of 4 px leaves nothing of 9 x 8 pixels"):
        SUPER_RESOLUTION.prepare(torch.rand(1, 3, 9, 8))


def test_conventions_that_cannot_be_are_refused(unchecked_types):
    with pytest.raises(ValueError, match="border must be 0 or more pixels, got -1"):
        Convention(border=-1)
    with pytest.raises(ValueError, match="channel must be 'RGB' or 'Y', got 'L'"):
        Convention(channel="L")


def test_a_convention_cannot_be_changed_later():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OURS.border = 4


@pytest.mark.parametrize(
    ("convention", "sentence"),
    [
        (OURS, "RGB in [0, 1], no rounding, no border cut"),
        (HIFACEGAN, "RGB in [0, 1], rounded to 8 bits, no border cut"),
        (
            SUPER_RESOLUTION,
            "Y of RGB in [0, 1] (BT.601, from 16/255 to 235/255), rounded to 8 bits before Y is "
            "taken, 4 px cut from each side",
        ),
        (
            Convention(channel="Y", border=1),
            "Y of RGB in [0, 1] (BT.601, from 16/255 to 235/255), no rounding, 1 px cut from each "
            "side",
        ),
    ],
)
def test_the_sentence_says_all_of_it(convention, sentence):
    assert convention.sentence == sentence


def pair():
    """A made-up picture and a disturbed one, the same on every machine: no random numbers."""
    y, x, c = np.meshgrid(np.arange(48), np.arange(40), np.arange(3), indexing="ij")
    picture = 0.5 + 0.3 * np.sin(0.31 * x + 0.05 * c * y) * np.cos(0.23 * y - c)
    error = 0.08 * np.sin(1.7 * x + 0.9 * y + c) + 0.03 * np.cos(0.11 * x * y)
    return picture, np.clip(picture + error, 0, 1)


def tensors():
    return tuple(torch.from_numpy(each).permute(2, 0, 1)[None] for each in pair())


# Window 11 x 11, Gaussian of sigma 1.5, covariances divided by n, K 0.01 and 0.03, range 1, the
# mean over channels. Inside the image all agree. At the border they do not: ours, as
# torchmetrics, goes on with the mirror image (the border pixel not repeated) and counts every
# pixel; scikit-image counts only windows that lie wholly inside, 5 pixels from the border, as do
# MATLAB's and HiFaceGAN's.
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
PSNR, SSIM, SSIM_INSIDE = 24.321593, 0.755748, 0.768597
OF_PRESETS = {HIFACEGAN: (24.316954, 0.755548), SUPER_RESOLUTION: (26.999610, 0.722539)}


def ssim_by_scikit_image(target, output):
    return ssim_of_skimage(target, output, channel_axis=2, data_range=1.0, **GAUSSIAN)


def test_ssim_is_torchmetrics_and_scikit_images_of_the_mirrored_pair_and_stays_it():
    mirrored = (np.pad(each, ((5, 5), (5, 5), (0, 0)), mode="reflect") for each in pair())
    preds, truth = tensors()[::-1]
    found = ssim(preds, truth).item()
    theirs = structural_similarity_index_measure(preds, truth, data_range=1.0).item()
    assert found == pytest.approx(theirs, abs=1e-9)
    assert found == pytest.approx(ssim_by_scikit_image(*mirrored), abs=1e-5)
    assert found == pytest.approx(SSIM, abs=1e-5)


def test_ssim_of_whole_windows_alone_is_scikit_images_of_the_pair_itself():
    preds, truth = tensors()[::-1]
    _, places = structural_similarity_index_measure(
        preds, truth, data_range=1.0, return_full_image=True
    )
    inside = places[..., 5:-5, 5:-5].mean().item()
    assert inside == pytest.approx(ssim_by_scikit_image(*pair()), abs=1e-5)
    assert inside == pytest.approx(SSIM_INSIDE, abs=1e-5)


def test_psnr_of_torchmetrics_is_scikit_images_and_stays_it():
    target, output = pair()
    preds, truth = tensors()[::-1]
    found = peak_signal_noise_ratio(preds, truth, data_range=1.0).item()
    assert found == pytest.approx(psnr_of_skimage(target, output, data_range=1.0), abs=1e-5)
    assert found == pytest.approx(PSNR, abs=1e-5)


@pytest.mark.parametrize("convention", [HIFACEGAN, SUPER_RESOLUTION])
def test_the_presets_scores_of_the_pair_stay_what_they_are(convention):
    preds, truth = (convention.prepare(each) for each in tensors()[::-1])
    psnr = peak_signal_noise_ratio(preds, truth, data_range=1.0).item()
    assert (psnr, ssim(preds, truth).item()) == pytest.approx(OF_PRESETS[convention], abs=1e-5)
