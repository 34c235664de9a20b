import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
from PIL import Image

from datamodules.frwild import FRWild
from datamodules.images import read_image, resize
from datamodules.loading import Loading
from datamodules.synthetic import MARKER, DrawnSet
from tests.datamodules.fragments import assert_same, built
from tests.datamodules.pictures import BROKEN, picture

NAMES = ["a.jpg", "b.png", "street/a.png", "street/night/c.webp", "street/z.tif"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wild")
    for k, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(20 + 9 * k, 40, seed=k)).save(folder / name)
    return folder


def ready(root, stage="predict", trainer=None, **settings):
    usual = {"size": 16, "batch_size": 2, "loading": Loading(0)}
    data = FRWild(str(root), **usual | settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_each_photograph_comes_once_with_its_name_and_without_a_target(root, stage):
    batches = list(getattr(ready(root, stage), f"{stage}_dataloader")())
    assert all(batch.keys() == {"image", "name"} for batch in batches)
    assert [batch["image"].shape for batch in batches] == [(2, 3, 16, 16)] * 2 + [(1, 3, 16, 16)]
    names = [name for batch in batches for name in batch["name"]]
    assert sorted(names) == sorted(name.rpartition(".")[0] for name in NAMES)


def test_a_picture_is_the_largest_middle_square_of_its_file(root):
    batch = next(iter(ready(root).predict_dataloader()))
    assert batch["name"][0] == "a"
    expected = resize(read_image(root / "a.jpg")[:, 10:30], 16)
    assert np.array_equal(batch["image"][0].permute(1, 2, 0) * 255, expected)


def test_processes_share_the_photographs(root):
    names = []
    for rank in range(2):
        data = ready(root, trainer=SimpleNamespace(global_rank=rank, world_size=2))
        names += [name for batch in data.predict_dataloader() for name in batch["name"]]
    assert sorted(names) == sorted(name.rpartition(".")[0] for name in NAMES)


def test_cached_copies_give_the_same_batches_and_are_read(root, tmp_path):
    expected = list(ready(root).predict_dataloader())
    shutil.copytree(root, tmp_path / "set")
    cached = ready(tmp_path / "set", loading=Loading(0, cache=True))
    for name in NAMES:
        (tmp_path / "set" / name).unlink()
    assert_same(expected, list(cached.predict_dataloader()))


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_training_on_it_is_refused_and_what_to_do_told(root, stage):
    with pytest.raises(ValueError, match=r"no clean photographs .*datamodules\.across\.Across"):
        ready(root, stage)


@pytest.mark.filterwarnings("ignore:.*using a custom batch sampler.*")  # it drops nothing
def test_a_trainer_predicts_on_it(root, tmp_path):
    class Names(pl.LightningModule):
        def predict_step(self, batch):
            return batch["name"]

    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = FRWild(str(root), size=16, batch_size=5, loading=Loading(0))
    (names,) = trainer.predict(Names(), datamodule=data)
    assert len(names) == len(NAMES)


def test_broken_pictures_are_refused_by_name(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(BROKEN["truncated.png"][0])
    with pytest.raises(ValueError, match=r"^1 of 2 pictures .*bad\.png"):
        ready(tmp_path)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    nowhere = FRWild(str(tmp_path / "nowhere"))
    for step in (nowhere.prepare_data, lambda: nowhere.setup("test")):
        with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; FR-wild is not publ"):
            step()
    with pytest.raises(ValueError, match="there is no picture below"):
        ready(tmp_path)


def test_loaders_before_setup_say_what_is_missing(root):
    with pytest.raises(RuntimeError, match="setup comes before"):
        FRWild(str(root)).predict_dataloader()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"size": 8}, "size must be 16 or more, got 8"), ({"batch_size": 0}, "got 0 and 0")],
)
def test_a_setting_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        FRWild("nowhere", **wrong)


def test_faces_are_drawn_where_nothing_is_and_never_over_photographs(tmp_path, root):
    draw = DrawnSet(train=0, val=0, test=3, size=32)
    (first, *_) = ready(tmp_path / "new", size=32, draw=draw).predict_dataloader()
    assert (tmp_path / "new" / MARKER).exists()
    assert first["image"].shape == (2, 3, 32, 32)
    before = sorted(root.rglob("*"))
    ready(root, draw=draw)
    assert sorted(root.rglob("*")) == before


def test_the_settings_give_photographs_to_predict_at_smoke_scale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert built(tmp_path, "frwild").size == 512
    assert built(tmp_path, "frwild", "demo").draw.test == 60
    data = built(tmp_path, "frwild", "smoke")
    data.prepare_data()
    data.setup("predict")
    assert [len(batch["name"]) for batch in data.predict_dataloader()] == [2, 2]
