import cv2
import numpy as np
import pytest

from datamodules.alignment import crop, ffhq_quad, quad_side, to_crop

FRONTAL = np.array([[80.0, 100], [120, 100], [100, 125], [85, 145], [115, 145]])


def turned(points: np.ndarray, angle: float, centre=(100.0, 110.0)) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return (points - centre) @ np.array([[c, s], [-s, c]]) + centre


def drawn(size: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (size // 20, size // 20, 3), np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def test_the_quad_of_a_frontal_face_follows_the_published_rule():
    # Eyes 40 apart, mouth 45 below: half side max(80, 81), centre 4.5 below the eyes.
    expected = [[100 - 81, 104.5 - 81], [19, 185.5], [181, 185.5], [181, 23.5]]
    np.testing.assert_allclose(ffhq_quad(FRONTAL), expected, atol=1e-9)


def test_wide_eyes_set_the_side_by_the_eyes():
    wide = FRONTAL.copy()
    wide[:2, 0] = [70, 130]
    assert quad_side(ffhq_quad(wide)) == pytest.approx(4 * 60)


def test_the_quad_turns_and_grows_with_the_face():
    whole = ffhq_quad(turned(FRONTAL, 0.4) * 1.7)
    np.testing.assert_allclose(whole, turned(ffhq_quad(FRONTAL), 0.4) * 1.7, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2, np.pi])
def test_a_turned_head_stands_upright_in_its_crop(angle):
    points = turned(FRONTAL, angle)
    placed = to_crop(points, ffhq_quad(points), 256)
    np.testing.assert_allclose(placed, to_crop(FRONTAL, ffhq_quad(FRONTAL), 256), atol=1e-6)
    assert placed[0, 1] == pytest.approx(placed[1, 1])
    assert placed[:2, 0].mean() == pytest.approx(127.5)


def test_a_square_along_the_axes_is_cut_out_exactly():
    image = drawn()
    quad = np.array([[20.0, 30], [20, 158], [148, 158], [148, 30]]) - 0.5
    np.testing.assert_array_equal(crop(image, quad, 128), image[30:158, 20:148])


def test_points_and_pixels_move_together():
    image = np.zeros((200, 200, 3), np.uint8)
    points = turned(FRONTAL, 0.3)
    x, y = np.rint(points[2]).astype(int)
    image[y, x] = 255
    quad = ffhq_quad(points)
    out = crop(image, quad, 160).sum(axis=2)
    peak = np.array(np.unravel_index(out.argmax(), out.shape))[::-1]
    np.testing.assert_allclose(peak, to_crop(np.array([[x, y]]), quad, 160)[0], atol=1)


def test_shrinking_does_not_alias():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    quad = np.array([[50.0, 50], [50, 350], [350, 350], [350, 50]]) + 0.3
    out = crop(stripes, quad, 60).astype(int)
    assert np.abs(out[2:-2, 2:-2] - 127).max() < 30  # 128 if pixels were merely picked


def test_outside_the_photograph_the_crop_shows_a_blurred_reflection_not_black():
    image = np.random.default_rng(0).integers(60, 255, (200, 200, 3), np.uint8)
    out = crop(image, ffhq_quad(FRONTAL) - np.array([100.0, 0]), 160)
    assert out[:, :60].min() > 55
    assert out[:, :40].std() < 0.3 * out[:, 100:].std()


def test_the_part_inside_the_photograph_is_not_blurred():
    image = drawn()
    quad = np.array([[-64.0, 30], [-64, 158], [64, 158], [64, 30]]) - 0.5
    np.testing.assert_array_equal(crop(image, quad, 128)[:, 66:], image[30:158, 2:64])


def test_a_quad_outside_the_photograph_is_refused():
    with pytest.raises(ValueError, match="outside the photograph"):
        crop(drawn(), ffhq_quad(FRONTAL) + 5000, 64)


def test_a_tiny_size_is_refused():
    with pytest.raises(ValueError, match="at least 8, got 2"):
        crop(drawn(), ffhq_quad(FRONTAL), 2)


def test_points_that_span_no_face_are_refused():
    with pytest.raises(ValueError, match="span no face"):
        ffhq_quad(np.ones((5, 2)))
    with pytest.raises(ValueError, match="five finite points"):
        ffhq_quad(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="four corners"):
        quad_side(np.ones((3, 2)))
