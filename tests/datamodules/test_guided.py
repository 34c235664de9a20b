from itertools import islice
from pathlib import Path

import pytest
import torch

from datamodules.guided import GuidedPeople, GuidedPhotographs
from datamodules.guides import AnotherPerson, AverageFace
from datamodules.loading import Loading
from datamodules.photographs import DegradedPhotographs, Making
from datamodules.synthetic import DrawnSet
from datamodules.targets import Choice
from datamodules.vggface2 import HeldOut
from tests.datamodules.test_guides import Some

DRAWN = DrawnSet(train=12, val=4, test=4, size=64, photographs=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn") / "people"


def module(root: Path, first_batch: int = 0, size: int = 32) -> GuidedPeople:
    chosen = Choice([AverageFace(), AnotherPerson()], count=1)
    made = GuidedPeople(
        str(root),
        chosen,
        size,
        3,
        HeldOut(val=0.3),
        draw=DRAWN,
        seed=4,
        loading=Loading(workers=0),
    )
    made.first_batch = first_batch
    made.prepare_data()
    made.setup("fit")
    return made


def test_training_photographs_come_with_a_guide_from_each(root: Path):
    batch = next(iter(module(root).train_dataloader()))
    assert batch["image"].shape == (3, 3, 32, 32)
    assert batch["guides"].shape == (3, 2, 3, 32, 32)
    assert batch["guides"].dtype == torch.float32
    assert 0 <= batch["guides"].min() < batch["guides"].max() <= 1
    assert torch.equal(batch["guides"][0, 0], batch["guides"][2, 0])
    assert not torch.equal(batch["guides"][0, 1], batch["guides"][0, 0])


def test_a_stream_goes_on_in_its_middle(root: Path):
    whole = list(islice(module(root).train_dataloader(), 5))
    rest = list(islice(module(root, 3).train_dataloader(), 2))
    for one, other in zip(whole[3:], rest, strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["guides"], other["guides"])


def test_guides_are_drawn_anew_in_each_epoch_and_alike_by_the_seed():
    photographs = DegradedPhotographs(Some(20), Making(None, None, 0))
    data, again, other = (GuidedPhotographs(photographs, [AnotherPerson()], s) for s in (1, 1, 2))
    first = [data[0, i]["guides"] for i in range(20)]
    assert all(torch.equal(guide, again[0, i]["guides"]) for i, guide in enumerate(first))
    assert not all(torch.equal(guide, data[1, i]["guides"]) for i, guide in enumerate(first))
    assert not all(torch.equal(guide, other[0, i]["guides"]) for i, guide in enumerate(first))
    assert len(data) == 20


def test_validation_and_testing_are_of_other_people_in_one_batch(root: Path):
    made = module(root)
    (val,), (test,), (predict,) = (
        made.val_dataloader(),
        made.test_dataloader(),
        made.predict_dataloader(),
    )
    assert [name.split("/")[0] for name in val["name"]] == ["train"]  # held out of it
    assert [name.split("/")[0] for name in test["name"]] == ["test"]
    assert predict["name"] == test["name"]
    seen = {
        name.split("/")[1] for batch in islice(made.train_dataloader(), 8) for name in batch["name"]
    }
    assert val["name"][0].split("/")[1] not in seen


def test_faces_are_those_of_people_to_train_on(root: Path):
    assert module(root).faces(3).shape == (3, 3, 32, 32)


def test_a_size_below_what_networks_take_is_refused(root: Path):
    with pytest.raises(ValueError, match="size must be 16 or more, got 8"):
        module(root, size=8)
