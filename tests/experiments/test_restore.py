import argparse
import csv
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import detection
from datamodules.clip_writer import ClipWriter
from datamodules.clips import Clip
from datamodules.synthetic import draw_face
from experiments import networks, restore
from experiments.settings import SettingsError
from lightning_modules.base import Restored
from tests.datamodules.broken import write_broken
from tests.datamodules.pictures import encoded
from tests.experiments.tiny import TinyTraining

SETTINGS = "data: {class_path: datamodules.ffhq.FFHQ, init_args: {size: 32}}"


class Darker(TinyTraining):
    stops_after = 10**9

    def __init__(self):
        super().__init__()
        self.settings, self.calls = SETTINGS, 0

    def restore(self, batch):
        self.calls += 1
        if self.calls > self.stops_after:
            raise RuntimeError("killed")
        return Restored(batch["image"] * 0.5, torch.ones_like(batch["image"][:, :1]))


@pytest.fixture(autouse=True)
def darker(tmp_path, monkeypatch):
    (tmp_path / "a.ckpt").write_bytes(b"weights")
    method = Darker()
    monkeypatch.setattr(networks, "trained_network", lambda _: method)
    monkeypatch.delenv(detection.VARIABLE, raising=False)
    return method


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "in"
    for i, name in enumerate(("a b.png", "deep/ü.png", "z.tif", "q.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"tif": "TIFF", "jpg": "JPEG"}.get(name[-3:], "PNG")
        (folder / name).write_bytes(encoded(kind, draw_face(i, 0, 64).raw))
    return folder


def call(tmp_path, *words, given="in", aligned=True):
    start = [
        f"--ckpt={tmp_path / 'a.ckpt'}",
        f"--in={tmp_path / given}",
        f"--out={tmp_path / 'out'}",
    ]
    options = ["--aligned"] if aligned else []
    return restore.main([*start, *options, "--accelerator=cpu", *words])


def rows(tmp_path):
    with (tmp_path / "out" / "summary.csv").open(newline="", errors="surrogateescape") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def level(path):
    return float(np.asarray(Image.open(path).convert("RGB")).mean())


def outputs(folder):
    kept = ("summary.csv", "outbox.jsonl")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in kept]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_is_restored_into_the_same_tree(tmp_path, photographs, capsys):
    assert call(tmp_path) == 0
    for name in ("a b.png", "deep/ü.png", "z.tif", "q.jpg"):
        before, after = level(photographs / name), level(tmp_path / "out" / name)
        assert after == pytest.approx(before / 2, abs=1)
        assert (tmp_path / "out" / "panels" / f"{name}.jpg").is_file()
    assert "4 of 4 files" in capsys.readouterr().err
    assert rows(tmp_path)["deep/ü.png"]["faces"] == "1"


def test_finished_files_are_not_restored_again(tmp_path, photographs, darker, capsys):
    call(tmp_path)
    assert (darker.calls, call(tmp_path)) == (4, 0)
    assert darker.calls == 4
    assert "nothing left to do" in capsys.readouterr().err
    (tmp_path / "out" / "z.tif").unlink()
    call(tmp_path)
    assert darker.calls == 5
    (tmp_path / "a.ckpt").write_bytes(b"other weights")
    call(tmp_path, "--size=64")
    assert darker.calls == 9
    assert len(rows(tmp_path)) == 4


def test_bad_files_are_named_and_the_good_ones_written(tmp_path, photographs, capsys):
    reasons = write_broken(photographs / "bad")
    reasons |= {"holiday.heic": ".heic is not read", "waving.gif": ".gif is not read"}
    reasons["pipe.png"] = "is not a file"
    del reasons["album.png"]
    assert call(tmp_path) == 4
    table = rows(tmp_path)
    told = {name: table[f"bad/{name}"]["note"] for name in reasons}
    assert all(told[name].startswith("failed: ") for name in reasons)
    assert all(reason in told[name] for name, reason in reasons.items())
    assert len(outputs(tmp_path / "out")) == 2 * 4
    assert "bad/dead.jpg: is a dead link" in capsys.readouterr().err
    assert call(tmp_path) == 4  # they are tried again


def test_killed_halfway_and_called_again_is_one_run(tmp_path, photographs, darker):
    darker.stops_after = 2
    with pytest.raises(RuntimeError, match="killed"):
        call(tmp_path)
    part = outputs(tmp_path / "out")
    assert 0 < len(part) < 2 * 4 + 1
    (tmp_path / "out" / "z.tif.77.tmp").write_bytes(b"half")
    darker.stops_after = 10**9
    assert call(tmp_path) == 0
    assert darker.calls == 2 + 1 + 2  # the one that was killed comes again
    twice = outputs(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "before")
    call(tmp_path)
    assert twice == outputs(tmp_path / "out")


def test_the_faces_that_the_detector_finds_are_changed(tmp_path, photographs, monkeypatch):
    points = np.array([[28.0, 28], [36, 28], [32, 31], [29, 36], [35, 36]])

    def detector(_):
        box = (16.0, 16.0, 32.0, 32.0)
        return lambda _: [detection.Face(points, box, 0.9)]

    monkeypatch.setattr(detection, "find_detector", lambda _: tmp_path / "a.ckpt")
    monkeypatch.setattr(detection, "FaceDetector", detector)
    assert call(tmp_path, aligned=False) == 0
    before = np.asarray(Image.open(photographs / "a b.png").convert("RGB")).astype(int)
    after = np.asarray(Image.open(tmp_path / "out" / "a b.png").convert("RGB")).astype(int)
    middle, corner = (slice(22, 36), slice(25, 40)), (slice(0, 10), slice(0, 64))
    assert abs(after[middle].mean() - before[middle].mean() / 2) < 2
    np.testing.assert_array_equal(after[corner], before[corner])


def test_a_clip_keeps_its_count_and_rate(tmp_path):
    (tmp_path / "in").mkdir()
    with ClipWriter(tmp_path / "in" / "f.mp4", (64, 64), Fraction(30)) as writer:
        for i in range(3):
            writer.write(draw_face(i, 0, 64).raw)
    assert call(tmp_path) == 0
    clip = Clip(tmp_path / "out" / "f.mp4")
    assert (clip.rate, len(list(clip.frames()))) == (30, 3)
    assert rows(tmp_path)["f.mp4"]["note"] == "3 frames, 3 with a face"


def test_aligned_pictures_are_restored_at_their_own_size_in_tiles(tmp_path, photographs, darker):
    assert call(tmp_path, "--tile=32", "--panels=0") == 0
    assert darker.calls == 1 + 4 * 9  # the trial, and three by three tiles of each
    assert not (tmp_path / "out" / "panels").exists()
    before = np.asarray(Image.open(photographs / "a b.png").convert("RGB")).astype(float)
    after = np.asarray(Image.open(tmp_path / "out" / "a b.png").convert("RGB"))
    np.testing.assert_allclose(after, before / 2, atol=0.51)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile=64"], "--tile goes with --aligned only"),
        (["--aligned", "--tile=5"], "--tile must be 0, or 32"),
        (["--size=3"], "--size must be 16 up, got 3"),
        (["--panels=some"], "--panels must be a number or all, got some"),
        (["--devices=none"], "--devices must be"),
        (["--sise=3"], "unrecognized arguments: --sise=3"),
        ([], "no face detector: .* or say --aligned"),
        (["--aligned", "--references=r"], "--references=r: there is no photograph"),
        (["--aligned", "--judge=r"], "no checkpoint at r"),
        (["--aligned", "--accelerator=abacus"], "abacus"),
    ],
)
def test_wrong_settings_are_told_in_a_line(tmp_path, photographs, words, message):
    with pytest.raises(SettingsError, match=message):
        call(tmp_path, *words, aligned=False)


def test_a_second_file_of_a_name_is_refused_and_named(tmp_path, photographs, capsys):
    (tmp_path / "other").mkdir()
    for name in ("q.jpg", "new.jpg", "mine.jpg"):
        (tmp_path / "other" / name).write_bytes(encoded("JPEG", draw_face(9, 0, 64).raw))
    call(tmp_path)
    (tmp_path / "out" / "mine.jpg").write_bytes(b"somebody's")
    before = outputs(tmp_path / "out")
    capsys.readouterr()
    assert call(tmp_path, given="other") == 4
    after = outputs(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"new.jpg", "panels/new.jpg.jpg"}
    told = capsys.readouterr().err
    assert f"q.jpg was made from {photographs / 'q.jpg'}" in told
    assert "mine.jpg is there and was not written by restore" in told
    assert "1 of 3 files" in told
    assert "and 4 of other calls" in told
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        lines = [(row["file"], bool(row["note"])) for row in csv.DictReader(file)]
    refused = [("mine.jpg", True), ("q.jpg", True)]
    written = ["a b.png", "deep/ü.png", "new.jpg", "q.jpg", "z.tif"]
    assert sorted(lines) == sorted([(name, False) for name in written] + refused)
    assert call(tmp_path) == 0  # the first ones are still finished


def test_what_the_judge_and_the_references_hold_decides_what_is_finished(tmp_path):
    def key(**given):
        told = {"aligned": True, "size": None, "tile": 0, "judge": None, "references": None}
        options = argparse.Namespace(**told | given)
        return restore._key(options, tmp_path / "a.ckpt", None)

    judge, people = tmp_path / "judge.ckpt", tmp_path / "people"
    people.mkdir()
    seen = {key()}
    for content in (b"one", b"two"):
        judge.write_bytes(content)
        (people / "a.png").write_bytes(content)
        seen |= {key(judge=judge), key(references=str(people))}
    assert len(seen) == 5
    before = key(judge=judge, references=str(people))
    judge.rename(tmp_path / "moved.ckpt")
    people.rename(tmp_path / "moved")
    assert key(judge=tmp_path / "moved.ckpt", references=str(tmp_path / "moved")) == before


def test_a_face_that_cannot_be_cut_out_does_not_end_the_call(tmp_path, photographs, monkeypatch):
    points = np.array([[28.0, 28], [36, 28], [32, 31], [29, 36], [35, 36]])

    def found(picture):
        gone = 900 if (picture == draw_face(0, 0, 64).raw).all() else 0
        return [detection.Face(points + gone, (16.0, 16.0, 32.0, 32.0), 0.9)]

    monkeypatch.setattr(detection, "find_detector", lambda _: tmp_path / "a.ckpt")
    monkeypatch.setattr(detection, "FaceDetector", lambda _: found)
    assert call(tmp_path, aligned=False) == 4
    notes = {name: row["note"] for name, row in rows(tmp_path).items()}
    assert "lies outside the photograph" in notes.pop("a b.png")
    assert notes == dict.fromkeys(("deep/ü.png", "q.jpg", "z.tif"), "")


def test_nothing_is_written_over(tmp_path, photographs):
    for given, out in (("in", "in/out"), ("in", "in"), ("in/*.png", "in"), ("in/z.tif", "in")):
        with pytest.raises(SettingsError, match=r"choose a folder outside|would be written over"):
            call(tmp_path, f"--out={tmp_path / out}", given=given)
    for name in ("f.avi", "f.avi.mp4"):
        (photographs / name).write_bytes(b"")
    with pytest.raises(SettingsError, match=r"f\.avi and f\.avi\.mp4 would both be written to"):
        call(tmp_path)
    with pytest.raises(SettingsError, match="there is no photograph or clip at"):
        call(tmp_path, given="nowhere")
    with pytest.raises(SettingsError, match=r"is no folder"):
        call(tmp_path, f"--out={tmp_path / 'a.ckpt'}")
