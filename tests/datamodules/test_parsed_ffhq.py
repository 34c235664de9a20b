from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules.degradations.ispl import Noise
from datamodules.drawing.face import draw_parts
from datamodules.ffhq import FFHQ
from datamodules.loading import Loading
from datamodules.parsed_ffhq import ParsedFFHQ
from datamodules.parsing import Parsing
from datamodules.shard_packing import write_shards
from datamodules.synthetic import DrawnSet, write_drawn
from tests.datamodules.fragments import assert_same, built

DRAW = DrawnSet(train=6, val=2, test=2, size=32, photographs=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


def ready(root, stage="fit", kind=ParsedFFHQ, trainer=None, workers=0, **settings):
    settings = {"size": 32, "batch_size": 2, "draw": DRAW, "degradation": Noise()} | settings
    data = kind(str(root), loading=Loading(workers), **settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


def first(data, count):
    return list(islice(data.train_dataloader(), count))


def test_a_batch_is_that_of_ffhq_with_parsing_maps(root):
    ours, plain = ready(root), ready(root, kind=FFHQ)
    loaders = ("val_dataloader", "test_dataloader", "predict_dataloader")
    for batches, others in [
        (first(ours, 6), first(plain, 6)),
        *((list(getattr(ours, name)()), list(getattr(plain, name)())) for name in loaders),
    ]:
        for batch in batches:
            parsing = batch.pop("parsing")
            assert parsing.shape == (2, 19, 32, 32)
            assert parsing.dtype == torch.float32
            assert set(parsing.unique().tolist()) == {0, 1}
            assert (parsing.sum(1) == 1).all()
        assert_same(batches, others)
    assert "identity" in batch


def test_the_maps_of_drawn_faces_are_what_is_drawn(root):
    batch = next(iter(ready(root, "test").test_dataloader()))
    assert batch["name"] == ["65000/65000", "65000/65001"]
    for photograph, planes in enumerate(batch["parsing"]):
        assert np.array_equal(planes.argmax(0), draw_parts(*DRAW.shown(65_000 + photograph), 32))


def test_maps_are_drawn_beside_a_set_that_is_drawn_already(tmp_path):
    write_drawn(tmp_path, "ffhq", DRAW, workers=1)
    assert first(ready(tmp_path), 1)[0]["parsing"].any()


def test_an_interrupted_training_goes_on_where_it_was_and_workers_change_nothing(root):
    whole = first(ready(root, workers=2), 7)
    resumed = ready(root)
    resumed.first_batch = 4
    assert_same(whole[4:], first(resumed, 3))


def test_two_processes_share_the_test_set(root):
    shares = [
        ready(root, "test", trainer=SimpleNamespace(global_rank=rank, world_size=2))
        for rank in range(2)
    ]
    names = [name for data in shares for batch in data.test_dataloader() for name in batch["name"]]
    assert sorted(names) == ["65000/65000", "65000/65001"]


def test_a_set_without_maps_is_refused_and_what_to_do_told(tmp_path):
    write_drawn(tmp_path, "ffhq", DRAW, workers=1)
    for stage in ("prepare_data", "setup"):
        data = ParsedFFHQ(str(tmp_path), 32)
        with pytest.raises(FileNotFoundError, match=r"no folder .*parsing: put a parsing map"):
            getattr(data, stage)(*["fit"] * (stage == "setup"))


def test_a_photograph_without_its_map_is_named(tmp_path):
    ready(tmp_path)
    (tmp_path / "parsing/60000/60001.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 10 photographs have no parsing map.*is 60001"):
        ready(tmp_path, draw=None)


def test_maps_are_looked_for_where_the_settings_say(tmp_path):
    ready(tmp_path)
    (tmp_path / "parsing").rename(tmp_path / "labels")
    data = ready(tmp_path, draw=None, parsing=Parsing("labels", 30))
    assert first(data, 1)[0]["parsing"].shape == (2, 30, 32, 32)


def test_shards_are_refused_for_they_keep_no_maps(root, tmp_path):
    files = ready(root, kind=FFHQ)
    write_shards(tmp_path / "shards", files.packed_as, files.photographs)
    for stage in ("prepare_data", "setup"):
        data = ParsedFFHQ(str(tmp_path / "shards"), 32)
        with pytest.raises(ValueError, match="holds shards, which keep no parsing maps"):
            getattr(data, stage)(*["fit"] * (stage == "setup"))


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(ValueError, match="size must be 16 or more, got 8"):
        ParsedFFHQ("nowhere", 8)


def test_the_settings_of_ep_map_are_those_of_the_mosaics_but_for_the_maps(tmp_path):
    for scale in (None, "demo", "smoke"):
        ours = built(tmp_path, "ffhq_mosaic16_parsing", scale, seed=4)
        other = built(tmp_path, "ffhq_mosaic16", scale, seed=4)
        for name in ("root", "size", "degradation", "draw", "seed", "loading"):
            assert getattr(ours, name) == getattr(other, name)
        assert ours.parsing == Parsing()
