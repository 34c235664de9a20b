import hashlib
import io
import json
import os
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import webdataset

from datamodules.shard_packing import check_shards, write_shards
from datamodules.shard_stream import DamagedShard
from tests.datamodules.packed import Files, pack, write_files
from tests.datamodules.pictures import damage


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def order(path):
    with tarfile.open(path) as shard:
        return list(dict.fromkeys(int(name.partition(".")[0]) for name in shard.getnames()))


class Killed(Files):
    """Photographs of which one cannot be read: packing stops there."""

    def path(self, i):
        if i == 17:
            raise KeyboardInterrupt
        return super().path(i)


# webdataset's own reader leaves files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_shard_holds_the_bytes_of_the_files_and_what_is_told_of_them(tmp_path):
    people = np.array([3, 3, 9])
    files = write_files(tmp_path / "files", 3, people=people, ending="jpg")
    write_shards(tmp_path / "shards", "drawn", {"test": files})
    path = tmp_path / "shards" / "test-000000.tar"
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["00000000", "00000001", "00000002"]
    for i, sample in enumerate(samples):
        assert sample["jpg"] == files.path(i).read_bytes()
        assert json.loads(sample["json"]) == {"name": f"folder/face {i}", "person": people[i]}


def test_the_manifest_tells_of_every_shard(tmp_path):
    _, root = pack(tmp_path, {"train": 25, "val": 3, "test": 0})
    told = json.loads((root / "shards.json").read_text())
    assert told["set_name"] == "drawn"
    shards = {
        split: [shard["samples"] for shard in found] for split, found in told["splits"].items()
    }
    assert shards == {"train": [10, 10, 5], "val": [3], "test": []}
    for shard in (shard for found in told["splits"].values() for shard in found):
        data = (root / shard["file"]).read_bytes()
        assert shard["bytes"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_index_says_where_the_bytes_lie(tmp_path):
    photographs, root = pack(tmp_path, {"train": 25})
    rows = np.load(root / "index-train.npy")
    assert len(rows) == 25
    for i, row in enumerate(rows):
        data = (root / f"train-{row['shard']:06d}.tar").read_bytes()
        picture = data[row["picture"] : row["picture"] + row["picture_bytes"]]
        told = data[row["told"] : row["told"] + row["told_bytes"]]
        assert picture == photographs["train"].path(i).read_bytes()
        assert json.loads(told)["name"] == photographs["train"].name(i)


def test_training_photographs_are_shuffled_by_the_seed_and_the_others_keep_their_order(tmp_path):
    files = write_files(tmp_path / "files", 40)
    found = []
    for seed in range(2):
        write_shards(tmp_path / str(seed), "drawn", {"train": files, "val": files}, seed=seed)
        found.append(order(tmp_path / str(seed) / "train-000000.tar"))
        assert order(tmp_path / str(seed) / "val-000000.tar") == list(range(40))
    assert found[0] != found[1]
    assert sorted(found[0]) == sorted(found[1]) == list(range(40))
    assert found[0] != list(range(40))


def test_the_same_photographs_give_the_same_bytes(tmp_path):
    one, two = (write_files(tmp_path / name, 12) for name in ("one", "two"))
    os.utime(two.path(0), (1, 1))
    two.path(1).chmod(0o600)
    for name, files in (("a", one), ("b", two)):
        write_shards(tmp_path / name, "drawn", {"train": files}, per_shard=5)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_packing_that_was_killed_goes_on_and_keeps_what_is_finished(tmp_path):
    files = write_files(tmp_path / "files", 25)
    root = tmp_path / "shards"
    with pytest.raises(KeyboardInterrupt):
        write_shards(root, "drawn", {"val": Killed(files.paths)}, per_shard=5)
    assert not (root / "shards.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in root.glob("*.tar")}
    assert len(kept) == 3
    write_shards(root, "drawn", {"val": files}, per_shard=5)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    write_shards(tmp_path / "whole", "drawn", {"val": files}, per_shard=5)
    assert contents(root) == contents(tmp_path / "whole")


def test_a_shard_that_was_cut_off_meanwhile_is_written_again(tmp_path):
    files = write_files(tmp_path / "files", 25)
    root = tmp_path / "shards"
    with pytest.raises(KeyboardInterrupt):
        write_shards(root, "drawn", {"val": Killed(files.paths)}, per_shard=5)
    os.truncate(root / "val-000001.tar", 100)
    write_shards(root, "drawn", {"val": files}, per_shard=5)
    check_shards(root)


def test_a_second_call_writes_nothing(tmp_path):
    photographs, root = pack(tmp_path, {"train": 12})
    before = {path: path.stat().st_mtime_ns for path in root.iterdir()}
    write_shards(root, "drawn", photographs, per_shard=10)
    assert {path: path.stat().st_mtime_ns for path in root.iterdir()} == before


@pytest.mark.parametrize("other", ["fewer", "people", "shards", "seed"])
def test_shards_of_other_photographs_are_left_alone(tmp_path, other):
    photographs, root = pack(tmp_path, {"train": 12})
    files, per_shard, seed = photographs["train"], 10, 0
    if other == "fewer":
        files = Files(files.paths[:-1])
    if other == "people":
        files = replace(files, people=np.arange(12))
    per_shard, seed = (5 if other == "shards" else 10), int(other == "seed")
    with pytest.raises(ValueError, match=r"shards\.json tells of other photographs"):
        write_shards(root, "drawn", {"train": files}, per_shard, seed)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    files = write_files(tmp_path / "files", 1)
    with pytest.raises(ValueError, match="is not empty"):
        write_shards(tmp_path / "files", "drawn", {"train": files})
    with pytest.raises(ValueError, match="is not empty"):
        write_shards(files.path(0), "drawn", {"train": files})


@pytest.mark.parametrize(("per_shard", "seed"), [(0, 0), (1, -1)])
def test_numbers_out_of_range_are_refused(tmp_path, per_shard, seed):
    with pytest.raises(ValueError, match=f"got {per_shard}, {seed}"):
        write_shards(tmp_path, "drawn", {}, per_shard, seed)


def test_without_webdataset_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[shards\]'"):
        write_shards(tmp_path, "drawn", {})


def test_a_damaged_shard_is_found_by_its_checksum(tmp_path):
    _, root = pack(tmp_path, {"train": 25, "val": 3})
    check_shards(root)
    damage(root / "train-000001.tar")
    with pytest.raises(DamagedShard, match=r"train-000001\.tar is damaged"):
        check_shards(root)


def test_members_tell_nothing_of_the_machine(tmp_path):
    _, root = pack(tmp_path, {"val": 2})
    with tarfile.open(fileobj=io.BytesIO((root / "val-000000.tar").read_bytes())) as shard:
        told = {(m.uid, m.gid, m.uname, m.gname, m.mode, m.mtime) for m in shard}
    assert told == {(0, 0, "visagist", "visagist", 0o444, 0)}
