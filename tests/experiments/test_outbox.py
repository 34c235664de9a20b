import errno
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from datamodules.clip_writer import ClipWriter
from datamodules.clips import Clip
from datamodules.faces import ffhq_view
from datamodules.inbox import Crops, Entry, Piece, Visits, listed
from experiments.outbox import Outbox
from experiments.records import finished, read_records
from experiments.restorer import Answer
from tests.datamodules.pictures import encoded, picture


class Strategy:
    def barrier(self):
        pass


class Process:
    is_global_zero, global_rank, strategy = True, 0, Strategy()


def answer(change=0.1, likeness=(0.5,), size=(32, 32)):
    return Answer([np.full((*size, 3), change, np.float32)], [], list(likeness))


def deliver(outbox, items, *answers):
    outbox.setup(Process, None, "predict")
    for item, each in zip(items, answers, strict=True):
        outbox.on_predict_batch_end(Process, None, each, item)


def visits(path):
    return list(Visits(listed(str(path)), Crops(ffhq_view(16))))


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    path.write_bytes(encoded("PNG", np.full((32, 32, 3), 100, np.uint8)))
    return path


def test_a_photograph_is_written_changed_and_noted(tmp_path, photograph):
    outbox = Outbox(tmp_path / "out", "key", [], frozenset({"a.png"}))
    deliver(outbox, visits(photograph), answer())
    assert (np.asarray(Image.open(tmp_path / "out" / "a.png").copy()) == 126).all()
    assert (tmp_path / "out" / "panels" / "a.png.jpg").is_file()
    record = read_records(tmp_path / "out")["a.png"]
    assert (record.faces, record.likeness, record.note, record.failure) == (1, 0.5, "", "")
    assert finished(Entry(photograph, "a.png"), record, "key", tmp_path / "out")


def test_a_photograph_without_a_face_is_copied_to_the_byte(tmp_path, photograph):
    deliver(Outbox(tmp_path / "out", "key", []), visits(photograph), Answer([], [], []))
    assert (tmp_path / "out" / "a.png").read_bytes() == photograph.read_bytes()
    assert read_records(tmp_path / "out")["a.png"].note == "no face found"


def test_what_changed_since_is_not_finished(tmp_path, photograph):
    out, entry = tmp_path / "out", Entry(photograph, "a.png")
    deliver(Outbox(out, "key", []), visits(photograph), answer())
    record = read_records(out)["a.png"]
    assert not finished(entry, record, "another key", out)
    assert not finished(entry, None, "key", out)
    photograph.write_bytes(encoded("PNG", picture(32, 32)))
    assert not finished(entry, record, "key", out)
    (out / "a.png").unlink()
    deliver(Outbox(out, "key", []), visits(photograph), answer())
    (out / "a.png").unlink()
    assert not finished(entry, read_records(out)["a.png"], "key", out)


def test_a_failure_is_noted_and_not_finished(tmp_path, photograph):
    failed = Answer([], [], [], "cannot be restored: no")
    deliver(Outbox(tmp_path / "out", "key", []), visits(photograph), failed)
    record = read_records(tmp_path / "out")["a.png"]
    assert record.failure == "cannot be restored: no"
    assert not finished(Entry(photograph, "a.png"), record, "key", tmp_path / "out")
    assert not (tmp_path / "out" / "a.png").exists()


def test_what_a_kill_left_of_this_calls_files_is_removed_and_nothing_else(tmp_path):
    entries = [Entry(tmp_path / "in" / name, name) for name in ("deep/a.png", "film.mp4")]
    own = ["deep/a.png.123.tmp", ".film.part.mp4", "panels/deep/a.png.jpg.5.tmp"]
    own += ["summary.csv.7.tmp", "outbox.jsonl.7.tmp"]
    others = ["kept.png", "notes.tmp", "deep/b.png.123.tmp", ".talk.part.mp4", "else/a.png.1.tmp"]
    for name in own + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    Outbox(tmp_path, "k", entries).setup(Process, None, "predict")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(others)


@pytest.mark.parametrize("error", [OSError("encoder error -2"), KeyError("no such mode")])
def test_what_cannot_be_encoded_is_the_failure_of_its_file(
    tmp_path, photograph, monkeypatch, error
):
    def fails(*_):
        raise error

    monkeypatch.setattr("experiments.outbox.encoded", fails)
    deliver(Outbox(tmp_path / "out", "key", []), visits(photograph), answer())
    told = " ".join(str(error).split())
    assert read_records(tmp_path / "out")["a.png"].failure == told
    assert not (tmp_path / "out" / "a.png").exists()


def test_what_cannot_be_pasted_is_the_failure_of_its_file(tmp_path, photograph):
    (item,) = visits(photograph)
    item["piece"].corners = [np.full((4, 2), 9.0)]  # no rectangle
    deliver(Outbox(tmp_path / "out", "key", []), [item], answer(size=(16, 16)))
    assert read_records(tmp_path / "out")["a.png"].failure == "Singular matrix"


def test_a_full_disk_ends_the_call_and_the_file_is_known_as_begun(
    tmp_path, photograph, monkeypatch
):
    def fails(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("experiments.outbox.write_whole", fails)
    with pytest.raises(OSError, match="No space left"):
        deliver(Outbox(tmp_path / "out", "key", []), visits(photograph), answer())
    record = read_records(tmp_path / "out")["a.png"]
    assert (record.failure, record.source) == ("stopped before it was whole", str(photograph))


def test_what_was_done_otherwise_is_noted(tmp_path, photograph, film):
    out = tmp_path / "out"
    items = visits(photograph)
    items[0]["piece"].note = "several faces"
    deliver(Outbox(out, "key", []), items, answer())
    assert read_records(out)["a.png"].note == "several faces"
    items = visits(film)
    items[1]["piece"].note = items[3]["piece"].note = "several faces"
    deliver(Outbox(out, "key", []), items, *[answer()] * 5)
    note = "5 frames, 5 with a face, several faces on 2 frames"
    assert read_records(out)["a.mp4"].note == note


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "films" / "a.mp4"
    with ClipWriter(path, (32, 32), Fraction(24000, 1001)) as writer:
        for _ in range(5):
            writer.write(np.full((32, 32, 3), 100, np.uint8))
    return path


def test_a_clip_keeps_its_frames_and_its_rate(tmp_path, film):
    outbox = Outbox(tmp_path / "out", "key", [], frozenset({"a.mp4"}))
    empty = Answer([], [], [])
    deliver(outbox, visits(film), empty, answer(), answer(likeness=[0.7]), empty, answer())
    clip = Clip(tmp_path / "out" / "a.mp4")
    levels = [round(float(frame.mean())) for frame in clip.frames()]
    assert clip.rate == Fraction(24000, 1001)
    np.testing.assert_allclose(levels, [100, 126, 126, 100, 126], atol=3)
    record = read_records(tmp_path / "out")["a.mp4"]
    assert record.note == "5 frames, 3 with a face"
    assert record.likeness == pytest.approx(1.7 / 3)
    assert (tmp_path / "out" / "panels" / "a.mp4.jpg").is_file()


def test_a_clip_that_fails_in_the_middle_leaves_nothing(tmp_path, film):
    failed = Answer([], [], [], "cannot be restored: no")
    outbox = Outbox(tmp_path / "out", "key", [])
    deliver(outbox, visits(film), answer(), answer(), failed, answer(), answer())
    assert read_records(tmp_path / "out")["a.mp4"].failure == "cannot be restored: no"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["outbox_0.jsonl"]


class Writer:
    ended: ClassVar[list] = []

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def write(self, frame, at=None):
        pass

    def __exit__(self, kind, error, trace):
        self.ended.append(kind)


def test_an_interrupted_clip_is_not_ended_as_a_whole_one(tmp_path, film, monkeypatch):
    monkeypatch.setattr("experiments.outbox.ClipWriter", Writer)
    outbox = Outbox(tmp_path / "out", "key", [])
    deliver(outbox, visits(film)[:2], answer(), answer())
    assert Writer.ended == []
    outbox.on_exception(Process, None, KeyboardInterrupt())
    assert Writer.ended == [ValueError]


def test_changes_are_pasted_at_the_faces(tmp_path, photograph):
    (item,) = visits(photograph)
    piece: Piece = item["piece"]
    piece.corners = [np.array([[4.0, 4], [4, 20], [20, 20], [20, 4]])]
    deliver(Outbox(tmp_path / "out", "key", []), [item], answer(size=(16, 16)))
    after = np.asarray(Image.open(tmp_path / "out" / "a.png").copy())
    assert (after[21:] == 100).all()
    assert (after[9:15, 9:15] == 126).all()
