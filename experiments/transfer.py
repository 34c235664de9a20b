"""`transfer`: the embedding of one photograph onto each frame of a clip.

It shows, in motion, how much of a face an embedding gives away (inversion paper, Section 5.2). It
is for audits, with photographs and clips of people who agreed to that.
"""

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.options import Parser
from experiments.settings import SettingsError

if TYPE_CHECKING:  # its packages take seconds to load, which --help need not
    from datamodules.footage import Detect


def main(arguments: Sequence[str]) -> int:
    """The exit code, after writing the clip.

    Args:
        arguments: the words after `transfer`.

    Raises:
        SettingsError: if a setting is wrong, or a file that it names cannot be used or written.
        SystemExit: after printing the help that `--help` asks for.
    """
    options = _parser().parse_args(arguments)
    _check(options)
    detect = None if options.aligned else _detector(options.detector)
    from datamodules.clip_writer import ClipWriter
    from datamodules.images import UnreadableImage
    from experiments.cli import silence, told_as_settings
    from experiments.reenactment import Reenactment, Take, inversion

    silence()
    method = inversion(options.ckpt)
    with told_as_settings():
        take = Take(options.given, options.every, options.rate)
        made = Reenactment(method, options.face, detect)
        writer = ClipWriter(options.out, made.size, take.rate, take.sound)
    try:
        told = made.write(take, writer, options.together)
    except (UnreadableImage, OSError) as error:
        raise SettingsError(str(error)) from error
    sys.stdout.write(f"{told}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    line = "The embedding of one photograph transferred onto each frame of a clip: guide | result."
    parser = Parser("transfer", line)
    add = parser.add_argument
    add("--ckpt", type=Path, required=True, help="checkpoint or folder of a run of inversion_*")
    add("--face", type=Path, required=True, help="the photograph whose embedding is inverted")
    add("--in", dest="given", type=Path, required=True, help="a clip, or a folder of frames")
    add("--out", type=Path, required=True, help="the clip to write, such as transfer.mp4")
    add("--aligned", action="store_true", help="photograph and frames are crops: look for no faces")
    add("--detector", type=Path, help="YuNet as ONNX; default: environment variable VISAGIST_YUNET")
    add("--every", type=int, default=1, help="take every so many-th frame")
    add("--rate", type=Fraction, default=Fraction(25), help="frames a second in a folder of them")
    add("--together", type=int, default=16, help="frames in memory, made side by side")
    return parser


def _check(options: argparse.Namespace) -> None:
    for right, message in (
        (options.every >= 1, f"--every must be 1 or more, got {options.every}"),
        (options.together >= 1, f"--together must be 1 or more, got {options.together}"),
        (options.rate > 0, f"--rate must be above 0, got {options.rate}"),
        (
            options.out.resolve() not in (options.given.resolve(), options.face.resolve()),
            f"--out={options.out} would be written over, choose another",
        ),
    ):
        if not right:
            raise SettingsError(message)


def _detector(given: Path | None) -> "Detect":
    from datamodules.detection import FaceDetector, find_detector

    try:
        return FaceDetector(find_detector(given))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{error}; or say --aligned if the pictures are crops") from error
