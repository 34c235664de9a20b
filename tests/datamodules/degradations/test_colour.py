import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from datamodules.degradations import colour
from datamodules.degradations.colour import ColourJitter, ColourShift, Grey

GOLDEN = Path(__file__).parents[2] / "golden" / "degradations" / "colour.json"
ORACLES = {
    "brightness": (colour.scale_brightness, functional.adjust_brightness, (0.5, 0.9, 1.5)),
    "contrast": (colour.scale_contrast, functional.adjust_contrast, (0.5, 1.0, 1.5)),
    "saturation": (colour.scale_saturation, functional.adjust_saturation, (0.0, 0.6, 1.5)),
    "hue": (
        lambda image, turn: colour.turn_hue(image, 2 * math.pi * turn),
        functional.adjust_hue,
        (-0.5, -0.1, 0.0, 0.08, 0.5),
    ),
}


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (33, 64, 3), np.uint8)


def unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255)


def by_torchvision(adjust, image: np.ndarray, amount: float) -> np.ndarray:
    channels_first = torch.from_numpy(image).permute(2, 0, 1)
    return adjust(channels_first, amount).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", ORACLES)
def test_each_change_is_torchvisions(name: str):
    change, adjust, amounts = ORACLES[name]
    for amount in amounts:
        expected = by_torchvision(adjust, unit(picture()), amount)
        assert np.abs(change(unit(picture()), amount) - expected).max() < 1e-3
        assert np.abs(change(picture(), amount) - 255 * expected).max() < 1


def test_a_shift_adds_a_constant_to_each_channel_and_saturates():
    shifted = colour.shift_colour(picture(), 20 / 255, -20 / 255, 0)
    expected = np.clip(picture() + np.array([20, -20, 0]), 0, 255)
    assert np.array_equal(shifted, expected)
    floats = colour.shift_colour(unit(picture()), 20 / 255, -20 / 255, 0)
    assert floats == pytest.approx(expected / 255, abs=2e-4)


def test_grey_has_three_equal_channels_of_the_lightness_of_the_picture():
    for image, step in ((picture(), 1.0), (unit(picture()), 1e-6)):
        grey = colour.to_grey(image)
        assert grey.dtype == image.dtype
        assert (grey == grey[..., :1]).all()
        assert np.abs(grey[..., 0] - image @ np.array(colour.LUMA)).max() < step


def test_8_bit_changes_are_the_rounded_exact_ones():
    mixed = colour.scale_saturation(picture(), 0.5)
    weights = np.rint(1024 * (0.5 * np.eye(3) + 0.5 * np.tile(colour.LUMA, (3, 1)))) / 1024
    assert np.array_equal(mixed, np.floor(picture() @ weights.T + 0.5).astype(np.uint8))


def test_a_drawn_shift_is_uniform_and_independent_in_the_channels():
    drawn = [ColourShift()(picture()[:1, :1], np.random.default_rng(k)) for k in range(1000)]
    told = np.array([list(each.steps[0].parameters.values()) for each in drawn])
    assert np.abs(told).max() <= 20 / 255
    assert told.std(axis=0) == pytest.approx(20 / 255 / 3**0.5, rel=0.06)
    assert np.abs(np.corrcoef(told.T)[np.triu_indices(3, 1)]).max() < 0.1


def test_a_jitter_makes_all_four_changes_in_the_order_it_tells():
    orders = set()
    for k in range(120):
        image = picture()[:4, :4]
        jittered = ColourJitter()(image, np.random.default_rng(k))
        for name, amount in jittered.steps[0].parameters.items():
            change = colour.turn_hue if name == "hue" else ORACLES[name][0]
            image = change(image, amount)
        assert np.array_equal(jittered.image, image)
        orders.add(tuple(jittered.steps[0].parameters))
    assert len(orders) == 24


def test_a_jitter_of_no_width_keeps_a_picture():
    still = ColourJitter((1, 1), (1, 1), (1, 1), (0, 0))
    assert np.array_equal(still(picture(), np.random.default_rng(0)).image, picture())


def test_no_change_touches_its_input():
    image = picture()
    for degradation in (ColourShift(), ColourJitter(), Grey()):
        degradation(image, np.random.default_rng(0))
    assert np.array_equal(image, picture())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ColourShift(2),
        lambda: ColourJitter(brightness=(-1, 1)),
        lambda: ColourJitter(contrast=(2, 1)),
        lambda: ColourJitter(hue=(0, 4)),
    ],
)
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must ascend and lie in"):
        wrong()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: colour.shift_colour(image, 0, 0, 0),
        lambda image: colour.scale_brightness(image, 1),
        lambda image: colour.scale_contrast(image, 1),
        lambda image: colour.scale_saturation(image, 1),
        lambda image: colour.turn_hue(image, 0),
        colour.to_grey,
    ],
)
def test_what_is_no_picture_is_refused(change):
    with pytest.raises(ValueError, match="a picture must be"):
        change(np.zeros((4, 4, 3)))


def checksums() -> dict[str, str]:
    y, x, c = np.ogrid[:96, :101, :3]
    image = ((3 * x + 5 * y + 40 * c) % 256).astype(np.uint8)
    results = {
        type(each).__name__: each(image, np.random.default_rng(0)).image
        for each in (ColourShift(), ColourJitter(), Grey())
    }
    return {name: hashlib.sha256(result.tobytes()).hexdigest() for name, result in results.items()}


def test_the_bytes_are_those_that_were_recorded():
    assert checksums() == json.loads(GOLDEN.read_text(encoding="utf-8"))
