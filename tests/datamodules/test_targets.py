from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import reading
from datamodules.guides import AnotherPerson, AverageFace
from datamodules.images import floats, planes
from datamodules.loading import Loading
from datamodules.synthetic import DrawnSet
from datamodules.targets import Choice, Targets, first_faces, targets_of
from tests.datamodules.test_guides import Some

DRAWN = DrawnSet(train=6, val=4, test=9, size=64, photographs=3)


def choice(count: int = 2, gallery: int = 1, guides: int = 1) -> Choice:
    made = [AverageFace(), AnotherPerson()][:guides]
    return Choice(made, count, gallery)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn") / "people"


def module(root: Path, chosen: Choice | None = None) -> Targets:
    made = Targets(str(root), chosen or choice(), 32, draw=DRAWN, loading=Loading(workers=0))
    made.prepare_data()
    made.setup("fit")
    return made


def photographs(people: list[int]) -> Some:
    made = Some(len(people))
    made.people = np.array(people)
    return made


def grey(pictures: torch.Tensor) -> list[int]:
    return pictures[..., 0, 0, 0].mul(25.5).round().int().flatten().tolist()


def test_targets_are_first_photographs_and_the_gallery_the_others_of_everybody():
    chosen = choice(2, 2)
    chosen.guides[0].prepare(Some(2), reading.Covering(16, 16))
    # Nobody else is on two photographs but 4, 5 and 7.
    batch = targets_of(photographs([4, 1, 4, 5, 4, 5, 7, 7, 4]), chosen)
    assert grey(batch["image"]) == [0, 3]
    assert batch["name"] == ["0", "3"]
    assert batch["identity"].tolist() == [0, 1]
    assert grey(batch["gallery"]) == [2, 4, 5, 7]
    assert batch["gallery_identity"].tolist() == [0, 0, 1, 2]


def test_pictures_are_floats_and_guides_stand_beside_each_target(root: Path):
    batch = module(root, choice(3, guides=2)).targets
    assert batch["image"].shape == (3, 3, 32, 32)
    assert batch["guides"].shape == (3, 2, 3, 32, 32)
    for name in ("image", "guides", "gallery"):
        assert batch[name].dtype == torch.float32
        assert 0 <= batch[name].min() < batch[name].max() <= 1
    assert torch.equal(batch["guides"][0, 0], batch["guides"][1, 0])
    assert not torch.equal(batch["guides"][0, 1], batch["guides"][0, 0])


def test_everything_is_the_same_when_it_is_read_again(root: Path):
    one, two = (module(root, choice(3, guides=2)).targets for _ in range(2))
    assert one.keys() == two.keys()
    assert one["name"] == two["name"]
    tensors = [name for name in one if name != "name"]
    assert all(torch.equal(one[name], two[name]) for name in tensors)


def test_training_sees_the_targets_again_and_again_without_reading_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    made = module(root)
    monkeypatch.setattr(reading, "read_image", None)  # nothing may be decoded any more
    batches = list(islice(made.train_dataloader(), 3))
    assert {*batches[0]} == {"image", "name", "identity", "guides"}
    assert all(torch.equal(batch["image"], made.targets["image"]) for batch in batches)


def test_evaluation_sees_the_targets_once_with_their_gallery(root: Path):
    made = module(root)
    for loader in (made.val_dataloader(), made.test_dataloader(), made.predict_dataloader()):
        (batch,) = loader
        assert batch.keys() == made.targets.keys()
        assert torch.equal(batch["gallery"], made.targets["gallery"])


def test_people_to_train_on_are_not_among_the_targets(root: Path):
    made = module(root, choice(3))
    assert {name.split("/")[0] for name in made.targets["name"]} == {"test"}
    faces = made.faces(2)
    assert faces.shape == (2, 3, 32, 32)
    assert not any(torch.equal(a, b) for a in faces for b in made.targets["image"])


def test_first_faces_are_one_for_each_person():
    faces = first_faces(photographs([3, 3, 1, 1, 2]), 2)
    wanted = [Some(5).picture(i) for i in (2, 4)]
    assert torch.equal(faces, floats(torch.stack([planes(each) for each in wanted])))


def test_people_on_single_photographs_cannot_be_recognised_and_are_refused():
    with pytest.raises(ValueError, match="nobody is on 2 photographs"):
        targets_of(photographs([0, 1, 2]), choice())
    with pytest.raises(ValueError, match="nobody whose photograph could be inverted"):
        targets_of(photographs([]), choice())


def test_a_choice_of_nothing_is_refused():
    for wrong in ({"count": 0}, {"gallery": 0}, {"guides": []}):
        with pytest.raises(ValueError, match="1 or more"):
            Choice(**{"guides": [AverageFace()], **wrong})
