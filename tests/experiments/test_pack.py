from pathlib import Path

import numpy as np
import pytest

from datamodules.shards import shard_photographs
from datamodules.synthetic import DrawnSet, write_drawn
from experiments import pack
from experiments.settings import SettingsError

DRAWN = DrawnSet(train=10, val=2, test=2, size=32, photographs=2)


@pytest.fixture(scope="module", params=pack.SETS)
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp(request.param) / "set"
    write_drawn(root, request.param, DRAWN)
    return request.param, root


def test_every_layout_is_packed_as_its_class_reads_it(
    drawn: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    layout, root = drawn
    assert pack.main(layout, root, tmp_path / "shards", per_shard=4) == 0
    told = capsys.readouterr().out
    module = pack.data_set(layout, root)
    sharded = shard_photographs(tmp_path / "shards", module._read.frame, module.packed_as)
    for split, photographs in module.photographs.items():
        assert f"{split} {len(photographs)} in {-(-len(photographs) // 4)}" in told
        assert len(sharded[split]) == len(photographs)
        for i in range(len(photographs)):
            assert sharded[split].name(i) == photographs.name(i)
            assert np.array_equal(sharded[split].picture(i), photographs.picture(i))
        assert np.array_equal(sharded[split].people, photographs.people)


def test_a_set_reads_its_shards_as_it_reads_its_folder(drawn: tuple[str, Path], tmp_path: Path):
    layout, root = drawn
    pack.main(layout, root, tmp_path / "shards", per_shard=4)
    folder, sharded = (pack.data_set(layout, path) for path in (root, tmp_path / "shards"))
    for batch, other in zip(folder.test_dataloader(), sharded.test_dataloader(), strict=True):
        assert batch.keys() == other.keys()
        assert batch["name"] == other["name"]
        assert batch["image"].equal(other["image"])


def test_a_second_call_checks_the_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_drawn(tmp_path / "set", "folder", DRAWN)
    pack.main("folder", tmp_path / "set", tmp_path / "shards")
    pack.main("folder", tmp_path / "set", tmp_path / "shards")
    assert "were there already, and are whole" in capsys.readouterr().out
    path = tmp_path / "shards" / "train-000000.tar"
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"train-000000\.tar is damaged"):
        pack.main("folder", tmp_path / "set", tmp_path / "shards")


def test_a_small_set_is_packed_into_shards_enough_for_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write_drawn(tmp_path / "set", "ffhq", DRAWN)
    monkeypatch.setattr(pack, "SHARDS", 4)
    monkeypatch.setattr(pack, "LEAST", 1)
    pack.main("ffhq", tmp_path / "set", tmp_path / "shards")
    assert "train 10 in 5, val 2 in 1, test 2 in 1 shards" in capsys.readouterr().out
    monkeypatch.setattr(pack, "MOST", 1)
    pack.main("ffhq", tmp_path / "set", tmp_path / "more")
    assert "train 10 in 10, val 2 in 2, test 2 in 2 shards" in capsys.readouterr().out


def test_what_cannot_be_packed_is_told_in_one_line(tmp_path: Path):
    with pytest.raises(SettingsError, match="sets of ffhq, celeba, vggface2, folder can be read"):
        pack.main("ffhqr", tmp_path, tmp_path / "shards")
    with pytest.raises(SettingsError, match="there is no folder"):
        pack.main("folder", tmp_path / "none", tmp_path / "shards")
    write_drawn(tmp_path / "set", "folder", DRAWN)
    pack.main("folder", tmp_path / "set", tmp_path / "shards")
    with pytest.raises(SettingsError, match="holds shards already"):
        pack.main("folder", tmp_path / "shards", tmp_path / "more")


def test_the_size_is_left_to_the_caller_where_the_layout_leaves_it_open(drawn: tuple[str, Path]):
    layout, root = drawn
    shape = pack.data_set(layout, root, 24).photographs["test"].picture(0).shape
    assert shape == ((176, 144, 3) if layout == "celeba" else (24, 24, 3))
