import itertools
import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from datamodules.augmentation import Augmentation
from datamodules.degradations.base import Degradation, Degraded, Step
from datamodules.images import UnreadableImage, resize
from datamodules.loading import Feed, Loading, as_floats
from datamodules.photographs import DegradedPhotographs, Making
from datamodules.reading import Covering, Square
from datamodules.shard_stream import DamagedShard
from datamodules.shards import is_sharded, shard_photographs, training
from datamodules.stream import Purpose
from tests.datamodules.packed import Files, pack

import pytorch_lightning as pl  # isort: skip

COUNTS = {"train": 45, "val": 7, "test": 3}
PEOPLE = np.arange(45) // 3


@dataclass(frozen=True)
class Grey(Degradation):
    """Something whose draws show in every pixel."""

    def __call__(self, image, generator):
        value = int(generator.integers(256))
        return Degraded(np.full_like(image, value), (Step("noise", "grey", {"value": value}),))


@dataclass(frozen=True)
class Enlarged(Files):
    """The files of a folder, as their frame would give them."""

    def picture(self, i):
        return resize(super().picture(i), 20)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder, root = pack(tmp_path_factory.mktemp("packed"), COUNTS, 5, people=PEOPLE)
    return {split: Enlarged(files.paths, files.people) for split, files in folder.items()}, root


def feed(workers=0, first_batch=0, batch_size=4):
    module = pl.LightningDataModule()
    module.first_batch = first_batch
    return Feed(module, batch_size, 0, Loading(workers=workers))


def degraded(photographs, references=0):
    return DegradedPhotographs(photographs, Making(Grey(), Augmentation(), 0), references)


def assert_alike(batch, other):
    assert batch.keys() == other.keys()
    for key, value in batch.items():
        same = torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        assert same, key


def first(loader, count):
    return list(itertools.islice(iter(loader), count))


def test_a_folder_with_a_manifest_is_sharded(packed, tmp_path):
    assert is_sharded(packed[1])
    assert not is_sharded(tmp_path)
    assert not is_sharded(tmp_path / "none")
    (tmp_path / "shards.unfinished.json").touch()
    assert is_sharded(tmp_path)


def test_shards_of_another_set_or_split_are_refused(packed):
    with pytest.raises(ValueError, match="holds shards of drawn, and the settings ask for ffhq"):
        shard_photographs(packed[1], Square(20), "ffhq")


def test_a_split_that_was_not_packed_is_empty(tmp_path):
    _, root = pack(tmp_path, {"train": 2})
    photographs = shard_photographs(root, Square(16), "drawn")
    assert {split: len(some) for split, some in photographs.items()} == {
        "train": 2,
        "val": 0,
        "test": 0,
    }
    with pytest.raises(ValueError, match="needs shards with samples"):
        training(feed(), degraded(photographs["val"]))


@pytest.mark.parametrize("split", COUNTS)
def test_photographs_in_shards_are_those_in_the_folder_by_the_same_numbers(packed, split):
    folder, sharded = packed[0][split], shard_photographs(packed[1], Square(20), "drawn")[split]
    assert len(sharded) == len(folder) == COUNTS[split]
    for i in range(len(folder)):
        assert sharded.name(i) == folder.name(i)
        assert np.array_equal(sharded.picture(i), folder.picture(i))
    if split == "train":
        assert sharded.people.tolist() == PEOPLE.tolist()
    else:
        assert sharded.people is None


def test_evaluation_on_shards_is_that_on_the_folder(packed):
    making = Making(Grey(), None, 0, Purpose.EVALUATION)
    sharded = shard_photographs(packed[1], Square(20), "drawn")["val"]
    batches, others = (
        list(feed().evaluation(DegradedPhotographs(some, making), "val"))
        for some in (sharded, packed[0]["val"])
    )
    assert len(batches) == 2
    for batch, other in zip(batches, others, strict=True):
        assert_alike(batch, other)


def test_a_streamed_sample_is_what_the_folder_gives_for_its_number_and_epoch(packed):
    data = degraded(packed[0]["train"])
    stream = training(
        feed(batch_size=1), degraded(shard_photographs(packed[1], Square(20), "drawn")["train"])
    )
    place = {packed[0]["train"].name(i): i for i in range(45)}
    seen = set()
    for batch in first(stream, 60):
        number = place[batch["name"][0]]
        wanted = [torch.utils.data.default_collate([data[epoch, number]]) for epoch in range(4)]
        epoch = [other["degradation"] for other in wanted].index(batch["degradation"])
        assert_alike(batch, as_floats(wanted[epoch]))
        seen.add(number)
    assert len(seen) > 20


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_streamed_batches_do_not_depend_on_the_workers(packed, workers):
    data = degraded(shard_photographs(packed[1], Square(20), "drawn")["train"])
    for batch, other in zip(
        first(training(feed(workers, 3), data), 20),
        first(training(feed(), data), 23)[3:],
        strict=True,
    ):
        assert_alike(batch, other)


def test_workers_that_cannot_share_the_lanes_are_refused_before_they_start(packed):
    data = degraded(shard_photographs(packed[1], Square(20), "drawn")["train"])
    with pytest.raises(ValueError, match="one of 0, 1, 2, 4, 8, got 3"):
        training(feed(workers=3), data)


def test_a_training_on_a_folder_is_the_usual_one(packed):
    data = degraded(packed[0]["train"])
    for batch, other in zip(
        first(training(feed(), data), 12), first(feed().training(data), 12), strict=True
    ):
        assert_alike(batch, other)


def test_fewer_shards_than_lanes_are_read_at_random_and_it_is_said(tmp_path, capsys):
    folder, root = pack(tmp_path, {"train": 14}, 2)
    data = degraded(shard_photographs(root, Square(16), "drawn")["train"])
    for batch, other in zip(
        first(training(feed(), data), 8),
        first(feed().training(degraded(folder["train"])), 8),
        strict=True,
    ):
        assert_alike(batch, other)
    assert (
        "a stream needs 8 shards, 8 for each process, and there are 7: " in capsys.readouterr().err
    )


def test_with_references_shards_give_what_the_folder_gives(packed):
    sharded = degraded(shard_photographs(packed[1], Square(20), "drawn")["train"], references=2)
    folder = degraded(packed[0]["train"], references=2)
    for batch, other in zip(
        first(training(feed(), sharded), 12), first(training(feed(), folder), 12), strict=True
    ):
        assert_alike(batch, other)
        assert batch["references"].shape == (4, 2, 3, 20, 20)


def test_photographs_in_shards_can_be_sent_to_another_process(packed):
    photographs = shard_photographs(packed[1], Square(20), "drawn")["train"]
    again = pickle.loads(pickle.dumps(photographs))
    assert np.array_equal(again.picture(5), photographs.picture(5))


def test_a_damaged_picture_is_named_with_its_shard(tmp_path):
    _, root = pack(tmp_path, {"train": 8}, 1)
    photographs = shard_photographs(root, Square(16), "drawn")["train"]
    shard = int(photographs.rows[0]["shard"])
    path = root / f"train-{shard:06d}.tar"
    data = bytearray(path.read_bytes())
    data[int(photographs.rows[0]["picture"]) + 500] ^= 16
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match=rf"{path.name}: 00000000: cannot be decoded"):
        photographs.picture(0)
    with pytest.raises(UnreadableImage, match=rf"{path.name}: 00000000\.png: cannot be decoded"):
        first(training(feed(batch_size=1), degraded(photographs)), 8)


def test_a_picture_that_does_not_fit_the_frame_is_named(packed, tmp_path):
    class Refusing:
        name = "none"

        def __call__(self, image):
            raise UnreadableImage("is not wanted")

    photographs = shard_photographs(packed[1], Refusing(), "drawn")["test"]
    with pytest.raises(UnreadableImage, match=r"test-000000\.tar: 00000002: is not wanted"):
        photographs.picture(2)


def test_a_shard_that_changes_under_way_is_named(tmp_path):
    _, root = pack(tmp_path, {"train": 2})
    photographs = shard_photographs(root, Covering(16, 16), "drawn")["train"]
    path = root / "train-000000.tar"
    data = path.read_bytes()
    told = int(photographs.rows[1]["told"])
    path.write_bytes(data[:told] + b"?" + data[told + 1 :])
    with pytest.raises(DamagedShard, match=r"train-000000\.tar: what is told of 00000001"):
        photographs.name(1)
    path.write_bytes(data[:100])
    with pytest.raises(DamagedShard, match=r"train-000000\.tar ends too early"):
        photographs.picture(0)
    path.unlink()
    with pytest.raises(DamagedShard, match=r"train-000000\.tar cannot be read \(No such file"):
        photographs.picture(0)


def test_a_missing_shard_is_named_at_once(tmp_path):
    _, root = pack(tmp_path, {"train": 25})
    (root / "train-000002.tar").unlink()
    with pytest.raises(DamagedShard, match=r"train-000002\.tar is missing"):
        shard_photographs(root, Square(16), "drawn")


def test_shards_at_an_address_cannot_be_read_at_random(tmp_path):
    _, root = pack(tmp_path, {"train": 2})
    told = json.loads((root / "shards.json").read_text())
    (root / "shards.json").write_text(json.dumps(told | {"base": "https://example.org"}))
    photographs = shard_photographs(root, Square(16), "drawn")["train"]
    with pytest.raises(DamagedShard, match="can only be streamed; copy it here"):
        photographs.picture(0)
