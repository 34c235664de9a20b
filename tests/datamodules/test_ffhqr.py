import gc
import json
import multiprocessing
import shutil
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace

import albumentations as A
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from PIL import Image

from datamodules import ffhqr
from datamodules.ffhqr import FFHQR
from datamodules.loading import Loading
from datamodules.numbered import RAW, RETOUCHED, list_pairs
from datamodules.synthetic import MARKER, UNFINISHED, DrawnSet
from tests.datamodules.pictures import assert_equal, break_some, damage, write_set
from tests.datamodules.recorder import Recorder

NUMBERS = [*range(20), *range(56000, 56005), *range(63000, 63003)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("faces set"), NUMBERS)


def ready(root, workers=0, stage="fit", trainer=None, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    data = FFHQR(str(root), size=16, batch_size=2, loading=loading, **settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


def first_batches(data, count):
    return list(islice(data.train_dataloader(), count))


def test_a_training_batch_has_two_halves_of_images_targets_and_names(root):
    (batch,) = first_batches(ready(root), 1)
    assert batch.keys() == {"paired", "unpaired"}
    for half in batch.values():
        assert half.keys() == {"image", "target", "name"}
        for field in ("image", "target"):
            assert half[field].shape == (2, 3, 16, 16)
            assert half[field].dtype == torch.float32
            assert 0 <= half[field].min() < half[field].max() <= 1
        assert len(half["name"]) == 2


def test_nobody_is_both_paired_and_unpaired_or_stands_beside_themselves(root):
    batches = first_batches(ready(root, gamma=0.3), 30)
    paired = {name for batch in batches for name in batch["paired"]["name"]}
    couples = [name.split("+") for batch in batches for name in batch["unpaired"]["name"]]
    assert len(paired) == 6
    assert all(raw != other for raw, other in couples)
    assert set(chain(*couples)) == {f"{n:05d}" for n in range(20)} - paired


@pytest.mark.parametrize("settings", [{"gamma": 1.0}, {"unpaired": False, "gamma": 0.5}])
def test_without_an_unpaired_half_batches_have_no_such_key(root, settings):
    batches = first_batches(ready(root, **settings), 10)
    assert all(batch.keys() == {"paired"} for batch in batches)
    names = {name for batch in batches for name in batch["paired"]["name"]}
    assert len(names) == 20 * settings["gamma"]


def test_two_workers_give_the_batches_of_none_bit_by_bit(root):
    pipeline = A.Compose([A.HorizontalFlip(), A.RandomBrightnessContrast(), A.GaussNoise(p=1)])
    runs = [
        first_batches(ready(root, loading=Loading(workers, transform=pipeline)), 14)
        for workers in (0, 2)
    ]
    assert_equal(*runs)


@pytest.mark.parametrize("first", [1, 8, 9, 10])  # an epoch has 18 samples, 9 batches
def test_a_resumed_stream_equals_the_uninterrupted_one(root, first):
    whole = first_batches(ready(root), first + 4)
    resumed = ready(root)
    resumed.first_batch = first
    assert_equal(whole[first:], first_batches(resumed, 4))


def test_two_processes_share_the_stream_of_one(root):
    ranks = [
        first_batches(ready(root, trainer=SimpleNamespace(global_rank=r, world_size=2)), 6)
        for r in range(2)
    ]
    alone = first_batches(ready(root), 12)
    assert_equal(alone, list(chain(*zip(*ranks, strict=True))))


def test_evaluation_shows_each_photograph_once_over_all_processes(root):
    for split, numbers in (("validate", range(56000, 56005)), ("test", range(63000, 63003))):
        names = []
        for rank in range(2):
            data = ready(root, stage=split, trainer=SimpleNamespace(global_rank=rank, world_size=2))
            loader = data.val_dataloader() if split == "validate" else data.test_dataloader()
            batches = list(loader)
            assert len(batches) == len(loader)
            names += [name for batch in batches for name in batch["name"]]
        assert sorted(names) == [f"{n:05d}" for n in numbers]


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_fewer_photographs_than_processes_are_refused_in_every_process(root, rank):
    four = SimpleNamespace(global_rank=rank, world_size=4)
    data = ready(root, stage="test", trainer=four)
    assert data.val_dataloader() is not None  # five photographs
    for loader in (data.test_dataloader, data.predict_dataloader):
        with pytest.raises(ValueError, match="4 processes cannot share 3 photographs of test: use"):
            loader()
    limited = ready(root, trainer=four, loading=Loading(0, eval_limit=2))
    with pytest.raises(ValueError, match=r"at most 2 processes .*eval_limit \(now 2\)"):
        limited.val_dataloader()


def test_evaluation_pictures_are_those_of_the_files(root):
    for batch in ready(root, stage="test").test_dataloader():
        for i, name in enumerate(batch["name"]):
            for field, half in (("image", RAW), ("target", RETOUCHED)):
                pixels = np.asarray(Image.open(root / half / "63000" / f"{name}.png"))
                assert np.array_equal(batch[field][i].permute(1, 2, 0) * 255, pixels)


def test_a_limit_keeps_the_first_photographs_of_evaluation(root):
    data = ready(root, loading=Loading(0, eval_limit=3), stage="validate")
    names = [name for batch in data.val_dataloader() for name in batch["name"]]
    assert names == ["56000", "56001", "56002"]


def test_cached_copies_give_the_same_batches_and_are_read(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    plain = ready(tmp_path / "set")
    cached = ready(tmp_path / "set", loading=Loading(0, cache=True))
    assert len(list((tmp_path / "set" / ".cache" / "16").rglob("*.tiff"))) == 2 * len(NUMBERS)
    expected = first_batches(plain, 5)
    for half in (RAW, RETOUCHED):
        shutil.rmtree(tmp_path / "set" / half)
    assert_equal(expected, first_batches(cached, 5))


@pytest.mark.parametrize("verify", ["header", "full"])
def test_broken_pictures_are_refused_by_name_before_training(tmp_path, verify):
    write_set(tmp_path, [*range(68), 56000, 63000])
    names = break_some(tmp_path)
    data = FFHQR(str(tmp_path), size=16, loading=Loading(0, verify=verify))
    for step in (data.prepare_data, lambda: data.setup("fit")):
        with pytest.raises(ValueError, match=r"of 140 pictures below .* and \d more") as caught:
            step()
        found = 7 if verify == "full" else 6  # damaged pixels show when they are decoded
        assert str(caught.value).startswith(f"{found} of 140")
        assert sum(name in str(caught.value) for name in names) == 5


def test_damaged_pixels_are_found_before_training_unless_told_otherwise(tmp_path):
    damage(write_set(tmp_path, NUMBERS) / RETOUCHED / "00000" / "00001.png")
    data = FFHQR(str(tmp_path), size=16)
    for step in (data.prepare_data, lambda: data.setup("fit")):
        with pytest.raises(ValueError, match=r"1 of 56 pictures .*00001\.png"):
            step()


def test_a_set_that_cannot_be_noted_is_looked_at_once_a_process(root, tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(ffhqr, "check_pairs", lambda *_: looks.append(1))
    data = ready(root)
    assert len(looks) == 1
    data.setup("validate")
    assert len(looks) == 1
    FFHQR(str(root), size=16).setup("fit")  # another process, which prepares nothing
    assert len(looks) == 2


def test_damaged_pixels_are_found_while_copies_are_made(tmp_path):
    damage(write_set(tmp_path, NUMBERS) / RAW / "00000" / "00001.png")
    data = FFHQR(str(tmp_path), size=16, loading=Loading(0, cache=True, verify="header"))
    with pytest.raises(ValueError, match=r"1 of 56 pictures .*00001\.png"):
        data.prepare_data()


DRAWN = DrawnSet(train=3, val=1, test=1, size=32)


def test_faces_are_drawn_once_where_nothing_is_or_drawing_was_interrupted(tmp_path):
    data = FFHQR(str(tmp_path / "new"), size=32, gamma=0.4, draw=DRAWN, loading=Loading(0))
    data.prepare_data()
    data.setup("fit")
    assert [p.number for p in list_pairs(tmp_path / "new")] == [0, 1, 2, 56000, 63000]
    assert first_batches(data, 1)[0]["paired"]["image"].shape == (1, 3, 32, 32)
    assert json.loads((tmp_path / "new" / MARKER).read_text())["faces"]["train"] == 3
    lost, *kept = sorted((tmp_path / "new").rglob("*.png"))
    kept = {path: path.stat().st_mtime_ns for path in kept if path.name != lost.name}
    lost.unlink()
    (tmp_path / "new" / MARKER).rename(tmp_path / "new" / UNFINISHED)
    data.prepare_data()
    assert lost.exists()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_set_of_photographs_is_never_drawn_over(root):
    before = sorted(root.rglob("*.png"))
    FFHQR(str(root), size=16, draw=DRAWN, loading=Loading(0)).prepare_data()
    assert sorted(root.rglob("*.png")) == before
    assert not (root / MARKER).exists()


def test_no_worker_is_left_when_the_loaders_are_gone(root):
    data = ready(root, workers=2)
    training = iter(data.train_dataloader())
    next(training)
    evaluation = data.val_dataloader()
    assert len(list(evaluation)) == 3
    assert len(multiprocessing.active_children()) == 4
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    del training, evaluation
    gc.collect()
    assert multiprocessing.active_children() == []
    assert len(list(Path("/proc/self/fd").iterdir())) < open_files


def test_a_trainer_takes_the_stream_across_epochs_of_the_set(root, tmp_path):
    module, data = Recorder(), FFHQR(str(root), 16, 2, loading=Loading(2))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=12,
        val_check_interval=6,
        check_val_every_n_epoch=None,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    assert_equal(module.seen, first_batches(ready(root), 12))


def test_settings_are_read_from_yaml_with_their_types():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=FFHQR)
    told = """
    class_path: datamodules.ffhqr.FFHQR
    init_args:
      root: somewhere
      gamma: 0.2
      draw: {train: 4, val: 1, test: 1, size: 32}
      loading:
        workers: 0
        verify: full
        eval_limit: 5
        transform:
          class_path: albumentations.Compose
          init_args:
            transforms: [{class_path: albumentations.VerticalFlip, init_args: {p: 1.0}}]
    """
    data = parser.instantiate(parser.parse_args([f"--data={told}"])).data
    assert data.draw == DrawnSet(train=4, val=1, test=1, size=32)
    assert (data.gamma, data.size, data.loading.eval_limit) == (0.2, 512, 5)
    assert isinstance(data.loading.transform.transforms[0], A.VerticalFlip)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"gamma": 2}, r"gamma must be in \(0, 1\], got 2"),
        ({"gamma": 0}, r"gamma must be in \(0, 1\], got 0"),
        ({"size": 8}, "size must be 16 or more, got 8"),
        ({"batch_size": 0}, "batch_size must be 1 or more.* got 0 and 0"),
        ({"seed": -1}, "seed 0 or more, got 1 and -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        FFHQR("nowhere", **wrong)


def test_a_gamma_that_leaves_one_photograph_unpaired_is_refused_at_setup(tmp_path):
    write_set(tmp_path, [0, 1, 2, 56000])
    data = FFHQR(str(tmp_path), gamma=0.7, loading=Loading(0))
    with pytest.raises(ValueError, match="2 photographs or more, got 1; take a smaller gamma"):
        data.setup("fit")


def test_a_person_in_two_splits_is_refused(tmp_path):
    write_set(tmp_path, [0, 1, 56000, 63000])
    people = {"anna": [0, 63000], "bob": [1], "carl": [56000]}.items()
    photographs = [{"group": name, "numbers": numbers} for name, numbers in people]
    (tmp_path / "prepared.json").write_text(json.dumps({"photographs": photographs}))
    with pytest.raises(ValueError, match="1 people are both in train and in test"):
        FFHQR(str(tmp_path), loading=Loading(0)).prepare_data()
