import statistics

import cv2
import numpy as np
import pytest
import torch

from benchmarks.bench_niqe import as_tensor, cases, loop, made_up_model, picture
from ops.metrics.convention import luma
from ops.metrics.niqe import NIQE, NiqeModel, block_features, fit, gaussian_window, niqe


@pytest.fixture
def model():
    return made_up_model()


def textures(count=3, side=200):
    return torch.cat([as_tensor(picture(side, side, seed)) for seed in range(count)])


@pytest.mark.parametrize("size", [(192, 192), (96, 288)])
def test_niqe_is_the_paper_written_out_in_loops(model, size):
    rgb = picture(*size)
    assert niqe(as_tensor(rgb), model).item() == pytest.approx(loop(rgb, model), abs=1e-6)


def test_the_benchmarks_forms_agree():
    assert len(cases(small=True)) == 3


def test_pixels_beyond_the_whole_blocks_do_not_count(model):
    image = textures(1, 200)
    changed = image.clone()
    changed[..., 192:, :] = 0
    changed[..., :, 192:] = 1
    assert niqe(changed, model) == niqe(image[..., :192, :192], model)


def test_images_of_a_batch_are_scored_one_by_one(model):
    images = textures(3)
    alone = torch.cat([niqe(each[None], model) for each in images])
    torch.testing.assert_close(niqe(images, model), alone, rtol=1e-12, atol=0)


def test_luma_in_one_channel_scores_as_the_image_it_is_of(model):
    image = textures(2)
    torch.testing.assert_close(niqe(luma(image), model), niqe(image, model), rtol=1e-9, atol=0)


def test_luma_is_rounded(model):
    image = luma(textures(1))
    levels = torch.floor(255 * image.double() + 0.5)
    for shift in (-0.4, 0.0, 0.4):
        assert niqe((levels + shift) / 255, model) == niqe(levels / 255, model)
    assert niqe((levels + 0.5) / 255, model) == niqe((levels + 1) / 255, model)


def test_the_distance_from_a_model_of_the_image_itself_is_zero():
    image = textures(1, 384)
    rows, _ = block_features(image, gaussian_window())
    own = NiqeModel(rows[0].nanmean(0), torch.eye(36).double(), gaussian_window())
    assert niqe(image, own).item() == pytest.approx(0, abs=1e-9)


def test_sharpness_is_the_mean_deviation_of_a_block():
    image = torch.full((1, 1, 96, 288), 0.5)
    image[..., 96:192] += 0.1 * torch.randn(96, 96)
    image[..., 192:] += 0.2 * torch.randn(96, 96)
    _, sharpness = block_features(image, gaussian_window())
    assert 0 < sharpness[0, 0] < 2 < sharpness[0, 1] < 0.6 * sharpness[0, 2]


def test_a_fit_takes_only_blocks_above_three_quarters_of_the_sharpest():
    batches = [textures(6, 288), torch.rand(3, 1, 288, 384)]
    batches[0][..., :96, :96] = batches[0][..., :96, :96] / 20 + 0.5  # too dull to count
    found, rows = fit(batches), []
    for images in batches:
        values, sharpness = block_features(images, gaussian_window())
        for each, sharp in zip(values.numpy(), sharpness.numpy(), strict=True):
            rows += list(each[sharp > 0.75 * sharp.max()])
    assert len(rows) < 6 * 9 + 3 * 12
    np.testing.assert_allclose(found.mean.numpy(), np.nanmean(rows, 0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance.numpy(), np.cov(rows, rowvar=False), atol=1e-12)
    assert torch.equal(found.window, gaussian_window())


def test_a_fitted_model_finds_disturbed_textures_worse():
    own = fit([textures(8, 288)])
    clean = textures(9, 288)[8:]
    noisy = (clean + 0.2 * torch.randn_like(clean)).clamp(0, 1)
    assert (niqe(noisy, own) > 2 * niqe(clean, own)).all()


def test_a_written_model_is_read_back_in_the_names_of_others(tmp_path, model):
    path = tmp_path / "model.parameters"
    model.write(str(path))
    found = NiqeModel.read(str(path))
    for name in ("mean", "covariance", "window"):
        assert torch.equal(getattr(found, name), getattr(model, name))
    assert np.load(path)["mu_pris_param"].shape == (1, 36)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no NIQE parameters at .*none\.npz"):
        NiqeModel.read(str(tmp_path / "none.npz"))


def test_a_file_with_other_names_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", mean=np.zeros(3), gaussian_window=np.eye(3))
    with pytest.raises(ValueError, match="cov_pris_param, mu_pris_param missing, found gauss"):
        NiqeModel.read(str(tmp_path / "other.npz"))


def test_a_file_that_only_has_the_name_of_the_published_one_is_refused(tmp_path, model):
    model.write(str(tmp_path / "niqe_pris_params.npz"))
    with pytest.raises(ValueError, match=r"expected 2a7c182a[0-9a-f]{56} as the published"):
        NiqeModel.read(str(tmp_path / "niqe_pris_params.npz"))


def test_models_that_cannot_be_are_refused():
    mean, covariance, window = torch.zeros(36), torch.eye(36), gaussian_window()
    with pytest.raises(ValueError, match=r"odd square window, got \(35,\), \(36, 36\)"):
        NiqeModel(mean[1:], covariance, window)
    with pytest.raises(ValueError, match=r"odd square window, .* \(6, 6\)"):
        NiqeModel(mean, covariance, window[:6, :6])
    with pytest.raises(ValueError, match="covariance of a NIQE model must be finite"):
        NiqeModel(mean, covariance / 0, window)
    with pytest.raises(ValueError, match=r"sum to 1 and be an outer product .* a sum of 2"):
        NiqeModel(mean, covariance, 2 * window)


@pytest.mark.parametrize("size", [(95, 400), (96, 191), (10, 10)])
def test_images_without_two_blocks_are_refused(model, size):
    with pytest.raises(ValueError, match=rf"two blocks of 96 .* 3 channels of {size[0]} x"):
        niqe(torch.rand(1, 3, *size), model)


def test_two_channels_are_refused(model):
    with pytest.raises(ValueError, match=r"1 or 3 channels .* got 2 channels"):
        niqe(torch.rand(1, 2, 192, 192), model)


def test_clean_images_that_give_no_model_are_refused():
    with pytest.raises(ValueError, match="clean images must be finite"):
        fit([torch.full((1, 3, 192, 192), torch.nan)])
    with pytest.raises(ValueError, match="needs more than 36 sharp blocks, got 0"):
        fit([])


def test_an_image_that_is_not_a_number_or_has_no_texture_shows(model):
    images = textures(3)
    images[0, 1, 5, 5] = torch.nan
    images[2] = 0.5
    assert niqe(images, model).isnan().tolist() == [True, False, True]
    metric = NIQE(model)
    metric.update(images)
    assert metric.compute().isnan()


def test_the_metric_is_the_mean_over_images_however_batched(model):
    images, metric = textures(3), NIQE(model)
    metric.update(images[:2])
    metric.update(images[2:])
    torch.testing.assert_close(metric.compute(), niqe(images, model).mean())
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute().isnan()


def test_sums_stay_in_float64_whatever_the_metric_is_converted_to(model):
    metric = NIQE(model).float().half()
    metric.update(textures(1).half())
    assert metric.total.dtype == metric.compute().dtype == torch.float64


def score_of_a_rank(rank):
    metric = NIQE(made_up_model())
    metric.update(textures(3)[(slice(0, 1), slice(1, 3))[rank]])
    return metric.compute()


def test_two_processes_give_what_one_gives(two_processes, model):
    wanted = niqe(textures(3), model).mean()
    for found in two_processes(score_of_a_rank):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


@pytest.fixture
def published(faces):
    path = faces / "assets" / "niqe_pris_params.npz"
    if not path.is_file():
        pytest.skip(f"no published NIQE parameters at {path}")
    return NiqeModel.read(str(path))


def median(files, model, crop=None):
    """The median of the images of 512 px; larger ones reduced by areas, after the crop."""
    scores = []
    for file in files:
        rgb = cv2.imread(str(file))[..., ::-1]
        if crop:
            top, left = ((side - crop) // 2 for side in rgb.shape[:2])
            rgb = rgb[top : top + crop, left : left + crop]
        rgb = cv2.resize(rgb, (512, 512), interpolation=cv2.INTER_AREA)
        scores.append(niqe(as_tensor(rgb), model).item())
    if not scores:
        pytest.skip("no such photographs here")
    return statistics.median(scores)


def test_the_published_window_is_the_papers(published):
    torch.testing.assert_close(published.window, gaussian_window(), rtol=0, atol=1e-12)


def test_real_faces_score_in_the_ranges_known_of_them(faces, published):
    clean = median(sorted(faces.glob("ffhq/hq/*.png")), published)
    studio = median(sorted(faces.glob("london/*/*.jpg"))[::32], published, crop=950)
    assert abs(clean - 3.9) < 0.5
    assert abs(studio - 4.5) < 0.5
    assert 11 < median(sorted(faces.glob("degraded/*.png")), published) < 13
