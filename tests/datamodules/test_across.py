from itertools import islice

import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image

from datamodules.across import Across
from datamodules.degradations.ispl import SuperResolution4
from datamodules.facerenov import FaceRenov
from datamodules.ffhq import FFHQ
from datamodules.folder import Folder, Shares
from datamodules.frwild import FRWild
from datamodules.loading import Loading
from experiments.settings import CONFIGS, read
from tests.datamodules.fragments import assert_same, built, parsed
from tests.datamodules.pictures import picture

PLACES = {
    "portraits/images1024x1024": [*range(8), 60000, 60001, 65000],
    "real/test/lq": range(3),
    "real/test/hq": range(3),
    "real/real_lq": [7],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("across")
    for place, numbers in PLACES.items():
        (folder / place).mkdir(parents=True)
        for number in numbers:
            pixels = picture(16, 16, seed=[number, len(place)])
            Image.fromarray(pixels).save(folder / place / f"{number:05d}.png")
    return folder


def portraits(root, **settings):
    usual = {"size": 16, "batch_size": 2, "loading": Loading(0)}
    return FFHQ(str(root / "portraits"), **usual | settings)


def real(root, **settings):
    return FaceRenov(str(root / "real"), **{"size": 16, "batch_size": 2} | settings)


def ready(data, stage="fit"):
    data.prepare_data()
    data.setup(stage)
    return data


def names(batches):
    return [name for batch in batches for name in batch["name"]]


def test_training_and_validation_are_of_one_set_and_testing_is_of_the_other(root):
    data = ready(Across(portraits(root), real(root, loading=Loading(0))))
    alone = ready(portraits(root))
    both = [list(islice(each.train_dataloader(), 5)) for each in (data, alone)]
    assert_same(*both)
    assert_same(list(data.val_dataloader()), list(alone.val_dataloader()))
    other = ready(real(root, loading=Loading(0)), "test")
    assert_same(list(data.test_dataloader()), list(other.test_dataloader()))
    data.setup("predict")
    assert names(data.predict_dataloader()) == ["real_lq/00007"]


def test_training_goes_on_from_the_first_batch(root):
    data = ready(Across(portraits(root), real(root)))
    whole = list(islice(data.train_dataloader(), 6))
    data.first_batch = 4
    assert_same(whole[4:], list(islice(data.train_dataloader(), 2)))


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_only_what_a_command_needs_has_to_be_there(root, stage):
    asked = {"train": [], "test": []}

    class Asked(pl.LightningDataModule):
        def __init__(self, part):
            super().__init__()
            self.part = part

        def setup(self, stage):
            asked[self.part].append(stage)

    Across(Asked("train"), Asked("test")).setup(stage)
    assert (
        asked
        == {
            "fit": {"train": ["fit"], "test": ["test"]},
            "validate": {"train": ["validate"], "test": []},
            "test": {"train": [], "test": ["test"]},
            "predict": {"train": [], "test": ["predict"]},
        }[stage]
    )


def test_a_fault_of_the_test_set_shows_before_training(root, tmp_path):
    data = Across(portraits(root), FRWild(str(tmp_path / "nowhere"), size=16))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.prepare_data()
    (tmp_path / "lq").mkdir()
    data = Across(portraits(root), FaceRenov(str(tmp_path), size=16))
    data.prepare_data()
    with pytest.raises(FileNotFoundError, match=r"no pairs in .*test"):
        data.setup("fit")


class Places(pl.LightningModule):
    """Keeps the names of what it gets."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = {"fit": [], "validate": [], "test": []}

    def training_step(self, batch):
        self.seen["fit"] += batch["name"]
        return self.weight.sum()

    def validation_step(self, batch):
        self.seen["validate"] += batch["name"]

    def test_step(self, batch):
        self.seen["test"] += batch["name"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_trainer_is_known_to_both_sets_and_takes_their_batches(root, tmp_path):
    data = Across(portraits(root), real(root, loading=Loading(0)))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=5,
        val_check_interval=5,
        check_val_every_n_epoch=None,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Places()
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    assert data.train.trainer is data.test.trainer is trainer
    assert module.seen["fit"] == names(islice(ready(portraits(root)).train_dataloader(), 5))
    assert module.seen["validate"][-2:] == ["60000", "60001"]
    assert module.seen["test"] == [f"test/lq/{k:05d}" for k in range(3)]


def test_the_ranks_of_the_trainer_reach_both_sets(root):
    both = Across(portraits(root), real(root, loading=Loading(0)))
    both.trainer = type("Ranks", (), {"global_rank": 1, "world_size": 2})()
    ready(both)
    assert names(both.test_dataloader()) == ["test/lq/00001"]
    assert names(both.val_dataloader()) == ["60001"]


def test_two_sizes_are_refused_and_one_is_told(root):
    with pytest.raises(ValueError, match="size 16 and test of 32; give both the same size"):
        Across(portraits(root), real(root, size=32))
    assert Across(portraits(root), real(root)).size == 16
    assert Across(portraits(root), pl.LightningDataModule()).size == 16


def test_settings_nest_two_sets_and_the_seed_of_the_run_is_that_of_training():
    told = """
    class_path: datamodules.across.Across
    init_args:
      train:
        class_path: datamodules.ffhq.FFHQ
        init_args: {root: somewhere, size: 64, splits: ffhqr}
      test:
        class_path: datamodules.frwild.FRWild
        init_args: {root: elsewhere, size: 64, batch_size: 3}
    """
    data = parsed(yaml.safe_load(told), seed=7)
    assert (type(data.train), type(data.test)) == (FFHQ, FRWild)
    assert (data.train.seed, data.train.splits, str(data.test.root)) == (7, "ffhqr", "elsewhere")


@pytest.mark.parametrize("scale", [None, "demo", "smoke"])
def test_the_protocol_s2r_trains_on_made_degradations_and_tests_on_real_ones(tmp_path, scale):
    data = built(tmp_path, "s2r", scale, seed=4)
    assert data.train.degradation == SuperResolution4()
    assert (type(data.train), type(data.test)) == (FFHQ, FaceRenov)
    assert data.size == {None: 512, "demo": 128, "smoke": 32}[scale]
    assert data.train.seed == 4


def test_the_protocol_s2r_runs_at_smoke_scale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ready(built(tmp_path, "s2r", "smoke"))
    (batch,) = islice(data.train_dataloader(), 1)
    for each in (batch, next(iter(data.val_dataloader())), next(iter(data.test_dataloader()))):
        assert each["image"].shape == each["target"].shape == (2, 3, 32, 32)


def test_the_three_protocols_are_told_from_each_other_by_their_sets_alone():
    s2s, s2r, r2r = (read(CONFIGS / "data" / f"{name}.yaml") for name in ("s2s", "s2r", "r2r"))
    assert s2s["data"] == s2r["data"]["init_args"]["train"]
    assert r2r["data"]["class_path"] == s2r["data"]["init_args"]["test"]["class_path"]
    for name, twin in (("s2s", "ffhq_sr4"), ("r2r", "facerenov")):
        assert read(CONFIGS / "data" / f"{name}.yaml") == read(CONFIGS / "data" / f"{twin}.yaml")


def test_one_folder_with_two_ways_of_splitting_it_is_refused(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}").mkdir()
        Image.fromarray(picture(16, 16, seed=number)).save(tmp_path / f"{number}" / "a.png")
    several = [Folder(str(tmp_path), 16, shares=shares) for shares in (Shares(), Shares(0.1, 0.5))]
    with pytest.raises(ValueError, match="photographs are trained on and tested on, the first is"):
        ready(Across(*several))
    ready(Across(several[0], Folder(str(tmp_path), 16)))
