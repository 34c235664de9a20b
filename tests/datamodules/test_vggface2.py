import pickle
from collections import Counter
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from datamodules.images import floats, planes, read_image, resize
from datamodules.index import list_index, make_index
from datamodules.loading import Loading
from datamodules.selection import PerPerson, Selection
from datamodules.synthetic import DrawnSet
from datamodules.vggface2 import HeldOut, VGGFace2, splits_of
from tests.datamodules.people import (
    Noise,
    assert_same_batches,
    first_batches,
    names_of,
    refuse_to_list,
    write_people,
)

PEOPLE = {f"n{i:06d}": 2 + i % 3 for i in range(12)}
PUBLISHED = {
    **{f"train/{person}": count for person, count in PEOPLE.items()},
    "test/m1": 3,
    "test/m2": 1,
}
SHARES = {"val": 0.25, "test": 0.25}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("published set"), PUBLISHED)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("plain set"), PEOPLE)


def ready(root, workers=0, stage="fit", trainer=None, first_batch=0, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    people = HeldOut(**SHARES, selection=settings.pop("selection", Selection()))
    settings = {"size": 16, "batch_size": 3, "degradation": Noise(), "people": people, **settings}
    data = VGGFace2(str(root), loading=loading, **settings)
    data.trainer = trainer
    data.first_batch = first_batch
    data.prepare_data()
    data.setup(stage)
    return data


def people_of(batches):
    return {name.rpartition("/")[0] for name in names_of(batches)}


def everything(data):
    return {
        "train": people_of(first_batches(data, 40)),
        "val": people_of(data.val_dataloader()),
        "test": people_of(data.test_dataloader()),
    }


def test_a_batch_has_images_targets_names_identities_labels_and_words(plain):
    data = ready(plain)
    (batch,) = first_batches(data, 1)
    assert batch.keys() == {"image", "target", "name", "identity", "label", "degradation"}
    for field in ("image", "target"):
        assert batch[field].shape == (3, 3, 16, 16)
        assert batch[field].dtype == torch.float32
    assert batch["label"].tolist() == [[0, 1, 0]] * 3
    trained = sorted(people_of(first_batches(data, 40)))
    expected = [trained.index(name.rpartition("/")[0]) for name in batch["name"]]
    assert batch["identity"].tolist() == expected


def test_people_of_a_plain_tree_are_in_one_split_each(plain):
    found = everything(ready(plain))
    assert {split: len(people) for split, people in found.items()} == {
        "train": 6,
        "val": 3,
        "test": 3,
    }
    assert set().union(*found.values()) == PEOPLE.keys()


def test_of_the_published_tree_people_of_train_are_held_out_for_validation(published):
    found = everything(ready(published))
    assert found["test"] == {"test/m1", "test/m2"}
    assert len(found["val"]) == 3
    assert found["train"] | found["val"] == {f"train/{person}" for person in PEOPLE}
    assert not found["train"] & found["val"]


def test_who_is_held_out_does_not_depend_on_the_seed(plain):
    assert everything(ready(plain, seed=0)) == everything(ready(plain, seed=5))


def test_the_largest_square_in_the_middle_is_resized_and_in_evaluation_never_mirrored(plain):
    data = ready(plain)
    for batch in (*data.val_dataloader(), *data.test_dataloader()):
        for name, target in zip(batch["name"], batch["target"], strict=True):
            picture = read_image(plain / f"{name}.jpg")
            top = (len(picture) - 20) // 2
            assert torch.equal(target, floats(planes(resize(picture[top : top + 20], 16))))


def test_references_are_other_photographs_of_the_same_person_and_differ_by_epoch(plain):
    data = ready(plain, selection=Selection(references=2), batch_size=1, size=20)
    read = data._read
    known = {
        path.relative_to(plain).with_suffix("").as_posix(): floats(planes(read(path)))
        for path in plain.glob("*/*.jpg")
    }
    drawn = {}
    for batch in first_batches(data, 60):
        (name,) = batch["name"]
        chosen = [
            next(n for n, one in known.items() if torch.equal(one, reference))
            for reference in batch["references"][0]
        ]
        assert len(chosen) == 2
        assert name not in chosen
        assert {one.partition("/")[0] for one in chosen} == {name.partition("/")[0]}
        drawn.setdefault(name, set()).add(tuple(chosen))
    assert max(map(len, drawn.values())) > 1


def test_a_person_on_one_photograph_is_left_out_and_said(published, capsys):
    data = ready(published, selection=Selection(references=1))
    told = capsys.readouterr().err
    assert told == ("Left out: 1 people with 1 photographs from test (fewer than 2 of each)\n")
    assert people_of(data.test_dataloader()) == {"test/m1"}


def test_batches_of_people_hold_different_photographs_of_those_with_enough(plain, capsys):
    data = ready(plain, selection=Selection(batches=PerPerson(people=2, photographs=3)))
    assert "from train (fewer than 3 of each)" in capsys.readouterr().err
    for batch in first_batches(data, 12):
        assert Counter(Counter(batch["identity"].tolist()).values()) == {3: 2}
        assert len(set(batch["name"])) == 6
    people = people_of(first_batches(data, 30))
    assert all(PEOPLE[person] >= 3 for person in people)
    assert len(people_of(data.val_dataloader())) == 3


@pytest.mark.parametrize(
    "selection", [Selection(references=2), Selection(batches=PerPerson(2, 2)), Selection(subset=4)]
)
def test_training_goes_on_at_any_batch_bit_by_bit(plain, selection):
    whole = first_batches(ready(plain, selection=selection), 9)
    later = first_batches(ready(plain, selection=selection, first_batch=5), 4)
    assert_same_batches(later, whole[5:])


def test_two_workers_give_the_batches_of_none_bit_by_bit(published):
    selection = Selection(references=1, batches=PerPerson(2, 2))
    runs = []
    for workers in (0, 2):
        data = ready(published, workers, selection=selection)
        runs.append(first_batches(data, 7) + list(data.test_dataloader()))
    assert_same_batches(*runs)


def test_two_ranks_share_an_epoch_and_the_test_set_without_overlap(plain):
    ranks = []
    for rank in range(2):
        trainer = SimpleNamespace(global_rank=rank, world_size=2)
        data = ready(plain, trainer=trainer, batch_size=1)
        size = len(data.photographs["train"])
        ranks.append((names_of(first_batches(data, size // 2)), names_of(data.test_dataloader())))
    trained, tested = zip(*ranks, strict=True)
    assert len({*trained[0], *trained[1]}) == size // 2 * 2
    assert not {*tested[0]} & {*tested[1]}
    people = {name.partition("/")[0] for name in tested[0] + tested[1]}
    assert len(tested[0] + tested[1]) == sum(PEOPLE[person] for person in people)


def test_evaluation_is_alike_in_every_run_whatever_its_seed_and_training_is_not(plain):
    runs = [ready(plain, seed=seed, selection=Selection(references=1)) for seed in (0, 1)]
    assert_same_batches(*(list(run.test_dataloader()) for run in runs))
    assert_same_batches(*(list(run.predict_dataloader()) for run in runs))
    assert names_of(first_batches(runs[0])) != names_of(first_batches(runs[1]))


def test_workers_neither_list_nor_carry_the_set(plain, monkeypatch):
    data = ready(plain, workers=2, selection=Selection(references=1))
    loader = data.train_dataloader()
    refuse_to_list(monkeypatch)
    (batch,) = islice(loader, 1)
    assert len(batch["name"]) == 3
    assert b"n000000" not in pickle.dumps(loader.dataset)


def test_setting_up_after_preparing_opens_no_picture_and_lists_nothing(plain, monkeypatch):
    make_index(plain, "full")
    refuse_to_list(monkeypatch)
    monkeypatch.delattr("datamodules.reading.read_image")
    data = VGGFace2(str(plain), people=HeldOut(**SHARES))
    data.setup("fit")
    assert sum(map(len, data.photographs.values())) == sum(PEOPLE.values())


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        ((), FileNotFoundError, "there is no folder .*withdrawn by its authors; any other tree"),
        (("notes.txt",), ValueError, "holds no picture: it takes <person>/<picture>"),
        (("train/a/1.jpg",), FileNotFoundError, "there is .*train, but no .*test; add it"),
        (("test/a/1.jpg",), FileNotFoundError, "there is .*test, but no .*train; add it"),
        (("a/1.jpg", "0.jpg"), ValueError, "0.jpg lies in no person's folder; .*<person>/<pic"),
        (("a/b/1.jpg", "a/2.jpg"), ValueError, "a/b/1.jpg lies in no person's folder"),
        (("train/a/1.jpg", "test/2.jpg"), ValueError, r"2.jpg lies .*{train,test}/<person>"),
        (("train/a/1.jpg", "test/b/2.jpg", "c/3.jpg"), ValueError, "c/3.jpg lies in no person's"),
        (("train/a/1.jpg", "test/a/2.jpg"), ValueError, "both in train and in test.*first is a;"),
        (("a/1.jpg",), ValueError, "leave none of 1 people to train on"),
    ],
)
def test_what_is_wrong_with_a_tree_is_named(tmp_path, names, error, told):
    root = tmp_path / "set"
    touch(root, *names)
    data = VGGFace2(str(root), people=HeldOut(val=0.1, test=0.6))
    with pytest.raises(error, match=told):
        data.setup("fit")


def test_broken_pictures_are_named_before_anything_else(tmp_path):
    root = write_people(tmp_path, PEOPLE)
    (root / "n000003" / "0001_01.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1 of 36 pictures .*n000003/0001_01.jpg"):
        ready(root)


def test_a_split_without_people_is_named_before_training_and_only_where_it_is_needed(tmp_path):
    root = write_people(tmp_path, {"a": 2, "b": 2})
    people, loading = HeldOut(val=0.1, test=0.4), Loading(workers=0)
    data = VGGFace2(str(root), size=16, people=people, loading=loading)
    data.prepare_data()
    with pytest.raises(ValueError, match="nobody for val: hold out a larger share"):
        data.setup("fit")
    data.setup("test")
    assert len(names_of(data.test_dataloader())) == 2


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: VGGFace2("nowhere", size=15), "size must be 16 or more, got 15"),
        (lambda: VGGFace2("nowhere", batch_size=0), "got 0 and 0"),
        (lambda: HeldOut(val=-0.1), "got -0.1 and 0.1"),
        (lambda: HeldOut(val=0.5, test=0.5), "got 0.5 and 0.5"),
    ],
)
def test_settings_out_of_range_are_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_people_are_shared_out_by_their_folders_without_a_look_at_single_files(tmp_path):
    for i in range(200):
        touch(tmp_path, f"train/n{i:04d}/1.jpg", f"test/m{i:04d}/1.jpg")
    index = list_index(tmp_path)
    asked = []
    index.name = asked.append
    splits = splits_of(index, HeldOut(val=0.1))
    assert Counter(splits) == {"train": 180, "val": 20, "test": 200}
    assert asked == []


def test_drawn_faces_stand_in_for_the_set(tmp_path):
    draw = DrawnSet(train=16, val=2, test=2, size=32, photographs=2)
    data = ready(tmp_path / "drawn", draw=draw, size=32, selection=Selection(references=1))
    (batch,) = first_batches(data, 1)
    assert batch["references"].shape == (3, 1, 3, 32, 32)
    assert len(names_of(data.test_dataloader())) == 2


def test_people_in_the_news_are_read_as_any_other_tree(faces, tmp_path):
    for person in sorted((faces / "lfw").iterdir())[:12]:
        (tmp_path / person.name).symlink_to(person)
    selection = Selection(batches=PerPerson(people=4, photographs=4), references=1)
    data = ready(tmp_path, selection=selection, size=32, degradation=None)
    (batch,) = first_batches(data, 1)
    assert batch["image"].shape == (16, 3, 32, 32)
    assert Counter(Counter(batch["identity"].tolist()).values()) == {4: 4}
    assert batch["references"].shape == (16, 1, 3, 32, 32)
    found = [people_of(batches) for batches in (data.val_dataloader(), data.test_dataloader())]
    assert [len(people) for people in found] == [3, 3]
    assert not found[0] & found[1]
