from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.alignment import crop, ffhq_quad, to_crop
from datamodules.detection import FaceDetector
from datamodules.images import read_image
from datamodules.retouch import Retouched, find_spots, retouch
from datamodules.skin import FaceFrame, skin_region

LANDMARKS = np.array([[97.0, 112], [159, 112], [128, 148], [105, 178], [151, 178]])
SPOTS = ((88, 148), (172, 152), (120, 72), (142, 66), (82, 172))
LIGHT, DARK = (214, 170, 146), (96, 62, 46)


@dataclass
class Drawn:
    image: np.ndarray
    clean: np.ndarray
    spots: np.ndarray


def drawn(skin: tuple[int, int, int], depth: float = 0.8) -> Drawn:
    """A face of ellipses with pores, and the same one with spots of `depth` times its skin."""
    picture = np.full((256, 256, 3), (70, 95, 120), np.uint8)
    cv2.ellipse(picture, (128, 100), (80, 88), 0, 0, 360, (35, 25, 22), -1)
    cv2.ellipse(picture, (128, 135), (66, 88), 0, 0, 360, skin, -1)
    for x, y in LANDMARKS[:2].astype(int).tolist():
        cv2.ellipse(picture, (x, y), (13, 6), 0, 0, 360, (235, 235, 235), -1)
        cv2.circle(picture, (x, y), 5, (50, 30, 20), -1)
        cv2.ellipse(picture, (x, y - 18), (18, 3), 0, 0, 360, (35, 25, 22), -1)
    cv2.ellipse(picture, (128, 178), (23, 7), 0, 0, 360, (170, 70, 80), -1)
    spots = np.zeros((256, 256), np.float32)
    for centre in SPOTS:
        cv2.circle(spots, centre, 3, 1, -1)
    soft = cv2.GaussianBlur(spots, (0, 0), 1)[..., None]
    tint = 1 - soft * (1 - depth * np.array([1.05, 0.85, 0.85]))
    pores = np.random.default_rng(0).normal(0, 2, (256, 256, 1))
    with_pores = cv2.GaussianBlur(picture, (0, 0), 1) + pores
    return Drawn(
        np.clip(with_pores * tint, 0, 255).astype(np.uint8),
        np.clip(with_pores, 0, 255).astype(np.uint8),
        spots > 0,
    )


@pytest.fixture(params=[LIGHT, DARK], ids=["light", "dark"])
def face(request) -> Drawn:
    return drawn(request.param)


@pytest.fixture
def portrait(faces: Path) -> tuple[np.ndarray, np.ndarray]:
    image = read_image(faces / "london" / "neutral_front" / "001_03.jpg")
    found = FaceDetector(faces / "assets" / "yunet_n_640_640.onnx")(image)[0]
    quad = ffhq_quad(found.landmarks)
    return crop(image, quad, 384), to_crop(found.landmarks, quad, 384)


def error(image: np.ndarray, drawn: Drawn) -> float:
    return float(np.abs(image.astype(float) - drawn.clean)[drawn.spots].mean())


def fine(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey - cv2.GaussianBlur(grey, (0, 0), 1)


def test_spots_vanish_on_light_and_on_dark_skin(face):
    assert error(retouch(face.image, LANDMARKS).image, face) < 0.45 * error(face.image, face)


def test_the_spots_found_are_the_spots_drawn(face):
    lab = cv2.cvtColor(face.image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    frame = FaceFrame.of(LANDMARKS, face.image.shape)
    found = find_spots(lab, skin_region(lab, frame), frame)
    assert all(found[y, x] for x, y in SPOTS)
    near = cv2.dilate(face.spots.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (found & ~near).sum() < 0.3 * found.sum()


def test_nothing_changes_outside_the_mask(face):
    done = retouch(face.image, LANDMARKS)
    np.testing.assert_array_equal(done.image[done.mask == 0], face.image[done.mask == 0])
    assert 0.1 < (done.mask > 0).mean() < 0.4


def test_eyes_lips_hair_and_background_are_outside_the_mask(face):
    mask = retouch(face.image, LANDMARKS).mask
    for x, y in [*LANDMARKS[[0, 1]].astype(int), (128, 178), (128, 20), (10, 128), (97, 94)]:
        assert mask[y - 4 : y + 5, max(0, x - 8) : x + 9].max() == 0


def test_pores_stay(face):
    done = retouch(face.image, LANDMARKS)
    near = cv2.dilate(face.spots.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
    inside = (done.mask == 1) & ~near
    before, after = fine(face.image)[inside], fine(done.image)[inside]
    assert after.std() > 0.85 * before.std()
    assert np.corrcoef(before, after)[0, 1] > 0.9


def test_a_healed_spot_has_the_texture_of_skin(face):
    done = retouch(face.image, LANDMARKS)
    ratio = fine(done.image)[face.spots].std() / fine(face.clean)[face.spots].std()
    assert 0.6 < ratio < 1.5


def test_a_larger_blotch_is_evened_but_shading_of_the_whole_face_stays():
    shade = np.linspace(0.9, 1.1, 256)[None, :, None]
    blotch = np.zeros((256, 256), np.float32)
    cv2.circle(blotch, (90, 155), 6, 1, -1)
    dent = 1 - 0.06 * cv2.GaussianBlur(blotch, (0, 0), 4)[..., None]
    base = drawn(LIGHT, depth=1.0).clean
    clean = np.clip(base * shade, 0, 255).astype(np.uint8)
    image = np.clip(base * shade * dent, 0, 255).astype(np.uint8)
    out = retouch(image, LANDMARKS).image.astype(float)
    middle = cv2.GaussianBlur(blotch, (0, 0), 4) > 0.5
    assert np.abs((out - clean)[middle].mean()) < 0.7 * np.abs(
        (image - clean.astype(float))[middle].mean()
    )
    left, right = (slice(140, 170), slice(75, 85)), (slice(140, 170), slice(171, 181))
    before = float(image[right].mean()) - float(image[left].mean())
    assert out[right].mean() - out[left].mean() > 0.7 * before


def test_strength_scales_the_change(face):
    none, half, full = (retouch(face.image, LANDMARKS, strength=s) for s in (0, 0.5, 1))
    np.testing.assert_array_equal(none.image, face.image)
    assert none.mask.max() == 0
    assert error(full.image, face) < error(half.image, face) < error(face.image, face)


def test_a_face_upside_down_is_retouched_alike():
    face = drawn(LIGHT)
    upright = retouch(face.image, LANDMARKS).image
    turned = retouch(np.ascontiguousarray(face.image[::-1, ::-1]), 255 - LANDMARKS).image
    assert np.abs(turned[::-1, ::-1].astype(int) - upright).mean() < 0.1


def test_a_greyscale_face_stays_grey_and_loses_its_spots():
    face = drawn(LIGHT)
    grey, clean = (
        np.repeat(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        for x in (face.image, face.clean)
    )
    out = retouch(grey, LANDMARKS).image.astype(int)
    assert np.ptp(out, axis=2).max() <= 1
    assert (
        np.abs(out - clean)[face.spots].mean()
        < 0.6 * np.abs(grey - clean.astype(int))[face.spots].mean()
    )


def test_a_picture_without_skin_comes_back_as_it_was():
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    done = retouch(noise, LANDMARKS / 2)
    np.testing.assert_array_equal(done.image[done.mask == 0], noise[done.mask == 0])
    outside = retouch(noise, LANDMARKS + 900)
    np.testing.assert_array_equal(outside.image, noise)


@pytest.mark.parametrize("size", [24, 33, 64])
def test_small_pictures_are_worked_on_too(size):
    small = cv2.resize(drawn(LIGHT).image, (size, size), interpolation=cv2.INTER_AREA)
    done = retouch(small, LANDMARKS * size / 256)
    assert isinstance(done, Retouched)
    assert done.image.shape == (size, size, 3)
    assert done.image.dtype == np.uint8
    assert done.mask.dtype == np.float32


def test_wrong_inputs_are_refused_in_words():
    image = drawn(LIGHT).image
    with pytest.raises(ValueError, match="float64"):
        retouch(image / 255, LANDMARKS)
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\], got 2"):
        retouch(image, LANDMARKS, strength=2)
    with pytest.raises(ValueError, match="five finite points"):
        retouch(image, LANDMARKS[:4])
    with pytest.raises(ValueError, match="span no face"):
        retouch(image, np.ones((5, 2)))


def test_a_real_portrait_changes_on_a_fifth_of_its_pixels_and_only_a_little(portrait):
    image, landmarks = portrait
    done = retouch(image, landmarks)
    change = np.abs(done.image.astype(int) - image)
    assert change[done.mask == 0].max() == 0
    assert 40 < 10 * np.log10(255**2 / (change.astype(float) ** 2).mean()) < 52
    assert 0.01 < (change.max(axis=2) > 3).mean() < 0.2


def test_a_real_portrait_keeps_its_pores(portrait):
    image, landmarks = portrait
    done = retouch(image, landmarks)
    inside = done.mask == 1
    assert np.corrcoef(fine(image)[inside], fine(done.image)[inside])[0, 1] > 0.9
