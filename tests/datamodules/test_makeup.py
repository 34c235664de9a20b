import shutil
from itertools import chain, islice
from types import SimpleNamespace

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.degradations.beautify import EDITORS
from datamodules.images import read_image
from datamodules.loading import Loading
from datamodules.makeup import Makeup
from datamodules.spoiling import edited
from datamodules.synthetic import MARKER, DrawnSet
from tests.datamodules.fragments import assert_same, built
from tests.datamodules.pictures import BROKEN, picture


def edit_of(pixels, editor):
    """Something else for each editor, by which an original is known."""
    shift = {"mt": 1, "ps": 2, "ins": 3}[editor]
    return np.roll(pixels, shift, axis=2) if shift < 3 else 255 - pixels


def write_portrait(root, name, shape=(32, 32), ending="png"):
    pixels = picture(*shape, seed=[*name.encode()])
    for half in ("original", *EDITORS):
        kind = ending if half == "original" else "png"
        path = root / half / f"{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if half == "original" else edit_of(pixels, half)).save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("makeup")
    for k in range(12):
        write_portrait(folder, f"person {k % 6}/{k:02d}", ending="tif" if k % 2 else "png")
    return folder


def ready(root, stage="fit", trainer=None, workers=0, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    usual = {"size": 32, "crop": 16, "batch_size": 4, "loading": loading}
    data = Makeup(str(root), **usual | settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


def first(data, count):
    return list(islice(data.train_dataloader(), count))


def names(loader):
    return [name for batch in loader for name in batch["name"]]


def bytes_of(tensor):
    return (255 * tensor).round().byte().permute(1, 2, 0).numpy()


def places(part, whole):
    """Where `part` is in `whole`, and whether mirrored."""
    side = len(part)
    return [
        (y, x, mirrored)
        for mirrored, form in ((False, whole), (True, whole[:, ::-1]))
        for y in range(len(whole) - side + 1)
        for x in range(len(whole) - side + 1)
        if np.array_equal(form[y : y + side, x : x + side], part)
    ]


@pytest.mark.parametrize("editor", EDITORS)
def test_the_image_is_the_edited_portrait_and_the_target_the_original(root, editor):
    for batch in ready(root, "test", editor=editor).test_dataloader():
        assert batch.keys() == {"image", "target", "name"}
        for name, image, target in zip(batch["name"], batch["image"], batch["target"], strict=True):
            assert name.startswith(f"{editor}/person")
            original = next(root.glob(f"original/{name.removeprefix(f'{editor}/')}.*"))
            assert np.array_equal(bytes_of(target), read_image(original))
            assert np.array_equal(bytes_of(image), edit_of(bytes_of(target), editor))


def test_training_gives_one_and_the_same_part_of_both_halves_mirrored_half_the_time(root):
    found = []
    for batch in first(ready(root, editor="ps"), 15):
        assert batch["image"].shape == batch["target"].shape == (4, 3, 16, 16)
        for name, image, target in zip(batch["name"], batch["image"], batch["target"], strict=True):
            assert np.array_equal(bytes_of(image), edit_of(bytes_of(target), "ps"))
            found += places(bytes_of(image), read_image(root / f"{name}.png"))
    assert len(found) == 60
    assert len(set(found)) > 50
    assert {place[2] for place in found} == {True, False}
    assert {min(p[0] for p in found), max(p[0] for p in found)} == {0, 16}


def test_a_part_is_another_one_in_the_next_epoch(root):
    parts = {}
    data = ready(root)
    for batch in first(data, 10):
        for name, image in zip(batch["name"], batch["image"], strict=True):
            parts.setdefault(name, set()).add(bytes_of(image).tobytes())
    assert all(len(seen) > 2 for seen in parts.values())


def test_a_transform_follows_the_cropping_and_takes_the_place_of_the_mirroring(root):
    upside_down = albumentations.Compose([albumentations.VerticalFlip(p=1)])
    data = ready(root, loading=Loading(0, transform=upside_down))
    for loader in (first(data, 2), first(data, 2)):
        for batch in loader:
            for name, image in zip(batch["name"], batch["image"], strict=True):
                whole = read_image(root / f"{name}.png")
                seen = places(bytes_of(image)[::-1], whole)
                assert [mirrored for _, _, mirrored in seen] == [False]


def test_validation_and_testing_are_whole_and_of_people_apart_alike_for_every_editor(root):
    found = {}
    for editor in EDITORS:
        data = ready(root, editor=editor, seed=len(found))
        batches = [*data.val_dataloader(), *data.test_dataloader()]
        assert all(batch["image"].shape[2:] == (32, 32) for batch in batches)
        parts = first(data, 12), data.val_dataloader(), data.test_dataloader()
        found[editor] = [{n.split("/", 1)[1] for n in names(part)} for part in parts]
    assert found["mt"] == found["ps"] == found["ins"]
    people = [{name.split("/")[0] for name in part} for part in found["mt"]]
    assert [len(some) for some in people] == [4, 1, 1]
    assert len(set.union(*people)) == 6
    assert [len(part) for part in found["mt"]] == [8, 2, 2]


def test_portraits_that_lie_flat_are_people_each(tmp_path):
    for k in range(10):
        write_portrait(tmp_path, f"{k}")
    write_portrait(tmp_path, "more/10")
    data = ready(tmp_path)
    assert [len(names(each())) for each in (data.val_dataloader, data.test_dataloader)] == [1, 1]


@pytest.mark.parametrize(("batch_size", "crop", "whole"), [(4, 16, 1), (16, 16, 4), (3, 32, 3)])
def test_whole_portraits_come_in_batches_of_no_more_pixels(root, batch_size, crop, whole):
    data = ready(root, batch_size=batch_size, crop=crop)
    batch = next(iter(data.test_dataloader()))
    assert len(batch["name"]) == min(whole, 2)
    assert len(first(data, 1)[0]["name"]) == batch_size


def test_prediction_gives_what_testing_gives(root):
    data = ready(root, "predict")
    assert_same(list(data.predict_dataloader()), list(data.test_dataloader()))


def test_workers_processes_and_resuming_leave_the_stream_as_it_is(root):
    whole = first(ready(root), 8)
    assert_same(whole, first(ready(root, workers=2), 8))
    ranks = [SimpleNamespace(global_rank=r, world_size=2) for r in range(2)]
    parts = [first(ready(root, trainer=rank), 4) for rank in ranks]
    assert_same(whole, list(chain(*zip(*parts, strict=True))))
    resumed = ready(root)
    resumed.first_batch = 3
    assert_same(whole[3:], first(resumed, 5))
    other = first(ready(root, seed=1), 8)
    assert any(not torch.equal(a["image"], b["image"]) for a, b in zip(whole, other, strict=True))


def test_the_other_editors_need_not_be_there(root, tmp_path):
    for half in ("original", "ins"):
        shutil.copytree(root / half, tmp_path / half)
    assert len(first(ready(tmp_path, editor="ins"), 1)) == 1
    with pytest.raises(FileNotFoundError, match=r"no folder .*mt; .*make prepare SET=makeup"):
        ready(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*mt; .*make prepare SET=makeup"):
        Makeup(str(tmp_path)).setup("fit")


def test_a_portrait_without_its_edit_is_named(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    (tmp_path / "set/ps/person 3/03.png").unlink()
    told = r"1 of 12 photographs .*original/person 3/03\.tif, which has none in ps$"
    with pytest.raises(ValueError, match=told):
        ready(tmp_path / "set", editor="ps")
    with pytest.raises(ValueError, match=told):
        Makeup(str(tmp_path / "set"), "ps").setup("fit")
    assert ready(tmp_path / "set", editor="mt").editor == "mt"


def test_an_edit_that_changed_the_shape_is_named(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    Image.fromarray(picture(32, 30)).save(tmp_path / "set/mt/person 3/03.png")
    with pytest.raises(ValueError, match=r"^1 of 12 pairs .*mt/person 3/03\.png, 30 x 32 beside"):
        ready(tmp_path / "set")


def test_broken_pictures_are_refused_by_name_where_they_are_used(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    for place in ("original/person 0/00.png", "ps/person 0/00.png"):
        (tmp_path / "set" / place).write_bytes(BROKEN["truncated.png"][0])
    with pytest.raises(ValueError, match=r"^1 of 24 pictures .*original/person 0/00\.png"):
        ready(tmp_path / "set")


def test_cached_copies_give_the_same_batches_and_are_read(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    cached = ready(tmp_path / "set", size=24, loading=Loading(0, cache=True))
    for half in ("original", "mt"):
        shutil.rmtree(tmp_path / "set" / half)
    assert_same(first(ready(root, size=24), 3), first(cached, 3))


def test_two_people_are_too_few(tmp_path):
    for name in ("ann/1", "bob/1"):
        write_portrait(tmp_path, name)
    with pytest.raises(ValueError, match=r"none of the 2 pairs .* falls to val; three people"):
        ready(tmp_path)
    (tmp_path / "empty/original").mkdir(parents=True)
    (tmp_path / "empty/mt").mkdir()
    with pytest.raises(ValueError, match=r"none of the 0 pairs .* falls to test; three people"):
        ready(tmp_path / "empty", "test")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"editor": "gimp"}, "editor must be one of mt, ps, ins, got gimp"),
        ({"crop": 8}, "crop must be at least 16 and at most size 512, got 8"),
        ({"size": 64}, "crop must be at least 16 and at most size 64, got 96"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"seed": -1}, "got 16 and -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Makeup("nowhere", **wrong)


def test_loaders_before_setup_say_what_is_missing(root):
    with pytest.raises(RuntimeError, match="setup comes before"):
        Makeup(str(root)).test_dataloader()


def test_portraits_are_never_drawn_over(root):
    ready(root)
    before = sorted(root.rglob("*"))
    ready(root, draw=DrawnSet(train=1, val=1, test=1, size=32))
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("editor", EDITORS)
def test_the_settings_give_pairs_at_smoke_scale(tmp_path, monkeypatch, editor):
    monkeypatch.chdir(tmp_path)
    assert built(tmp_path, f"makeup_{editor}").size == 512
    assert built(tmp_path, f"makeup_{editor}", "demo").size == 128
    data = built(tmp_path, f"makeup_{editor}", "smoke", seed=4)
    assert (data.seed, data.editor) == (4, editor)
    data.prepare_data()
    assert (data.root / MARKER).exists()
    data.setup("fit")
    batch = first(data, 1)[0]
    assert batch["image"].shape == batch["target"].shape == (2, 3, 24, 24)
    for batch in (*data.val_dataloader(), *data.test_dataloader()):
        assert batch["image"].shape == (1, 3, 32, 32)
        assert not torch.equal(batch["image"], batch["target"])
    original = next((data.root / "original").rglob("0001.png"))
    made = read_image(data.root / editor / original.relative_to(data.root / "original"))
    assert made.shape == (32, 32, 3)
    assert any(np.array_equal(edited(read_image(original), editor, 0, n), made) for n in range(20))
