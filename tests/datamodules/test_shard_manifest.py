import json

import numpy as np
import pytest

from datamodules.shard_manifest import Manifest, read_index
from datamodules.shard_stream import DamagedShard
from tests.datamodules.packed import pack


@pytest.fixture
def root(tmp_path):
    return pack(tmp_path, {"train": 25, "val": 3})[1]


def change(root, **told):
    path = root / "shards.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | told))


def test_a_manifest_is_read_as_it_was_written(root):
    manifest = Manifest.read(root)
    assert [shard.samples for shard in manifest.splits["train"]] == [10, 10, 5]
    assert [shard.place for shard in manifest.places(root, "val")] == [root / "val-000000.tar"]
    manifest.check_sizes(root, "train")


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_manifest_that_was_cut_off_is_refused(root, share):
    path = root / "shards.json"
    path.write_text(path.read_text()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"shards\.json is damaged .*copy or pack it again"):
        Manifest.read(root)


@pytest.mark.parametrize("content", ["[]", "{}", '{"splits": {"train": [{}]}}', '{"splits": []}'])
def test_a_manifest_of_something_else_is_refused(root, content):
    (root / "shards.json").write_text(content)
    with pytest.raises(ValueError, match=r"shards\.json is damaged"):
        Manifest.read(root)


def test_a_manifest_of_another_version_is_refused(root):
    change(root, version=2)
    with pytest.raises(ValueError, match="format version 2, but 1 is read here"):
        Manifest.read(root)


def test_a_set_whose_packing_was_killed_says_so(root):
    (root / "shards.json").rename(root / "shards.unfinished.json")
    with pytest.raises(ValueError, match="was not packed to its end"):
        Manifest.read(root)


def test_a_missing_shard_is_named(root):
    (root / "train-000001.tar").unlink()
    manifest = Manifest.read(root)
    manifest.check_sizes(root, "val")
    with pytest.raises(DamagedShard, match=r"train-000001\.tar is missing"):
        manifest.check_sizes(root, "train")


def test_a_shard_of_another_size_is_named(root):
    path = root / "train-000001.tar"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(DamagedShard, match=rf"train-000001\.tar has {size - 512} bytes .* {size};"):
        Manifest.read(root).check_sizes(root, "train")


def test_training_shards_may_lie_at_an_address(root):
    change(root, base="https://example.org/faces/")
    manifest = Manifest.read(root)
    places = [shard.place for shard in manifest.places(root, "train")]
    assert places[1] == "https://example.org/faces/train-000001.tar"
    assert manifest.places(root, "val")[0].place == root / "val-000000.tar"
    manifest.check_sizes(root, "train")


def test_training_shards_may_lie_in_another_folder(root, tmp_path):
    change(root, base="../far")
    for path in root.glob("train-*.tar"):
        path.parent.with_name("far").mkdir(exist_ok=True)
        path.rename(tmp_path / "far" / path.name)
    Manifest.read(root).check_sizes(root, "train")


@pytest.mark.parametrize("base", ["pipe:cat ", "s3://bucket", "file:/x"])
def test_an_address_that_is_not_http_is_refused(root, base):
    change(root, base=base)
    with pytest.raises(ValueError, match=f"got '{base}'"):
        Manifest.read(root).places(root, "train")


def test_a_missing_or_damaged_index_is_named(root):
    path = root / "index-train.npy"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"index-train\.npy cannot be read"):
        read_index(root, "train", 25)
    path.unlink()
    with pytest.raises(ValueError, match=r"index-train\.npy cannot be read"):
        read_index(root, "train", 25)


def test_a_split_that_was_not_packed_has_no_shards_and_no_rows(root):
    manifest = Manifest.read(root)
    assert manifest.splits["test"] == ()
    manifest.check_sizes(root, "test")
    assert len(read_index(root, "test", 0)) == 0


def test_an_index_of_something_else_is_refused(root):
    with pytest.raises(ValueError, match="its manifest says 26"):
        read_index(root, "train", 26)
    np.save(root / "index-train.npy", np.zeros(25))
    with pytest.raises(ValueError, match=r"25 rows of float64"):
        read_index(root, "train", 25)
