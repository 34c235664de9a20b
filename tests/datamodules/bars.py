"""Clips of coloured bars whose frames tell their number."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from datamodules.clip_writer import ClipWriter
from datamodules.clips import Clip

RATE = Fraction(30000, 1001)
COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 150, 120], [128, 128, 128], [20, 60, 90]],
    np.uint8,
)


def bars(height: int = 32) -> np.ndarray:
    """Upright bars of the colours, 16 pixels wide."""
    return np.repeat(np.repeat(COLOURS[None], height, 0), 16, 1)


def numbered(i: int) -> np.ndarray:
    """The bars with a white block whose place is the frame's number."""
    frame = bars()
    frame[8:16, 8 * i : 8 * i + 8] = 255
    return frame


def number_of(frame: np.ndarray) -> int:
    return int(frame[9:15].astype(int).min(2).mean(0).reshape(-1, 8).mean(1).argmax())


def write(path: Path, count: int = 10, sound_of: Path | None = None) -> Path:
    with ClipWriter(path, (32, 96), RATE, sound_of) as writer:
        for i in range(count):
            writer.write(numbered(i))
    return path


def copied(clip: Clip, path: Path) -> Path:
    with ClipWriter(path, clip.size, clip.rate, clip.path, clip.pixel) as writer:
        for frame, second in clip.timed():
            writer.write(frame, second)
    return path
