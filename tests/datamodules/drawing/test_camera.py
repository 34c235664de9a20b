from dataclasses import replace

import numpy as np
import pytest

from datamodules.drawing.camera import display, expose, quantised, sensor_noise
from datamodules.drawing.photograph import Photograph


def test_displays_rise_with_light_up_to_white() -> None:
    light = np.linspace(-0.1, 3, 200, dtype=np.float32)
    shown = display(light)
    assert shown[0] == 0
    assert shown.max() <= 1
    assert np.all(np.diff(shown) >= 0)


def test_white_balance_and_exposure_are_gains(shot: Photograph) -> None:
    camera = replace(shot.camera, gains=(1.5, 1.0, 0.5), vignette=0.0)
    out = expose(np.ones((3, 4, 4), np.float32), camera)
    assert out[:, 0, 0] == pytest.approx([1.5, 1.0, 0.5])


def test_a_vignette_darkens_the_corners(shot: Photograph) -> None:
    out = expose(np.ones((3, 8, 8), np.float32), replace(shot.camera, vignette=0.2))
    assert out[1, 0, 0] < out[1, 4, 4]


def test_noise_has_its_deviation_and_is_the_same_again(shot: Photograph) -> None:
    camera = replace(shot.camera, noise=0.02)
    noise = sensor_noise(64, camera)
    assert noise.std() == pytest.approx(0.02, rel=0.05)
    assert np.array_equal(noise, sensor_noise(64, camera))


def test_bytes_are_rounded_and_clipped() -> None:
    values = np.array([-1, 0.5 / 255, 0.4 / 255, 2], np.float32).reshape(1, 1, 4).repeat(3, 0)
    assert quantised(values)[0, :, 0].tolist() == [0, 1, 0, 255]
    assert quantised(values).shape == (1, 4, 3)
