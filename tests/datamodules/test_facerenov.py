import shutil
from itertools import chain, islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.facerenov import FaceRenov
from datamodules.loading import Loading
from datamodules.synthetic import MARKER, DrawnSet
from tests.datamodules.fragments import assert_same, built
from tests.datamodules.pictures import BROKEN, picture

SIZES = {"train": 10, "test": 3}


def write_pair(root, split, name, shape=(16, 16), endings=("png", "png")):
    """A pair whose clean half is the degraded one upside down."""
    pixels = picture(*shape, seed=[len(split), *name.encode()])
    for half, ending, content in zip(("lq", "hq"), endings, (pixels, pixels[::-1]), strict=True):
        path = root / split / half / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(path)


def write(root, train=10, test=3, alone=3):
    for split, count in (("train", train), ("test", test)):
        for k in range(count):
            write_pair(root, split, f"{k:05d}", endings=("png", "tif" if k % 2 else "png"))
    for k in range(alone):
        path = root / "real_lq" / "street" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(20, 30 + k, seed=k)).save(path)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("renov"))


def ready(root, stage="fit", trainer=None, workers=0, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    usual = {"size": 16, "batch_size": 2, "val": 0.3, "loading": loading}
    data = FaceRenov(str(root), **usual | settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


def first(data, count):
    return list(islice(data.train_dataloader(), count))


def names(loader):
    return [name for batch in loader for name in batch["name"]]


def test_both_halves_of_a_pair_stand_beside_each_other_under_one_draw(root):
    mirrored = set()
    for batch in first(ready(root), 20):
        assert batch.keys() == {"image", "target", "name"}
        assert batch["image"].shape == (2, 3, 16, 16)
        assert torch.equal(batch["image"], batch["target"].flip(2))
        for name, image in zip(batch["name"], batch["image"], strict=True):
            pixels = np.asarray(Image.open(root / f"{name}.png"))
            mirrored.add(bool(np.array_equal(image.permute(1, 2, 0) * 255, pixels)))
    assert mirrored == {True, False}


def test_validation_is_a_part_of_the_training_pairs_that_is_held_out(root):
    data = ready(root)
    trained, validated = {*names(first(data, 14))}, names(data.val_dataloader())
    assert len(validated) == 3
    assert trained.isdisjoint(validated)
    assert trained | {*validated} == {f"train/lq/{k:05d}" for k in range(10)}
    assert names(ready(root, seed=5).val_dataloader()) == validated


def test_all_pairs_of_a_person_are_held_out_or_none(tmp_path):
    for k in range(12):
        write_pair(tmp_path, "train", f"person {k % 4}/{k}")
    write_pair(tmp_path, "test", "somebody/0")
    data = ready(tmp_path)
    people = [
        {name.split("/")[2] for name in found}
        for found in (names(first(data, 9)), names(data.val_dataloader()))
    ]
    assert people[0].isdisjoint(people[1])
    assert len(people[0] | people[1]) == 4
    write_pair(tmp_path, "test", "person 1/0")
    with pytest.raises(ValueError, match=r"1 people are both in \w+ and in test, .*is person 1"):
        ready(tmp_path)


def test_testing_gives_each_pair_of_the_test_folder_once_unmirrored(root):
    found = []
    for rank in range(2):
        data = ready(root, "test", SimpleNamespace(global_rank=rank, world_size=2))
        for batch in data.test_dataloader():
            found += batch["name"]
            for name, image in zip(batch["name"], batch["image"], strict=True):
                pixels = np.asarray(Image.open(root / f"{name}.png"))
                assert np.array_equal(image.permute(1, 2, 0) * 255, pixels)
            assert torch.equal(batch["image"], batch["target"].flip(2))
    assert sorted(found) == [f"test/lq/{k:05d}" for k in range(3)]


def test_prediction_gives_the_unpaired_photographs_without_a_target(root):
    batches = list(ready(root, "predict").predict_dataloader())
    assert all(batch.keys() == {"image", "name"} for batch in batches)
    assert [batch["image"].shape[1:] for batch in batches] == [(3, 16, 16)] * 2
    assert names(batches) == [f"real_lq/street/{k}" for k in range(3)]


def test_workers_processes_and_resuming_leave_the_stream_as_it_is(root):
    whole = first(ready(root), 10)
    assert_same(whole, first(ready(root, workers=2), 10))
    ranks = [SimpleNamespace(global_rank=r, world_size=2) for r in range(2)]
    parts = [first(ready(root, trainer=rank), 5) for rank in ranks]
    assert_same(whole, list(chain(*zip(*parts, strict=True))))
    resumed = ready(root)
    resumed.first_batch = 3
    assert_same(whole[3:], first(resumed, 7))


def test_oblong_pairs_are_cut_alike(tmp_path):
    write(tmp_path)
    write_pair(tmp_path, "test", "oblong", (40, 24))
    for batch in ready(tmp_path, "test").test_dataloader():
        assert torch.equal(batch["image"], batch["target"].flip(2))


def test_halves_of_two_shapes_are_refused_by_name(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    Image.fromarray(picture(32, 16)).save(tmp_path / "set" / "train" / "hq" / "00002.png")
    with pytest.raises(ValueError, match=r"^1 of 10 pairs .*00002\.png, 16 x 16 beside 16 x 32"):
        ready(tmp_path / "set")


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("train/hq/00002.png", r"1 of 10 .*train/lq/00002\.png, which has none in train/hq"),
        ("test/lq/00000.png", r"1 of 3 .*test/hq/00000\.png, which has none in test/lq"),
        ("test/hq", r"3 of 3 .*test/lq/00000\.png, which has none in test/hq"),
    ],
)
def test_a_photograph_without_its_other_half_is_named(root, tmp_path, gone, told):
    shutil.copytree(root, tmp_path / "set")
    path = tmp_path / "set" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=told):
        ready(tmp_path / "set")
    with pytest.raises(ValueError, match=told):
        FaceRenov(str(tmp_path / "set")).setup("test")


def test_two_photographs_of_one_name_are_refused(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    Image.fromarray(picture(16, 16)).save(tmp_path / "set" / "train" / "lq" / "00002.jpg")
    with pytest.raises(ValueError, match=r"00002\.jpg and .*00002\.png have one name"):
        ready(tmp_path / "set")


@pytest.mark.parametrize(
    ("stage", "counts", "told"),
    [
        ("fit", (0, 3, 3), r"no pairs in .*train/lq and hq; .*make prepare SET=facerenov"),
        ("fit", (10, 0, 3), r"no pairs in .*test/lq and hq"),
        ("fit", (1, 3, 0), r"no pair of .*train is held out at val=0\.3"),
        ("validate", (0, 3, 0), r"no pairs in .*train/lq and hq"),
        ("test", (10, 0, 3), r"no pairs in .*test/lq and hq"),
        ("predict", (10, 3, 0), r"no photograph to predict in .*real_lq"),
    ],
)
def test_what_a_command_lacks_is_named_before_it_runs(tmp_path, stage, counts, told):
    with pytest.raises(FileNotFoundError, match=told):
        ready(write(tmp_path, *counts), stage)


@pytest.mark.parametrize(("stage", "counts"), [("test", (0, 2, 0)), ("predict", (0, 0, 2))])
def test_a_command_needs_its_own_folder_only(tmp_path, stage, counts):
    loader = getattr(ready(write(tmp_path, *counts), stage), f"{stage}_dataloader")()
    assert len(names(loader)) == 2


def test_a_missing_set_is_refused_and_how_to_make_one_told(tmp_path):
    nowhere = FaceRenov(str(tmp_path / "nowhere"))
    for step in (nowhere.prepare_data, lambda: nowhere.setup("fit")):
        with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; .*make prepare"):
            step()


def test_broken_pictures_are_refused_by_name_where_they_are_used(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    (tmp_path / "set" / "other").mkdir()
    for place in ("train/hq/00002.png", "real_lq/street/1.png", "other/1.png"):
        (tmp_path / "set" / place).write_bytes(BROKEN["truncated.png"][0])
    with pytest.raises(ValueError, match=r"^2 of 29 pictures .*real_lq/street/1\.png") as caught:
        ready(tmp_path / "set")
    assert "train/hq/00002.png" in str(caught.value)


def test_cached_copies_give_the_same_batches_and_are_read(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    cached = ready(tmp_path / "set", loading=Loading(0, cache=True))
    for half in ("train", "real_lq"):
        shutil.rmtree(tmp_path / "set" / half)
    assert_same(first(ready(root), 4), first(cached, 4))
    alone = list(ready(root, "predict").predict_dataloader())
    assert_same(alone, list(cached.predict_dataloader()))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": 8}, "size must be 16 or more, got 8"),
        ({"val": 0}, r"val must be in \(0, 1\), got 0"),
        ({"val": 1}, r"val must be in \(0, 1\), got 1"),
        ({"batch_size": 0}, "got 0 and 0"),
        ({"seed": -1}, "got 1 and -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        FaceRenov("nowhere", **wrong)


def test_loaders_before_setup_say_what_is_missing(root):
    with pytest.raises(RuntimeError, match="setup comes before"):
        FaceRenov(str(root)).predict_dataloader()


def test_photographs_are_never_drawn_over(root):
    before = sorted(root.rglob("*"))
    ready(root, draw=DrawnSet(train=1, val=1, test=1, size=32))
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["facerenov", "r2r"])
def test_the_settings_give_pairs_at_smoke_scale(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert built(tmp_path, name).size == 512
    assert built(tmp_path, name, "demo").size == 128
    data = built(tmp_path, name, "smoke", seed=4)
    assert data.seed == 4
    data.prepare_data()
    assert (data.root / MARKER).exists()
    for stage in ("fit", "predict"):
        data.setup(stage)
    for batch in (first(data, 1)[0], *data.val_dataloader(), *data.test_dataloader()):
        assert batch["image"].shape == batch["target"].shape == (2, 3, 32, 32)
        assert not torch.equal(batch["image"], batch["target"])
    assert len(names(data.predict_dataloader())) == 2
