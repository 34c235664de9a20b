import numpy as np
import pytest

from datamodules.alignment import crop, ffhq_quad
from datamodules.faces import Steadied, View, celeba_view, cut, extent, ffhq_view, to_crop

LANDMARKS = np.array([[90.0, 80], [130, 84], [108, 105], [92, 125], [124, 128]])


def smooth(height=220, width=200):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + y / (11 + c)) for c in range(3)]
    return (128 + 100 * np.stack(waves, 2)).astype(np.uint8)


def test_an_ffhq_view_is_the_square_that_sets_are_prepared_with():
    corners = ffhq_view(64).corners(LANDMARKS)
    np.testing.assert_allclose(corners, ffhq_quad(LANDMARKS))
    ours, theirs = cut(smooth(), corners, (160, 160)) * 255, crop(smooth(), corners, 160)
    assert np.abs(ours - theirs).mean() < 0.5  # at its own size; shrinking, ours is more exact


@pytest.mark.parametrize("size", [(48, 48), (64, 40), (300, 260)])
def test_every_pixel_of_a_crop_shows_its_place_in_the_photograph(size):
    y, x = np.mgrid[:400, :400]
    gradients = (np.stack([x, y, x + y], 2) * 80).astype(np.uint16)
    corners = np.array([[60.0, 120], [90, 330], [300, 300], [270, 90]])
    found = cut(gradients, corners, size) * 65535 / 80
    rows, columns = np.mgrid[: size[0], : size[1]]
    down, right = (rows + 0.5) / size[0], (columns + 0.5) / size[1]
    along, below = corners[3] - corners[0], corners[1] - corners[0]
    place = corners[0] + right[..., None] * along + down[..., None] * below
    np.testing.assert_allclose(found[..., :2], place, atol=0.25)  # a twentieth of a crop's


def test_a_celeba_view_is_the_middle_of_the_aligned_picture():
    whole, part = celeba_view(218, 178), celeba_view(96, 80)
    outer, inner = extent(whole.corners(LANDMARKS)), extent(part.corners(LANDMARKS))
    np.testing.assert_allclose(np.divide(inner, outer), [96 / 218, 80 / 178])
    eyes = to_crop(whole.corners(LANDMARKS), (218, 178)) @ [*LANDMARKS[:2].mean(0), 1]
    np.testing.assert_allclose(eyes, [89, 111], atol=3)


def test_a_rectangle_of_whole_pixels_is_cut_out_as_it_is():
    picture = smooth()
    corners = np.array([[9.5, 19.5], [9.5, 59.5], [39.5, 59.5], [39.5, 19.5]])
    np.testing.assert_allclose(
        cut(picture, corners, (40, 30)) * 255, picture[20:60, 10:40], atol=1e-4
    )


def test_sixteen_bits_are_not_rounded():
    deep = smooth().astype(np.uint16) * 257 + 77
    corners = np.array([[9.5, 19.5], [9.5, 59.5], [39.5, 59.5], [39.5, 19.5]])
    found = cut(deep.clip(0, 65535), corners, (40, 30)) * 65535
    np.testing.assert_allclose(found, deep[20:60, 10:40], atol=0.05)


def test_what_leaves_the_photograph_is_made_up_and_in_range():
    corners = np.array([[-60.0, -60], [-60, 100], [100, 100], [100, -60]])
    found = cut(smooth(), corners, (48, 48))
    assert found.shape == (48, 48, 3)
    assert 0 <= found.min() < found.max() <= 1


def test_a_face_outside_the_photograph_is_refused():
    corners = np.array([[500.0, 500], [500, 600], [600, 600], [600, 500]])
    with pytest.raises(ValueError, match="outside the photograph of 200 x 220"):
        cut(smooth(), corners, (32, 32))
    with pytest.raises(ValueError, match="span no face"):
        View((8, 8)).corners(np.ones((5, 2)))


def test_steadied_landmarks_shake_less():
    rng = np.random.default_rng(0)
    steadied = Steadied()
    found = [LANDMARKS + rng.normal(0, 1, (5, 2)) for _ in range(200)]
    calm = np.array([steadied([face])[0] for face in found])
    assert calm[20:].std(0).mean() < 0.65 * np.array(found)[20:].std(0).mean()


def test_a_face_that_jumps_is_where_it_was_found():
    steadied = Steadied()
    steadied([LANDMARKS])
    near, far = LANDMARKS + 2, LANDMARKS + 60
    (followed,) = steadied([near])
    np.testing.assert_allclose(followed, LANDMARKS + 1)
    assert steadied([far])[0] is far


def test_no_two_faces_follow_the_same_one():
    steadied = Steadied()
    steadied([LANDMARKS])
    first, second = steadied([LANDMARKS + 2, LANDMARKS + 4])
    np.testing.assert_allclose(first, LANDMARKS + 1)
    np.testing.assert_allclose(second, LANDMARKS + 4)
    assert steadied([]) == []
