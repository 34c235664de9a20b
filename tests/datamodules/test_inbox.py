from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from datamodules.clip_writer import ClipWriter
from datamodules.detection import Face
from datamodules.faces import ffhq_view
from datamodules.inbox import SEVERAL, Crops, Entry, Inbox, Visits, listed
from tests.datamodules.broken import write_broken, write_odd
from tests.datamodules.pictures import encoded, picture

LANDMARKS = np.array([[18.0, 16], [30, 16], [24, 22], [20, 28], [28, 28]])


def two_faces(picture):
    assert picture.dtype == np.uint8
    return [Face(LANDMARKS + shift, (0, 0, 9, 9), 0.9) for shift in (0, 3)]


def put(path, data=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded("PNG") if data is None else data)
    return path


def clip(path, count=3, size=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with ClipWriter(path, size, Fraction(25)) as writer:
        for level in range(count):
            writer.write(np.full((*size, 3), 60 * level, np.uint8))
    return path


def visits(path, crops=None):
    return list(Visits(listed(str(path)), crops or Crops(ffhq_view(16), two_faces)))


def test_a_folder_is_listed_with_its_sub_folders(tmp_path):
    for name in ("b.PNG", "a/b.png", "a/c d.jpeg", "ü/少女.tiff", "film.MOV", "x.heic"):
        put(tmp_path / name)
    for name in (".hidden.png", "notes.txt"):
        put(tmp_path / name)
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "album.jpg").mkdir()
    names = [entry.name for entry in listed(str(tmp_path))]
    assert names == sorted(
        ["b.PNG", "a/b.png", "a/c d.jpeg", "ü/少女.tiff", "film.MOV", "x.heic", "dead.png"]
    )


def test_a_pattern_names_files_below_its_fixed_part(tmp_path):
    for name in ("p/1/a.png", "p/2/a.png", "p/2/b.jpg"):
        put(tmp_path / name)
    assert [entry.name for entry in listed(f"{tmp_path}/p/*/a.png")] == ["1/a.png", "2/a.png"]
    assert [entry.name for entry in listed(f"{tmp_path}/p/2/*")] == ["a.png", "b.jpg"]
    assert [entry.name for entry in listed(f"{tmp_path}/p/2/b.jpg")] == ["b.jpg"]
    assert len(listed(f"{tmp_path}/**/*.png")) == 2


def test_nothing_to_restore_is_told(tmp_path):
    put(tmp_path / "notes.txt")
    for given in (tmp_path, f"{tmp_path}/*.png", f"{tmp_path}/a.png"):
        with pytest.raises(FileNotFoundError, match="there is no photograph or clip at"):
            listed(str(given))


def test_clips_that_cannot_be_written_as_such_get_another_ending(tmp_path):
    outputs = [Entry(tmp_path / name, name).output for name in ("a.mov", "a.AVI", "a.png")]
    assert outputs == ["a.mov", "a.AVI.mp4", "a.png"]


def test_each_face_of_a_photograph_is_cut_out(tmp_path):
    (item,) = visits(put(tmp_path / "a.png"))
    assert item["image"].shape == (2, 3, 16, 16)
    assert item["image"].dtype == torch.float32
    piece = item["piece"]
    assert len(piece.corners) == 2
    np.testing.assert_array_equal(piece.pixels, picture())
    assert piece.last
    assert piece.original is not None


def test_without_a_face_there_is_nothing_to_restore(tmp_path):
    (item,) = visits(put(tmp_path / "a.png"), Crops(ffhq_view(16), lambda _: []))
    assert item["image"].shape == (0, 3, 16, 16)


def test_an_aligned_picture_is_the_crop(tmp_path):
    path = put(tmp_path / "a.png", encoded("PNG", picture(32, 32)))
    (item,) = visits(path, Crops(ffhq_view(16)))
    means = picture(32, 32).reshape(16, 2, 16, 2, 3).mean((1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(item["image"][0], means, atol=1e-6)
    (item,) = visits(path, Crops(ffhq_view(16), whole=True))
    np.testing.assert_allclose(item["image"][0] * 255, picture(32, 32).transpose(2, 0, 1))


def test_an_aligned_picture_of_another_shape_is_refused(tmp_path):
    (item,) = visits(put(tmp_path / "a.png"), Crops(ffhq_view(16)))
    assert item["piece"].failure.startswith("is 48 x 40, and an aligned picture has the shape")


def test_broken_files_are_told_of_and_the_rest_is_read(tmp_path):
    reasons = write_broken(tmp_path)
    good = write_odd(tmp_path)
    found = {item["piece"].entry.name: item["piece"] for item in visits(tmp_path)}
    reasons |= {"holiday.heic": ".heic is not read", "waving.gif": ".gif is not read"}
    reasons["pipe.png"] = "is not a file"
    del reasons["album.png"]  # a folder, whatever it is called
    assert {name: found[name].failure for name in good} == dict.fromkeys(good, "")
    for name, reason in reasons.items():
        assert reason in found[name].failure
        assert str(tmp_path) not in found[name].failure  # the name stands before it already
    assert len(found) == len(reasons) + len(good)


def test_a_clip_comes_frame_by_frame(tmp_path):
    items = visits(clip(tmp_path / "a.mp4"))
    assert [item["piece"].last for item in items] == [False, False, True]
    assert [round(item["piece"].pixels.mean() / 60) for item in items] == [0, 1, 2]
    assert items[0]["piece"].clip.rate == 25
    assert items[0]["image"].shape == (2, 3, 16, 16)


def test_a_clip_that_breaks_off_says_so_at_its_end(tmp_path, monkeypatch):
    whole = clip(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "c.mp4").write_bytes(b"")
    last = {item["piece"].entry.name: item["piece"] for item in visits(tmp_path)}
    assert last["a.mp4"].failure == ""
    assert "cannot be decoded as a clip" in last["b.mp4"].failure
    assert last["c.mp4"].failure == "is empty (0 bytes)"


def test_references_come_with_a_face_that_is_alone(tmp_path):
    put(tmp_path / "a.png")
    references = torch.rand(5, 3, 16, 16)
    for count, note in ((0, ""), (1, ""), (2, SEVERAL)):
        crops = Crops(ffhq_view(16), lambda picture, count=count: two_faces(picture)[:count])
        (item,) = Visits(listed(str(tmp_path)), crops, references)
        assert item["piece"].note == note
        assert ("references" in item) == (count == 1)
    (item,) = Visits(listed(str(tmp_path)), Crops(ffhq_view(16), one_face), references)
    assert torch.equal(item["references"], references[None])


def one_face(picture):
    return two_faces(picture)[:1]


def landmarks_in_a_point(picture):
    return [Face(np.full((5, 2), 20.0), (0, 0, 9, 9), 0.9)]


def landmarks_far_outside(picture):
    return [Face(LANDMARKS + 900, (0, 0, 9, 9), 0.9)]


def opencv_fails(picture):
    raise cv2.error("OpenCV: no\n> such layer")


@pytest.mark.parametrize(
    ("detect", "reason"),
    [
        (landmarks_in_a_point, "landmarks"),
        (landmarks_far_outside, "lies outside the photograph"),
        (opencv_fails, "OpenCV: no > such layer"),
    ],
)
def test_a_face_that_cannot_be_cut_out_is_the_failure_of_its_file(tmp_path, detect, reason):
    put(tmp_path / "a.png")
    clip(tmp_path / "b.mp4")
    items = visits(tmp_path, Crops(ffhq_view(16), detect))
    assert [item["piece"].entry.name for item in items] == ["a.png", "b.mp4"]
    assert all(reason in item["piece"].failure for item in items)


class Process:
    world_size = 3

    def __init__(self, rank):
        self.global_rank = rank


def test_processes_share_the_files_whatever_is_finished(tmp_path):
    for i in range(8):
        put(tmp_path / f"{i}.png")
    entries = listed(str(tmp_path))
    shares = []
    for rank in range(3):
        inbox = Inbox(entries, frozenset({"1.png", "3.png"}), Crops(ffhq_view(16), two_faces))
        inbox.trainer = Process(rank)
        shares.append([item["piece"].entry.name for item in inbox.predict_dataloader()])
    assert shares == [["0.png", "6.png"], ["4.png", "7.png"], ["2.png", "5.png"]]
