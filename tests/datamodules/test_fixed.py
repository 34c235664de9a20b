import re
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.fixed import FixedPairs, FixedSet
from datamodules.images import floats, planes
from datamodules.loading import Loading
from datamodules.testsets import Plan, finish, outstanding, write_photograph
from tests.datamodules.made import Made

HERE = Loading(workers=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for work in outstanding(tmp_path / "sets", Plan("ispl_tests", 0), Made(3)):
        write_photograph(work)
    finish(tmp_path / "sets")
    return tmp_path / "sets"


def ready(root: Path, test: str, **settings) -> FixedSet:
    data = FixedSet(str(root), test, loading=HERE, **settings)
    data.prepare_data()
    data.setup("test")
    return data


def test_a_batch_holds_the_degraded_photographs_beside_the_clean_ones(root: Path):
    (batch,) = ready(root, "noise", batch_size=3).test_dataloader()
    assert torch.equal(batch["target"][1], floats(planes(Made(3).picture(1))))
    assert not torch.equal(batch["image"][1], batch["target"][1])
    assert batch["name"] == [f"folder/{i:03d}_000" for i in range(3)]
    assert torch.equal(batch["label"], torch.tensor([[0.0, 1, 0]] * 3))
    assert all("noise" in told for told in batch["degradation"])


def test_prediction_sees_what_testing_sees_up_to_the_limit(root: Path):
    data = FixedSet(str(root), "blur", loading=Loading(workers=0, eval_limit=2))
    assert [b["name"] for b in data.predict_dataloader()] == [
        b["name"] for b in data.test_dataloader()
    ]
    assert len(data.test_dataloader()) == 2


def test_a_changed_and_a_missing_file_are_named(root: Path):
    changed, missing = sorted((root / "jpeg").rglob("*.png"))[:2]
    changed.write_bytes(changed.read_bytes() + b"x")
    missing.unlink()
    with pytest.raises(ValueError, match="2 of 6 pictures") as told:
        ready(root, "jpeg")
    assert f"{changed.name}: is not the file" in str(told.value)
    assert f"{missing.name}: is missing" in str(told.value)
    ready(root, "blur")


def test_a_set_that_is_not_there_is_told_with_those_that_are(root: Path, tmp_path: Path):
    for name in ("Test-X", "clean"):
        with pytest.raises(ValueError, match=f"no test set {name} in .* there are blur, full,"):
            FixedPairs(root, name)
    with pytest.raises(FileNotFoundError, match=re.escape("make prepare SET=nasfe_tests")):
        FixedSet(str(tmp_path / "none"), "blur").prepare_data()


def test_a_batch_of_none_is_refused(root: Path):
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        FixedSet(str(root), "blur", batch_size=0)


def test_two_readings_are_equal(root: Path):
    pairs = FixedPairs(root, "full")
    first, again = pairs[0, 1], FixedPairs(root, "full")[5, 1]
    assert np.array_equal(first["image"].numpy(), again["image"].numpy())
