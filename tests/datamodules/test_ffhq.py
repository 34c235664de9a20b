import json
import shutil
from itertools import chain, islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.degradations.ispl import Mosaic16, Noise
from datamodules.ffhq import DIVISIONS, FFHQ
from datamodules.loading import Loading
from datamodules.numbered import RAW
from datamodules.shard_packing import write_shards
from datamodules.synthetic import MARKER, DrawnSet
from tests.datamodules.fragments import assert_same, built
from tests.datamodules.pictures import BROKEN, picture

NUMBERS = [*range(9), 9999, 10000, 60000, 60001, 64999, 65000, 65001, 69999]
TASKS = ["sr4", "mosaic16", "noise", "blur", "jpeg", "full", "weather"]
TASKS += ["gfpgan", "codeformer", "gpen", "restoreformer"]


def write(root, numbers, size=16):
    for number in numbers:
        path = root / RAW / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(size, size, seed=number)).save(path)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("portraits"), NUMBERS)


def ready(root, stage="fit", trainer=None, workers=0, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    data = FFHQ(str(root), **{"size": 16, "batch_size": 2, "loading": loading} | settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


def first(data, count):
    return list(islice(data.train_dataloader(), count))


def names(loader):
    return [name.rpartition("/")[2] for batch in loader for name in batch["name"]]


def test_a_training_batch_has_images_targets_and_what_was_done(root):
    (batch,) = first(ready(root, degradation=Noise()), 1)
    assert batch.keys() == {"image", "target", "name", "label", "degradation"}
    for field in ("image", "target"):
        assert batch[field].shape == (2, 3, 16, 16)
        assert batch[field].dtype == torch.float32
        assert 0 <= batch[field].min() < batch[field].max() <= 1
    assert not torch.equal(batch["image"], batch["target"])
    assert batch["label"].tolist() == [[0, 1, 0]] * 2
    assert all("sigma" in told or "noise" in told for told in batch["degradation"])


def test_without_a_degradation_the_image_is_the_target(root):
    (batch,) = first(ready(root), 1)
    assert batch.keys() == {"image", "target", "name"}
    assert torch.equal(batch["image"], batch["target"])


@pytest.mark.parametrize("splits", DIVISIONS)
def test_photographs_are_in_the_split_of_their_number(tmp_path, splits):
    edges = {n for numbers in DIVISIONS[splits].values() for n in (numbers[0], numbers[-1])}
    beyond = 10000 if splits == "ispl" else 69999  # ISPL uses 20,000 of the photographs
    data = ready(write(tmp_path, sorted(edges | {beyond})), splits=splits)
    for split, numbers in DIVISIONS[splits].items():
        photographs = data.photographs[split]
        found = [int(photographs.name(i)[-5:]) for i in range(len(photographs))]
        assert found == [numbers[0], numbers[-1]]


def test_the_splits_of_ispl_are_those_of_its_code():
    ispl = DIVISIONS["ispl"]
    assert (ispl["train"], ispl["test"]) == (range(10000), range(65000, 70000))
    assert not set(ispl["val"]) & (set(ispl["train"]) | set(ispl["test"]))


def test_evaluation_shows_each_photograph_of_its_split_once_over_all_processes(root):
    for loader, numbers in (("val", [60000, 60001, 64999]), ("test", [65000, 65001, 69999])):
        found = []
        for rank in range(2):
            trainer = SimpleNamespace(global_rank=rank, world_size=2)
            found += names(getattr(ready(root, trainer=trainer), f"{loader}_dataloader")())
        assert sorted(map(int, found)) == numbers


def test_evaluation_pictures_are_those_of_the_files_and_not_mirrored(root):
    for batch in ready(root, "test").predict_dataloader():
        for i, name in enumerate(batch["name"]):
            pixels = np.asarray(Image.open(root / RAW / f"{name}.png"))
            assert np.array_equal(batch["target"][i].permute(1, 2, 0) * 255, pixels)


def test_evaluation_is_degraded_alike_in_every_run_and_unlike_from_picture_to_picture(root):
    one, other = (ready(root, "test", degradation=Noise(), seed=seed) for seed in (1, 2))
    batches = list(one.test_dataloader())
    assert_same(batches, list(other.test_dataloader()))
    assert_same(batches, list(one.test_dataloader()))
    noise = torch.cat([batch["image"] - batch["target"] for batch in batches])
    assert len({tuple(each.flatten().tolist()) for each in noise}) == 3


def test_the_seed_decides_on_the_order_and_the_degradation_of_training(root):
    one, same, other = (ready(root, degradation=Noise(), seed=seed) for seed in (1, 1, 2))
    assert_same(first(one, 12), first(same, 12))
    assert names(first(one, 12)) != names(first(other, 12))


def test_a_photograph_is_mirrored_and_degraded_anew_in_each_epoch(root):
    data = ready(root, degradation=Noise())
    samples = data.train_dataloader().dataset
    seen = [samples[epoch, 0] for epoch in range(12)]
    ways = {tuple(sample["target"].flatten().tolist()) for sample in seen}
    noises = {tuple((s["image"] - s["target"]).flatten().tolist()) for s in seen}
    assert (len(ways), len(noises)) == (2, 12)


def test_two_workers_give_the_batches_of_none(root):
    runs = [first(ready(root, workers=w, degradation=Noise()), 12) for w in (0, 2)]
    assert_same(*runs)


@pytest.mark.parametrize("step", [1, 4, 5, 9])  # an epoch has 10 samples, 5 batches
def test_a_resumed_stream_equals_the_uninterrupted_one(root, step):
    resumed = ready(root, degradation=Noise())
    resumed.first_batch = step
    assert_same(first(ready(root, degradation=Noise()), step + 3)[step:], first(resumed, 3))


def test_two_processes_share_the_stream_of_one(root):
    ranks = [
        first(ready(root, trainer=SimpleNamespace(global_rank=r, world_size=2)), 6)
        for r in range(2)
    ]
    assert_same(first(ready(root), 12), list(chain(*zip(*ranks, strict=True))))


def test_cached_copies_give_the_same_batches_and_only_of_what_is_used(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    expected = first(ready(root), 5)
    cached = ready(tmp_path / "set", loading=Loading(0, cache=True))
    kept = (tmp_path / "set" / ".cache").rglob("*")
    copies = {path.name[:5] for path in kept if path.is_file()}
    assert copies == {f"{n:05d}" for n in NUMBERS if n != 10000}
    shutil.rmtree(tmp_path / "set" / RAW / "00000")
    assert_same(expected, first(cached, 5))


def test_a_set_in_shards_gives_the_evaluation_of_the_set_in_files(root, tmp_path):
    files = ready(root, degradation=Noise())
    write_shards(tmp_path / "shards", files.packed_as, files.photographs)
    packed = ready(tmp_path / "shards", degradation=Noise())
    for loader in ("val_dataloader", "test_dataloader"):
        assert_same(list(getattr(files, loader)()), list(getattr(packed, loader)()))
    trained = first(packed, 5)
    assert trained[0].keys() == first(files, 1)[0].keys()
    assert {*names(trained)} <= {*names(first(files, 5))}


def test_faces_are_drawn_where_nothing_is_and_their_people_known(tmp_path):
    draw = DrawnSet(train=4, val=2, test=2, size=32, photographs=2)
    data = ready(tmp_path / "new", size=32, draw=draw)
    assert {split: len(some) for split, some in data.photographs.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    assert (tmp_path / "new" / MARKER).exists()
    assert sorted(chain(*(batch["identity"].tolist() for batch in first(data, 2)))) == [0, 0, 1, 1]
    assert next(iter(data.test_dataloader()))["identity"].tolist() == [0, 0]
    assert not (tmp_path / "new" / "FFHQR").exists()


def test_photographs_are_never_drawn_over(root):
    before = sorted(root.rglob("*.png"))
    ready(root, draw=DrawnSet(train=1, val=1, test=1, size=32))
    assert sorted(root.rglob("*.png")) == before


def test_somebody_in_two_splits_of_a_prepared_set_is_refused(tmp_path):
    write(tmp_path, [0, 1, 60000, 65000])
    people = {"anna": [0, 65000], "ben": [1], "eva": [60000]}
    told = {"photographs": [{"group": g, "numbers": n} for g, n in people.items()]}
    (tmp_path / "prepared.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"1 people are both in train and in test.*is anna"):
        ready(tmp_path)


@pytest.mark.parametrize(
    ("stage", "numbers", "split"),
    [
        ("fit", [0, 60000], "test: none in images1024x1024 is numbered 65000 to 69999"),
        ("fit", [60000, 65000], "train: none in images1024x1024 is numbered 00000 to 09999"),
        ("validate", [0, 65000], "val: none in images1024x1024 is numbered 60000 to 64999"),
        ("predict", [0], "test: none"),
    ],
)
def test_a_split_without_photographs_is_named_before_anything_runs(tmp_path, stage, numbers, split):
    with pytest.raises(ValueError, match=f"holds no photograph for {split}"):
        ready(write(tmp_path, numbers), stage)


def test_a_command_needs_its_own_split_only(tmp_path):
    assert names(ready(write(tmp_path, [65000]), "test").test_dataloader()) == ["65000"]


def test_a_missing_set_is_refused_and_how_to_get_it_told(tmp_path):
    for stage in ("prepare_data", "setup"):
        data = FFHQ(str(tmp_path / "nowhere"))
        with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; .*make prepare"):
            getattr(data, stage)(*["fit"] * (stage == "setup"))


def test_broken_pictures_are_refused_by_name(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    half = tmp_path / "set" / RAW / "00000"
    for number, kind in enumerate(["empty.png", "truncated.png", "text.png"]):
        (half / f"{number:05d}.png").write_bytes(BROKEN[kind][0])
    Image.fromarray(picture(16, 20)).save(half / "00003.png")
    with pytest.raises(ValueError, match=r"^4 of 16 pictures .*00000\.png.*20 x 16, not square"):
        ready(tmp_path / "set")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": 8}, "size must be 16 or more, got 8"),
        ({"splits": "mine"}, "splits must be one of ispl, ffhqr, got mine"),
        ({"batch_size": 0}, "batch_size must be 1 or more .*got 0 and 0"),
        ({"seed": -1}, "seed 0 or more, got 1 and -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        FFHQ("nowhere", **wrong)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.mark.parametrize("task", TASKS)
def test_the_settings_of_a_task_give_degraded_pictures_at_smoke_scale(task, drawn, monkeypatch):
    monkeypatch.chdir(drawn)  # all tasks share one set
    published = built(drawn, f"ffhq_{task}")
    assert (published.size, published.splits, str(published.root)) == (512, "ispl", "data/ffhq")
    assert built(drawn, f"ffhq_{task}", "demo").size == 128
    data = built(drawn, f"ffhq_{task}", "smoke", seed=4)
    assert data.seed == 4
    assert type(data.degradation) is type(published.degradation)
    data.prepare_data()
    data.setup("fit")
    for batch in (first(data, 1)[0], next(iter(data.val_dataloader()))):
        assert batch["image"].shape == (2, 3, 32, 32)
        assert not torch.equal(batch["image"], batch["target"])


def test_each_task_has_a_degradation_of_its_own(tmp_path):
    kinds = {type(built(tmp_path, f"ffhq_{task}").degradation) for task in TASKS}
    assert len(kinds) == len(TASKS)
    assert Mosaic16 in kinds
