import pickle
from collections import Counter
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from datamodules.celeba import CelebA
from datamodules.images import floats, planes, read_image
from datamodules.loading import Loading
from datamodules.selection import PerPerson, Selection
from datamodules.synthetic import DrawnSet
from tests.datamodules.people import (
    CELEBA_SPLITS,
    Noise,
    assert_same_batches,
    first_batches,
    names_of,
    refuse_to_list,
    write_celeba,
    write_face,
)
from tests.datamodules.recorder import Recorder

COUNTS = {"train": [3, 4, 2, 1, 3], "val": [2, 1], "test": [3, 2]}
NAMES = {"val": [162_771, 162_772, 162_773], "test": [*range(182_638, 182_643)]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("faces set"), COUNTS)


def ready(root, workers=0, stage="fit", trainer=None, first_batch=0, **settings):
    loading = settings.pop("loading", Loading(workers=workers))
    settings = {"crop": (16, 16), "batch_size": 3, "degradation": Noise(), **settings}
    data = CelebA(str(root), loading=loading, **settings)
    data.trainer = trainer
    data.first_batch = first_batch
    data.prepare_data()
    data.setup(stage)
    return data


def person_of(name):
    """Numbered from 0 in each split; see COUNTS."""
    split = max((first, split) for split, (_, first) in CELEBA_SPLITS.items() if first <= int(name))
    return int(np.searchsorted(split[0] + np.cumsum(COUNTS[split[1]]), int(name), "right"))


def test_a_batch_has_images_targets_names_identities_labels_and_words(root):
    (batch,) = first_batches(ready(root), 1)
    assert batch.keys() == {"image", "target", "name", "identity", "label", "degradation"}
    for field in ("image", "target"):
        assert batch[field].shape == (3, 3, 16, 16)
        assert batch[field].dtype == torch.float32
        assert 0 <= batch[field].min() < batch[field].max() <= 1
    assert batch["label"].tolist() == [[0, 1, 0]] * 3
    assert batch["identity"].tolist() == [person_of(name) for name in batch["name"]]
    assert all(told.startswith("numbers first ") for told in batch["degradation"])


def test_the_official_splits_are_kept_and_evaluated_in_order(root):
    data = ready(root)
    assert {int(name) for name in names_of(first_batches(data, 10))} == {*range(1, 14)}
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        batches = list(loader)
        assert [int(name) for name in names_of(batches)] == NAMES[split]
        people = torch.cat([batch["identity"] for batch in batches]).tolist()
        assert people == [person_of(str(number)) for number in NAMES[split]]
    assert names_of(data.predict_dataloader()) == names_of(data.test_dataloader())


@pytest.mark.parametrize(
    ("crop", "part"),
    [
        ((176, 144), np.s_[21:197, 17:161]),
        (None, np.s_[:, :]),
        ((17, 16), np.s_[100:117, 81:97]),
    ],
)
def test_the_middle_is_cut_out_and_in_evaluation_never_mirrored(root, crop, part):
    for batch in ready(root, crop=crop).test_dataloader():
        for name, target in zip(batch["name"], batch["target"], strict=True):
            picture = read_image(root / "img_align_celeba" / f"{name}.jpg")[part]
            assert torch.equal(target, floats(planes(np.ascontiguousarray(picture))))


def test_references_are_other_photographs_of_the_same_person_and_differ_by_epoch(root):
    data = ready(root, selection=Selection(references=2), batch_size=1)
    where = root / "img_align_celeba"
    known = {
        path.stem: floats(planes(np.ascontiguousarray(read_image(path)[101:117, 81:97])))
        for path in where.glob("*.jpg")
    }
    drawn = {}
    for batch in first_batches(data, 60):
        (name,) = batch["name"]
        (references,) = batch["references"]
        assert references.shape == (2, 3, 16, 16)
        chosen = [next(n for n, one in known.items() if torch.equal(one, r)) for r in references]
        assert name not in chosen
        assert {person_of(one) for one in chosen} == {person_of(name)}
        drawn.setdefault(name, set()).add(tuple(chosen))
    assert max(map(len, drawn.values())) > 1


def test_people_on_one_photograph_are_left_out_of_all_splits_with_references_and_said(root, capsys):
    data = ready(root, selection=Selection(references=1))
    told = capsys.readouterr().err
    assert told == (
        "Left out: 1 people with 1 photographs from train (fewer than 2 of each); "
        "1 people with 1 photographs from val (fewer than 2 of each)\n"
    )
    assert len(set(names_of(first_batches(data, 12)))) == 12
    assert len(names_of(data.val_dataloader())) == 2
    people = {int(i) for batch in first_batches(data, 12) for i in batch["identity"]}
    assert people == {0, 1, 2, 3}


def test_batches_of_people_hold_different_photographs_of_each(root):
    selection = Selection(batches=PerPerson(people=2, photographs=3))
    data = ready(root, selection=selection)
    for batch in first_batches(data, 20):
        assert Counter(Counter(batch["identity"].tolist()).values()) == {3: 2}
        assert len(set(batch["name"])) == 6
    sizes = [len(batch["name"]) for batch in data.test_dataloader()]
    assert sizes == [3, 2]


def test_a_subset_of_the_training_photographs_comes_and_nothing_else_changes(root):
    data = ready(root, selection=Selection(subset=5, references=1))
    whole = ready(root, selection=Selection(references=1))
    assert len(set(names_of(first_batches(data, 20)))) == 5
    assert_same_batches(list(data.test_dataloader()), list(whole.test_dataloader()))
    with pytest.raises(ValueError, match=r"at most 12, .* got 13"):
        ready(root, selection=Selection(subset=13, references=1)).train_dataloader()


SELECTIONS = [
    Selection(references=2),
    Selection(subset=4),
    Selection(references=1, batches=PerPerson(2, 2)),
]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_training_goes_on_at_any_batch_bit_by_bit(root, selection):
    whole = first_batches(ready(root, selection=selection), 9)
    later = first_batches(ready(root, selection=selection, first_batch=5), 4)
    assert_same_batches(later, whole[5:])


def test_two_workers_give_the_batches_of_none_bit_by_bit(root):
    selection = Selection(references=1, batches=PerPerson(2, 2))
    runs = []
    for workers in (0, 2):
        data = ready(root, workers, selection=selection)
        runs.append(first_batches(data, 7) + list(data.test_dataloader()))
    assert_same_batches(*runs)


@pytest.mark.parametrize("selection", [Selection(), Selection(subset=12)])
def test_two_ranks_share_an_epoch_without_overlap(root, selection):
    ranks = []
    for rank in range(2):
        trainer = SimpleNamespace(global_rank=rank, world_size=2)
        data = ready(root, trainer=trainer, selection=selection, batch_size=2)
        ranks.append((first_batches(data, 3), list(data.test_dataloader())))
    trained = [names_of(training) for training, _ in ranks]
    assert len({*trained[0], *trained[1]}) == 12
    tested = [names_of(testing) for _, testing in ranks]
    assert sorted(tested[0] + tested[1]) == [str(number) for number in NAMES["test"]]


def test_two_ranks_take_turns_with_the_people(root):
    selection = Selection(batches=PerPerson(2, 2))
    both = [
        first_batches(
            ready(root, trainer=SimpleNamespace(global_rank=r, world_size=2), selection=selection),
            1,
        )
        for r in range(2)
    ]
    people = [{int(i) for batch in some for i in batch["identity"]} for some in both]
    assert len(people[0] | people[1]) == 4


def test_evaluation_is_alike_in_every_run_whatever_its_seed_and_training_is_not(root):
    selection = Selection(references=1)
    runs = [ready(root, seed=seed, selection=selection) for seed in (0, 1)]
    assert_same_batches(*(list(run.test_dataloader()) for run in runs))
    assert_same_batches(*(list(run.val_dataloader()) for run in runs))
    assert names_of(first_batches(runs[0])) != names_of(first_batches(runs[1]))


def test_a_trainer_fits_and_goes_on_where_it_is_told(root, tmp_path):
    def fit(first_batch, steps):
        data = ready(root, first_batch=first_batch)
        recorder = Recorder()
        pl.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            val_check_interval=2,
            check_val_every_n_epoch=None,
            default_root_dir=tmp_path,
        ).fit(recorder, datamodule=data)
        return recorder.seen

    assert_same_batches(fit(2, 2), fit(0, 4)[2:])


def test_copies_give_the_same_batches_without_touching_the_pictures(tmp_path):
    root = write_celeba(tmp_path, {"train": [2, 2], "val": [2], "test": [2]})
    plain, copied = (
        ready(root, loading=Loading(workers=0, cache=cache)) for cache in (False, True)
    )
    expected = first_batches(plain, 3) + list(plain.test_dataloader())
    for path in (root / "img_align_celeba").glob("*.jpg"):
        path.write_bytes(b"")
    assert_same_batches(first_batches(copied, 3) + list(copied.test_dataloader()), expected)


def test_workers_neither_list_nor_carry_the_set(root, monkeypatch):
    data = ready(root, workers=2)
    loader = data.train_dataloader()
    refuse_to_list(monkeypatch)
    (batch,) = islice(loader, 1)
    assert len(batch["name"]) == 3
    assert b"162771" not in pickle.dumps(data.photographs["train"].files)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "list_eval_partition.txt").unlink(), "list_eval_partition.txt, nor"),
        (lambda root: (root / "identity_CelebA.txt").unlink(), "identity_CelebA.txt, nor"),
        (lambda root: (root / "img_align_celeba").rename(root / "pics"), "img_align_celeba, nor"),
        (lambda root: (root / "img_align_celeba/000002.jpg").unlink(), "000002.jpg; unpack"),
        (
            lambda root: write_face(root / "img_align_celeba/000002.jpg", 0, 178, 218),
            "1 of 6 pictures .* are not 178 x 218, the first, 000002.jpg, is 218 x 178",
        ),
        (lambda root: (root / "img_align_celeba/000001.jpg").write_bytes(b"\xff\xd8"), "000001"),
    ],
)
def test_what_is_wrong_with_a_tree_is_named(tmp_path, spoil, told):
    root = write_celeba(tmp_path, {"train": [2], "val": [2], "test": [2]})
    spoil(root)
    with pytest.raises((FileNotFoundError, ValueError), match=told):
        ready(root)


def test_lists_and_pictures_may_lie_as_they_are_distributed(tmp_path):
    root = write_celeba(tmp_path, {"train": [2], "val": [2], "test": [2]}, ("Eval", "Anno"))
    (root / "Img").mkdir()
    (root / "img_align_celeba").rename(root / "Img" / "img_align_celeba")
    assert names_of(ready(root).val_dataloader()) == ["162771", "162772"]


def test_an_empty_split_is_named_before_training_and_only_where_it_is_needed(tmp_path):
    root = write_celeba(tmp_path, {"train": [2], "test": [2]})
    with pytest.raises(ValueError, match=r"no photograph for val: no line of .* ends in 1"):
        ready(root)
    assert len(names_of(ready(root, stage="test").test_dataloader())) == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"crop": (219, 100)}, r"from 16 x 16 to 218 x 178, got \(219, 100\)"),
        ({"crop": (100, 15)}, r"got \(100, 15\)"),
        ({"batch_size": 0}, "got 0 and 0"),
        ({"seed": -1}, "got 40 and -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        CelebA("nowhere", **settings)


def test_drawn_faces_stand_in_for_the_set(tmp_path):
    root = tmp_path / "drawn"
    draw = DrawnSet(train=4, val=2, test=2, size=32, photographs=2)
    data = ready(root, draw=draw, crop=None, selection=Selection(references=1))
    (batch,) = first_batches(data, 1)
    assert batch["target"].shape == (3, 3, 218, 178)
    assert len(names_of(data.val_dataloader())) == 2
    with Image.open(next((root / "img_align_celeba").glob("*.jpg"))) as picture:
        assert picture.size == (178, 218)
