import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.degradations.beautify import (
    EDITORS,
    Instagram,
    Meitu,
    PhotoshopExpress,
    beautified,
    developed,
    filtered,
)
from datamodules.drawing.face import draw_face
from datamodules.images import resize

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "beautify.json"
PROGRAMS = {"mt": "Meitu", "ps": "Photoshop Express", "ins": "Instagram"}
SKIN = np.array([198, 150, 128])
WALL = np.array([96, 120, 160])
SIZE = 128
FACE, OUTSIDE = np.s_[24:104, 24:104], np.s_[:, :16]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def portrait(texture: float = 6.0) -> np.ndarray:
    """Skin with a dark feature before a wall, all with texture of `texture` levels."""
    image = np.tile(WALL.astype(float), (SIZE, SIZE, 1))
    image[20:108, 20:108] = SKIN
    image += rng().normal(0, texture, (SIZE, SIZE, 1))
    image[56:62, 40:60] = (40, 30, 28)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def luma(image: np.ndarray) -> np.ndarray:
    return np.asarray(image @ np.array([0.299, 0.587, 0.114]))


def fine(image: np.ndarray) -> float:
    """Variance of what is finer than a few pixels on the lower cheek, where nothing else is."""
    part = luma(image)[68:100, 28:100]
    return float((part - cv2.GaussianBlur(part, (0, 0), 2)).var())


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - other) ** 2)))


def test_what_is_not_skin_keeps_every_byte_under_the_first_editor():
    edited = Meitu()(portrait(), rng()).image
    assert np.array_equal(edited[OUTSIDE], portrait()[OUTSIDE])
    assert (edited[FACE] != portrait()[FACE]).mean() > 0.8


@pytest.mark.parametrize("colour", [(96, 120, 160), (128, 128, 128), (60, 130, 70), (9, 9, 9)])
def test_a_picture_without_skin_is_left_as_it_is_by_the_first_editor(colour):
    flat = np.tile(np.array(colour, np.uint8), (40, 50, 1))
    assert np.array_equal(Meitu()(flat, rng()).image, flat)


@pytest.mark.parametrize(("editor", "factor"), [("mt", 8), ("ps", 5), ("ins", 1.8)])
def test_the_variance_of_fine_detail_falls_by_a_factor_but_not_to_nothing(editor, factor):
    edited = EDITORS[editor](portrait(), rng()).image
    assert fine(edited) < fine(portrait()) / factor
    assert fine(edited) > 0.01 * fine(portrait())
    grain = luma(portrait())[68:100, 28:100]
    left = luma(edited)[68:100, 28:100]
    kept = np.corrcoef(grain.ravel(), left.ravel())[0, 1]
    assert kept > 0.5  # the cues that a way back needs


@pytest.mark.parametrize("editor", EDITORS)
def test_an_edge_keeps_most_of_its_height(editor):
    image, edited = portrait(0), EDITORS[editor](portrait(0), rng()).image
    before, after = luma(image), luma(edited)
    for above, below in ((54, 57), (60, 63)):
        height = abs(before[above, 44:56] - before[below, 44:56]).mean()
        assert abs(after[above, 44:56] - after[below, 44:56]).mean() > 0.75 * height


def test_whitening_raises_the_brightness_of_skin_and_of_nothing_else():
    smooth, white = beautified(portrait(), 0.85, 0.0), beautified(portrait(), 0.85, 0.25)
    assert (luma(white)[68:100, 28:100] > luma(smooth)[68:100, 28:100] + 5).all()
    assert np.array_equal(white[OUTSIDE], smooth[OUTSIDE])
    assert np.array_equal(smooth[OUTSIDE], portrait()[OUTSIDE])


def test_smoothing_alone_keeps_the_mean_colour_of_skin():
    smooth = beautified(portrait(), 0.85, 0.0)[68:100, 28:100]
    assert smooth.mean((0, 1)) == pytest.approx(portrait()[68:100, 28:100].mean((0, 1)), abs=0.5)


def test_no_strength_at_all_leaves_a_picture_as_it_is():
    assert np.array_equal(beautified(portrait(), 0, 0), portrait())
    assert np.array_equal(developed(portrait(), 1e-6, 0, 0, 0), portrait())


def test_the_filter_warms_the_lights_lifts_black_and_darkens_the_corners():
    white, black = (np.full((64, 64, 3), level, np.uint8) for level in (255, 0))
    light, dark = filtered(white, 0.02, 0.04, 0.05, 0.25), filtered(black, 0.02, 0.04, 0.05, 0.25)
    assert light[32, 32, 0] > light[32, 32, 2] + 5
    assert dark[32, 32, 2] > dark[32, 32, 0]
    assert dark[32, 32].min() >= round(0.05 * 255)
    assert light[0, 0].sum() < 0.8 * light[32, 32].sum()


@pytest.mark.parametrize("editor", EDITORS)
def test_the_edit_of_a_smaller_portrait_is_the_smaller_edit(editor):
    large = draw_face(6, 0, 256).raw
    edits = [EDITORS[editor](each, rng()).image for each in (large, resize(large, 128))]
    assert psnr(resize(edits[0], 128), edits[1]) > psnr(edits[1], resize(large, 128)) + 5


@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("number", [0, 3, 4, 6])
def test_drawn_faces_of_all_tones_lie_where_the_head_of_the_module_says(editor, number):
    face = draw_face(number, 0, 128).raw
    assert 24 < psnr(EDITORS[editor](face, rng(number)).image, face) < 35


@pytest.mark.parametrize("editor", EDITORS)
def test_floats_are_edited_like_8_bits_which_are_rounded_once(editor):
    eight = EDITORS[editor](portrait(), rng())
    floats = EDITORS[editor](portrait() / np.float32(255), rng())
    assert eight.steps == floats.steps
    assert np.array_equal(eight.image, np.rint(255 * floats.image))


@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("shape", [(16, 17), (17, 300), (1, 1), (2, 3)])
def test_tiny_and_odd_pictures_are_edited(editor, shape):
    image = rng().integers(0, 256, (*shape, 3), np.uint8)
    edited = EDITORS[editor](image, rng())
    assert edited.image.shape == image.shape
    assert np.array_equal(EDITORS[editor](image, rng()).image, edited.image)


@pytest.mark.parametrize("editor", EDITORS)
def test_strengths_are_drawn_in_their_ranges_and_told_by_an_honest_name(editor):
    told = [EDITORS[editor](portrait()[:8, :8], rng(k)).steps[0] for k in range(50)]
    assert {step.name for step in told} == {f"stand-in for {PROGRAMS[editor]}"}
    for name in told[0].parameters:
        low, high = getattr(EDITORS[editor], name)
        drawn = [float(step.parameters[name]) for step in told]
        assert low <= min(drawn) < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < max(drawn) <= high


def test_the_steps_told_make_the_same_picture():
    for editor, edit in (("mt", beautified), ("ps", developed), ("ins", filtered)):
        made = EDITORS[editor](portrait(), rng(3))
        assert np.array_equal(edit(portrait(), **made.steps[0].parameters), made.image)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Meitu(smoothing=(0.9, 0.8)),
        lambda: Meitu(whitening=(-1, 0)),
        lambda: PhotoshopExpress(denoising=(0, 0.1)),
        lambda: PhotoshopExpress(curve=(0, 2)),
        lambda: Instagram(softness=(0, 0)),
        lambda: Instagram(warmth=(0.4, 0.6)),
    ],
)
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must ascend and lie in"):
        wrong()


@pytest.mark.parametrize(("smoothing", "whitening"), [(2, 0), (1, -1)])
def test_strengths_that_cannot_be_are_refused(smoothing, whitening):
    with pytest.raises(ValueError, match="amount must be"):
        beautified(portrait(), smoothing, whitening)


def checksums() -> dict[str, str]:
    y, x, c = np.ogrid[:96, :101, :3]
    image = (SKIN + (3 * x + 5 * y + 7 * c) % 37 - 18 - 60 * ((x // 30 + y // 30) % 2)).astype(
        np.uint8
    )
    found = {name: editor(image, rng()).image for name, editor in EDITORS.items()}
    unit = image / np.float32(255)
    found |= {f"{name}, float": EDITORS[name](unit, rng()).image for name in found}
    return {name: hashlib.sha256(each.tobytes()).hexdigest() for name, each in found.items()}


def test_the_bytes_are_those_that_were_recorded():
    assert checksums() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_an_older_processor_gives_the_same_bytes():
    older = {
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1",
        "OPENCV_IPP": "disabled",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3",
        "PYTHONWARNINGS": "ignore",
    }
    code = "import json, runpy; print(json.dumps(runpy.run_path('{}')['checksums']()))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(__file__)],
        env={**os.environ, **older},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == checksums()
