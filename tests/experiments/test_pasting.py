import numpy as np
import pytest

from datamodules.faces import cut, to_crop
from experiments.pasting import FEATHER, Patch, changed, feathered, panel, pasted

SQUARE = np.array([[40.0, 30], [40, 110], [120, 110], [120, 30]])
TURNED = np.array([[70.0, 20], [30, 90], [100, 130], [140, 60]])


def photograph(dtype=np.uint8, height=150, width=180):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype)


def constant(value, size=64):
    return np.full((size, size, 3), value, np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("corners", [SQUARE, TURNED, TURNED - 60, None])
def test_nothing_changed_leaves_the_photograph_to_the_bit(dtype, corners):
    before = photograph(dtype)
    np.testing.assert_array_equal(pasted(before, [Patch(corners, constant(0))]), before)
    np.testing.assert_array_equal(pasted(before, []), before)


@pytest.mark.parametrize("size", [24, 64, 300])
@pytest.mark.parametrize("corners", [SQUARE, TURNED])
def test_a_change_lands_inside_its_face_only(corners, size):
    before = np.full((150, 180, 3), 100, np.uint8)
    after = pasted(before, [Patch(corners, constant(0.2, size))])
    y, x = np.mgrid[:150, :180]
    inside = (np.stack([x, y], 2) @ to_crop(corners, (1, 1))[:, :2].T) + to_crop(corners, (1, 1))[
        :, 2
    ]
    across, down = np.moveaxis(0.5 - np.abs(inside), 2, 0)  # to the border, in sides
    assert (after[np.minimum(across, down) < 0] == 100).all()
    assert (after[(down > FEATHER[0] + 0.03) & (across > FEATHER[1] + 0.03)] == 151).all()
    rim = after[(np.abs(down - FEATHER[0] / 2) < 0.01) & (across > FEATHER[1] + 0.03)]
    assert rim.size
    assert ((rim > 110) & (rim < 142)).all()


def test_a_spot_lands_where_it_was_seen():
    y, x = np.mgrid[:150, :180]
    spot = 60 * np.exp(-((x - 87) ** 2 + (y - 72) ** 2) / 18)
    before = np.repeat(np.rint(100 + spot)[..., None], 3, 2).astype(np.uint8)
    crop = cut(before, TURNED, (80, 80))
    change = (100 / 255 - crop).astype(np.float32)
    after = pasted(before, [Patch(TURNED, change)])
    assert np.abs(after.astype(int) - 100).max() <= 4
    assert np.abs(after.astype(int) - 100).mean() < 0.05


def test_detail_finer_than_the_crop_is_kept():
    before = photograph()
    after = pasted(before, [Patch(SQUARE, constant(0.0, 16) + 1 / 255)])
    middle = (slice(60, 80), slice(70, 90))
    expected = np.minimum(before[middle].astype(int) + 1, 255)
    np.testing.assert_array_equal(after[middle], expected)


def test_faces_that_overlap_share_the_change():
    before = np.full((150, 180, 3), 100, np.uint8)
    twice = [Patch(SQUARE, constant(0.2)), Patch(SQUARE + 4, constant(0.2))]
    once = pasted(before, twice[:1])
    after = pasted(before, twice)
    assert after.max() == once.max() == 151
    np.testing.assert_array_equal(after, pasted(before, twice[::-1]))


def test_weights_fade_to_nothing_without_a_step():
    weights = feathered(np.linspace(-0.1, 1.1, 241), 0.15)
    np.testing.assert_allclose(weights[:21], 0, atol=1e-12)
    np.testing.assert_allclose(weights[51:190], 1)
    assert 0 < np.diff(weights).max() < 0.06
    assert np.abs(np.diff(weights, 2)).max() < 0.007
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-12)


def test_the_change_of_a_grey_photograph_has_no_colour():
    before = np.full((40, 40, 3), 100, np.uint8)
    red = np.zeros((20, 20, 3), np.float32)
    red[..., 0] = 0.5
    after = changed(before, red, grey=True)
    assert (after == after[..., :1]).all()
    assert after.max() > 130


def test_sixteen_bits_take_changes_finer_than_eight():
    before = np.full((40, 40, 3), 30_000, np.uint16)
    assert (changed(before, constant(7 / 65535, 40)) == 30_007).all()


def test_a_panel_has_a_row_a_face_and_a_column_more_for_masks():
    before = photograph()
    patches = [Patch(SQUARE, constant(0.1)), Patch(TURNED, constant(0.1))]
    after = pasted(before, patches)
    assert panel(before, after, patches, []).shape == (2 * 324, 2 * 324, 3)
    mask = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    shown = panel(before, after, patches[:1], [mask])
    assert shown.shape == (324, 3 * 324, 3)
    assert shown[:320, 648:968].std() > 20
    assert panel(before, after, [Patch(None, constant(0.1))], []).shape == (324, 648, 3)
