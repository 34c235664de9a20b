"""A call that is killed by SIGKILL and given again leaves what one call leaves, to the byte."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.clip_writer import ClipWriter
from datamodules.clips import Clip
from datamodules.synthetic import draw_face
from experiments import restore
from experiments.settings import ROOT
from tests.datamodules.pictures import encoded

SIDE, PICTURES, FRAMES = 48, 20, 160
OWN = ("summary.csv", "outbox.jsonl", "outbox_0.jsonl")  # they hold seconds and dates
KILLED = """
import os, signal, sys
from datamodules.clip_writer import ClipWriter
from experiments import outbox, restore

owner, name = {"file": (outbox, "write_whole"), "frame": (ClipWriter, "write")}[sys.argv[1]]
done, left = getattr(owner, name), int(sys.argv[2])

def counted(*given):
    global left
    done(*given)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, counted)
restore.main(sys.argv[3:])
"""
"""Restores until so many files, or frames, are written."""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder of pictures and a clip that comes in their middle."""
    folder = tmp_path / "in"
    folder.mkdir()
    faces = [draw_face(i, 0, SIDE).raw for i in range(PICTURES)]
    for i, face in enumerate(faces):
        kind = ("PNG", "JPEG")[i % 2]
        name = f"{'az'[i >= PICTURES // 2]}{i:02d}.{kind.lower()}"
        (folder / name).write_bytes(encoded(kind, face))
    with ClipWriter(folder / "film.mp4", (SIDE, SIDE), Fraction(25)) as writer:
        for i in range(FRAMES):
            writer.write(np.roll(faces[0], i, 1))
    return folder


@pytest.fixture
def words(command: Callable[..., int], tmp_path: Path, given: Path) -> Callable[[str], list[str]]:
    """The words after `restore` that write into a folder of the name given."""
    assert command("fit", "--evaluate=false") == 0
    run = tmp_path / "runs" / "tiny_smoke"
    told = [f"--ckpt={run}", f"--in={given}", "--aligned", f"--size={SIDE}", "--accelerator=cpu"]
    return lambda out: [*told, f"--out={tmp_path / out}", "--panels=3"]


def killed(what: str, count: int, words: list[str]) -> None:
    """Restores in a process of its own, which is killed once `count` of `what` are written."""
    told = [sys.executable, "-c", KILLED, what, str(count), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(told, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[az]??.*") if path.suffix in (".png", ".jpeg"))


def all_decode(folder: Path) -> bool:
    """Whether every picture under its own name is whole."""
    for path in [*pictures(folder), *folder.glob("panels/*.jpg")]:
        with Image.open(path) as picture:
            picture.load()
    return True


def written(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in OWN]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def summary(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return [(row["file"], row["faces"], row["note"]) for row in csv.DictReader(file)]


def test_killed_among_pictures_and_in_a_clip_then_called_again_is_one_run(
    tmp_path: Path, words: Callable[[str], list[str]]
) -> None:
    out = tmp_path / "out"
    killed("file", 8, words("out"))  # three panels and five pictures, the last one not noted yet
    first = pictures(out)
    assert len(first) == 5
    assert all_decode(out)
    made = {path: path.stat().st_ino for path in first}

    killed("frame", FRAMES - 20, words("out"))
    assert len(pictures(out)) == PICTURES // 2
    assert all_decode(out)
    assert (out / ".film.part.mp4").exists()
    assert not (out / "film.mp4").exists()
    assert [path.name for path in first if path.stat().st_ino != made[path]] == [first[-1].name]

    assert restore.main(words("out")) == 0
    assert restore.main(words("never")) == 0
    assert len(list(Clip(out / "film.mp4").frames())) == FRAMES
    assert len(written(out)) == PICTURES + 1 + 3  # and three panels, nothing half written
    assert written(out) == written(tmp_path / "never")
    assert summary(out) == summary(tmp_path / "never")
