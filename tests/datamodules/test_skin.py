import cv2
import numpy as np
import pytest

from datamodules.skin import FaceFrame, gaussian, mean_over, morph, shadowed, skin_region

LANDMARKS = np.array([[70.0, 80], [130, 80], [100, 115], [78, 145], [122, 145]])


def frame(landmarks: np.ndarray = LANDMARKS) -> FaceFrame:
    return FaceFrame.of(landmarks, (200, 200))


def lab_of(skin: tuple[int, int, int], hair: tuple[int, int, int]) -> np.ndarray:
    picture = np.full((200, 200, 3), hair, np.uint8)
    cv2.ellipse(picture, (100, 108), (58, 72), 0, 0, 360, skin, -1)
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def test_the_frame_has_its_origin_between_the_eyes_and_its_unit_between_them():
    face = frame()
    assert face.unit == pytest.approx(60)
    assert (face.x[80, 100], face.y[80, 100]) == (0, 0)
    assert (face.x[80, 130], face.y[110, 100]) == (pytest.approx(0.5), pytest.approx(0.5))
    np.testing.assert_allclose(face.points[2], [0, 35 / 60])


def test_a_quarter_turn_of_the_head_turns_the_frame():
    points = (LANDMARKS - 100) @ np.array([[0, 1], [-1, 0]]) + 100
    np.testing.assert_allclose(frame(points).points, frame().points, atol=1e-12)


@pytest.mark.parametrize(
    ("skin", "hair"),
    [
        ((240, 205, 185), (120, 85, 50)),
        ((198, 140, 105), (30, 25, 22)),
        ((92, 60, 45), (20, 16, 15)),
        ((160, 160, 160), (40, 40, 40)),
    ],
)
def test_skin_of_every_tone_is_found_and_hair_is_not(skin, hair):
    lab = lab_of(skin, hair)
    face = frame()
    found = skin_region(lab, face)
    oval = ((face.x * 60 / 58) ** 2 + ((face.y * 60 - 28) / 72) ** 2) < 1
    assert not (found & ~oval).any()
    cheeks = face.ellipse(-0.55, 0.6, 0.15, 0.15) | face.ellipse(0.55, 0.6, 0.15, 0.15)
    assert found[cheeks].mean() > 0.95


def test_a_busy_texture_of_the_colour_of_skin_is_left_out():
    lab = lab_of((198, 140, 105), (30, 25, 22))
    beard = np.zeros((200, 200), bool)
    beard[155:180] = True
    lab[..., 0] += beard * np.random.default_rng(0).normal(0, 12, (200, 200))
    found = skin_region(lab.astype(np.float32), frame())
    assert found[160:175].mean() < 0.02
    assert found[100:140].mean() > 0.2


def test_a_wall_of_the_colour_of_skin_beside_the_face_is_left_out():
    picture = np.full((200, 200, 3), 30, np.uint8)
    cv2.ellipse(picture, (100, 108), (45, 72), 0, 0, 360, (198, 140, 105), -1)
    picture[20:190, 150:] = (198, 140, 105)
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    found = skin_region(lab, frame())
    assert not found[:, 150:].any()
    assert found[100:140, 60:140].mean() > 0.4


def test_a_face_outside_the_picture_has_no_skin():
    assert not skin_region(lab_of((200, 150, 120), (0, 0, 0)), frame(LANDMARKS + 1000)).any()


def test_shadows_lie_at_nose_and_eyes_but_not_on_cheeks_or_forehead():
    region = shadowed(frame())
    assert region[115, 100]
    assert region[85, 70]
    assert not region[120, 60]
    assert not region[40, 100]


@pytest.mark.parametrize("sigma", [0.8, 5.0, 7.5, 20.0])
def test_a_wide_blur_on_a_smaller_copy_is_close_to_the_whole_one(sigma):
    image = np.random.default_rng(0).random((201, 187, 3), np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    exact = cv2.GaussianBlur(image, (0, 0), sigma)
    assert np.abs(gaussian(image, sigma) - exact).max() < 0.2 * exact.std() + 0.005
    assert gaussian(image[..., 0], sigma).shape == (201, 187)


def test_a_blur_needs_a_width():
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        gaussian(np.zeros((8, 8), np.float32), 0)


def test_the_mean_over_a_region_takes_nothing_from_outside_it():
    image = np.full((60, 60, 3), 100, np.float32)
    image[:, :30] = 7
    right = np.zeros((60, 60), bool)
    right[:, 30:] = True
    np.testing.assert_allclose(mean_over(image, right, 4)[:, 30:], 100, rtol=1e-4)


def test_morphology_keeps_bool_and_has_a_radius_of_one_at_least():
    dot = np.zeros((9, 9), bool)
    dot[4, 4] = True
    grown = morph(dot, cv2.MORPH_DILATE, 0.1)
    assert grown.dtype == bool
    assert grown.sum() == 5


def test_wrong_landmarks_are_refused():
    with pytest.raises(ValueError, match="five finite points"):
        frame(np.full((5, 2), np.inf))
    with pytest.raises(ValueError, match="span no face"):
        frame(np.zeros((5, 2)))
