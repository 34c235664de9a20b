import shutil
from itertools import chain, islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.degradations.ispl import Full, Noise
from datamodules.folder import Folder, Shares
from datamodules.images import read_image, resize
from datamodules.loading import Loading
from datamodules.shard_packing import write_shards
from datamodules.synthetic import MARKER, DrawnSet
from tests.datamodules.fragments import assert_same, built
from tests.datamodules.pictures import BROKEN, picture

THIRDS = Shares(0.3, 0.3)


def write(root, names):
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(30 + k, 50 - k, seed=k)).save(path)
    return root


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    kinds = ("png", "jpg", "webp", "tif")
    names = [f"{k:02d}.{kinds[k % 4]}" for k in range(8)]
    return write(tmp_path_factory.mktemp("flat"), [*names, "more/08.JPG", "more/deep/09.PNG"])


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    names = [f"person {p}/{where}{k}.png" for p in range(6) for k, where in enumerate(("", "x/"))]
    return write(tmp_path_factory.mktemp("people"), names)


def ready(root, stage="fit", trainer=None, workers=0, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    usual = {"size": 16, "batch_size": 2, "shares": THIRDS, "loading": loading}
    data = Folder(str(root), **usual | settings)
    data.trainer = trainer
    data.prepare_data()
    data.setup(stage)
    return data


def first(data, count):
    return list(islice(data.train_dataloader(), count))


def listed(data):
    return {
        split: [some.name(i) for i in range(len(some))] for split, some in data.photographs.items()
    }


def test_pictures_of_any_kind_and_shape_come_as_squares_beside_themselves_degraded(flat):
    batches = first(ready(flat, degradation=Noise()), 2)
    assert batches[0].keys() == {"image", "target", "name", "label", "degradation"}
    for field in ("image", "target"):
        assert batches[0][field].shape == (2, 3, 16, 16)
    assert not torch.equal(batches[0]["image"], batches[0]["target"])


def test_the_square_is_the_middle_of_the_photograph(flat):
    (batch, *_) = ready(flat, "test").test_dataloader()
    name = batch["name"][0]
    image = read_image(next(flat.glob(f"{name}.*")))
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    expected = resize(image[top : top + side, left : left + side], 16)
    assert np.array_equal(batch["target"][0].permute(1, 2, 0) * 255, expected)
    assert torch.equal(batch["image"], batch["target"])


def test_every_photograph_is_in_one_split(flat, people):
    for root in (flat, people):
        splits = listed(ready(root))
        every = {path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.*")}
        assert sorted(chain(*splits.values())) == sorted(every - {".visagist_index", "."})
        assert all(splits.values())


def test_nobody_who_has_a_folder_is_in_two_splits(people):
    splits = listed(ready(people))
    persons = {split: {name.partition("/")[0] for name in names} for split, names in splits.items()}
    assert sum(map(len, persons.values())) == len(set().union(*persons.values())) == 6
    assert {split: len(names) for split, names in splits.items()} == {
        "train": 4,
        "val": 4,
        "test": 4,
    }


def test_people_are_told_where_folders_tell_them(people, flat):
    data = ready(people)
    for batch in chain(first(data, 3), data.test_dataloader()):
        persons = [name.partition("/")[0] for name in batch["name"]]
        same = batch["identity"][0] == batch["identity"][1]
        assert bool(same) == (persons[0] == persons[1])
    assert set(chain(*(b["identity"].tolist() for b in first(data, 2)))) == {0, 1}
    assert "identity" not in first(ready(flat), 1)[0]


def test_a_photograph_stays_in_its_split_when_others_come(tmp_path):
    before = listed(ready(write(tmp_path, [f"{k}.png" for k in range(20)]), shares=Shares()))
    (tmp_path / "new.png").write_bytes((tmp_path / "0.png").read_bytes())
    after = listed(ready(tmp_path, shares=Shares()))
    moved = {name for split in before for name in {*before[split]} - {*after[split]}}
    assert len(moved) <= 1


def test_evaluation_is_degraded_alike_whatever_the_seed_and_training_is_not(flat):
    one, other = (ready(flat, degradation=Full(), seed=seed) for seed in (1, 2))
    for loader in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        assert_same(list(getattr(one, loader)()), list(getattr(other, loader)()))
    assert [b["name"] for b in first(one, 9)] != [b["name"] for b in first(other, 9)]


def test_workers_processes_and_resuming_leave_the_stream_as_it_is(flat):
    whole = first(ready(flat, degradation=Noise()), 10)
    assert_same(whole, first(ready(flat, degradation=Noise(), workers=2), 10))
    ranks = [SimpleNamespace(global_rank=r, world_size=2) for r in range(2)]
    parts = [first(ready(flat, degradation=Noise(), trainer=rank), 5) for rank in ranks]
    assert_same(whole, list(chain(*zip(*parts, strict=True))))
    resumed = ready(flat, degradation=Noise())
    resumed.first_batch = 3
    assert_same(whole[3:], first(resumed, 7))


def test_cached_copies_give_the_same_batches_and_are_read(people, tmp_path):
    shutil.copytree(people, tmp_path / "set")
    cached = ready(tmp_path / "set", loading=Loading(0, cache=True))
    assert listed(ready(tmp_path / "set")) == listed(cached)  # the copies are no photographs
    for path in (tmp_path / "set").glob("person*/**/*.png"):
        path.unlink()
    assert_same(first(ready(people), 4), first(cached, 4))


def test_photographs_in_shards_give_the_evaluation_of_those_in_files(people, tmp_path):
    files = ready(people, degradation=Noise())
    write_shards(tmp_path / "shards", files.packed_as, files.photographs)
    packed = ready(tmp_path / "shards", degradation=Noise())
    for loader in ("val_dataloader", "test_dataloader"):
        assert_same(list(getattr(files, loader)()), list(getattr(packed, loader)()))
    assert first(packed, 1)[0].keys() == first(files, 1)[0].keys()


def test_broken_files_are_refused_by_name_and_the_way_out_told(tmp_path):
    write(tmp_path, [f"{k}.png" for k in range(4)])
    for name, (content, _) in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    told = rf"^{len(BROKEN)} of {len(BROKEN) + 4} pictures .* and {len(BROKEN) - 5} more.*"
    with pytest.raises(ValueError, match=rf"{told}make prepare SET=folder FROM=.*") as caught:
        ready(tmp_path)
    assert sum(name in str(caught.value) for name in BROKEN) == 5
    for name in BROKEN:
        (tmp_path / name).unlink()
    assert len(first(ready(tmp_path), 1)) == 1


@pytest.mark.parametrize("stage", ["prepare_data", "setup"])
def test_a_missing_or_empty_folder_is_refused(tmp_path, stage):
    arguments = ["fit"] * (stage == "setup")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; name one of photographs"):
        getattr(Folder(str(tmp_path / "nowhere")), stage)(*arguments)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="there is no picture below"):
        getattr(Folder(str(tmp_path)), stage)(*arguments)


@pytest.mark.parametrize(
    ("names", "stage", "split"),
    [(["a/1.png", "a/2.png", "b/1.png"], "fit", "val"), (["1.png", "2.png"], "predict", "test")],
)
def test_too_few_people_for_the_shares_are_refused_before_anything_runs(
    tmp_path, names, stage, split
):
    told = f"no photograph below .* falls to {split} at shares of 0.1 for val and 0.1 for test"
    with pytest.raises(ValueError, match=f"{told}.*add people"):
        ready(write(tmp_path, names), stage, shares=Shares())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": 8}, "size must be 16 or more, got 8"),
        ({"batch_size": 0}, r"batch_size must be 1 or more .*got 0 and 0"),
        ({"seed": -1}, "seed 0 or more, got 1 and -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Folder("nowhere", **wrong)


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_shares_that_leave_a_split_empty_are_refused(shares):
    with pytest.raises(ValueError, match=f"got {shares[0]} and {shares[1]}"):
        Shares(*shares)


def test_faces_are_drawn_where_nothing_is_and_never_over_photographs(tmp_path, flat):
    draw = DrawnSet(train=4, val=2, test=2, size=32, photographs=2)
    data = ready(tmp_path / "new", size=32, draw=draw)
    assert (tmp_path / "new" / MARKER).exists()
    assert sum(map(len, listed(data).values())) == 8
    assert "identity" in first(data, 1)[0]
    before = sorted(flat.rglob("*"))
    ready(flat, draw=draw)
    assert sorted(flat.rglob("*")) == before


def test_the_settings_give_degraded_pictures_at_smoke_scale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published = built(tmp_path, "folder")
    assert (published.size, published.shares) == (512, Shares())
    assert built(tmp_path, "folder", "demo").size == 128
    data = built(tmp_path, "folder", "smoke", seed=4)
    assert (data.seed, data.degradation) == (4, Full())
    data.prepare_data()
    data.setup("fit")
    for batch in (first(data, 1)[0], next(iter(data.val_dataloader()))):
        assert batch["image"].shape == (2, 3, 32, 32)
        assert {"target", "identity", "degradation"} <= batch.keys()
