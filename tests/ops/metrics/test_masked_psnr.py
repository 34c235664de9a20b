import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from ops.metrics.masked_psnr import MaskedPSNR, masked_psnr


def images(b=3, h=5, w=4):
    return torch.rand(b, 3, h, w), torch.rand(b, 3, h, w), torch.rand(b, 1, h, w) < 0.4


@settings(max_examples=30, deadline=None)
@given(b=st.integers(1, 3), h=st.integers(1, 7), w=st.integers(1, 7), seed=st.integers(0, 10**6))
def test_it_is_skimages_psnr_of_the_selected_pixels(b, h, w, seed):
    torch.manual_seed(seed)
    prediction, target, mask = images(b, h, w)
    mask[0, 0, 0, 0] = True
    chosen = (x.movedim(1, -1)[mask[:, 0]].double().numpy() for x in (target, prediction))
    expected = torch.tensor(peak_signal_noise_ratio(*chosen, data_range=1), dtype=torch.float32)
    torch.testing.assert_close(masked_psnr(prediction, target, mask), expected)


def test_what_happens_outside_the_mask_does_not_count():
    prediction, target, mask = images()
    elsewhere = torch.where(mask, prediction, torch.rand_like(prediction))
    assert masked_psnr(elsewhere, target, mask) == masked_psnr(prediction, target, mask)


def test_a_tenth_of_the_error_is_twenty_decibels_more():
    prediction, target, mask = images()
    closer = target + (prediction - target) / 10
    gain = masked_psnr(closer, target, mask) - masked_psnr(prediction, target, mask)
    torch.testing.assert_close(gain, torch.tensor(20.0))


def test_weights_count_a_pixel_in_part():
    prediction = torch.tensor([0.1, 0.3]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    weight = torch.tensor([1.0, 0.5]).view(1, 1, 1, 2)
    mean = torch.tensor((0.01 + 0.5 * 0.09) / 1.5)
    torch.testing.assert_close(
        masked_psnr(prediction, torch.zeros_like(prediction), weight), -10 * mean.log10()
    )


def test_equal_images_are_infinitely_close_and_nothing_selected_is_not_a_number():
    prediction, _, mask = images()
    assert masked_psnr(prediction, prediction, mask) == torch.inf
    assert masked_psnr(prediction, prediction, torch.zeros_like(mask)).isnan()


def test_bf16_images_are_summed_in_float32():
    prediction, target = torch.full((2, 1, 3, 128, 128), 0.25, dtype=torch.bfloat16)
    result = masked_psnr(prediction + 0.5, target, torch.ones(1, 1, 128, 128))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, -10 * torch.tensor(0.25).log10())


@pytest.mark.parametrize(
    ("target", "mask"), [((2, 3, 4, 5), (2, 1, 4, 4)), ((2, 1, 4, 4), (2, 1, 4, 4))]
)
def test_shapes_that_do_not_fit_are_refused(unchecked_types, target, mask):
    with pytest.raises(ValueError, match="shaped like the prediction"):
        masked_psnr(torch.zeros(2, 3, 4, 4), torch.zeros(target), torch.zeros(mask))


def test_a_mask_of_several_channels_is_refused(unchecked_types):
    image = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"and mask \(2, 1, 4, 4\), got .* \(2, 3, 4, 4\)"):
        masked_psnr(image, image, image)


def test_the_metric_pools_the_error_over_all_images_however_batched():
    prediction, target, mask = images(7)
    mask[2] = False
    metric = MaskedPSNR()
    for part in (slice(0, 2), slice(2, 3), slice(3, 7)):
        metric.update(prediction[part], target[part], mask[part])
    torch.testing.assert_close(metric.compute(), masked_psnr(prediction, target, mask))


def metric_of_a_rank(rank):
    torch.manual_seed(0)
    parts = [x[(slice(0, 2), slice(2, 6))[rank]] for x in images(6)]
    metric = MaskedPSNR()
    metric.update(*parts)
    return metric.compute()


def test_two_processes_give_what_one_gives(two_processes):
    torch.manual_seed(0)
    expected = masked_psnr(*images(6))
    for result in two_processes(metric_of_a_rank):
        torch.testing.assert_close(result, expected)
