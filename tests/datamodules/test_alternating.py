from itertools import islice

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image

from datamodules.alternating import Alternating, SideBySide, halves
from datamodules.celeba import CelebA
from datamodules.ffhq import FFHQ
from datamodules.ffhqr import FFHQR
from datamodules.loading import Loading
from datamodules.selection import EVERYTHING, PerPerson, Selection
from datamodules.shard_packing import write_shards
from datamodules.vggface2 import HeldOut, VGGFace2
from tests.datamodules.fragments import parsed
from tests.datamodules.made import Made
from tests.datamodules.people import (
    Noise,
    assert_same_batches,
    names_of,
    write_celeba,
    write_people,
)
from tests.datamodules.pictures import picture

COUNTS = {"train": [3, 2, 5, 2, 3, 4, 2, 3], "val": [2], "test": [3]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("celeba"), COUNTS)


def celeba(root, selection=EVERYTHING, workers=0, seed=0, batch_size=3):
    loading = Loading(workers)
    return CelebA(str(root), (32, 32), batch_size, selection, Noise(), seed=seed, loading=loading)


def ready(part, first_batch=0):
    data = Alternating(part)
    data.prepare_data()
    data.setup("fit")
    data.first_batch = first_batch
    return data


def first(data, count=8):
    """The first batches of both halves, by half."""
    batches = list(islice(data.train_dataloader(), count))
    assert all(list(batch) == ["weights", "alphas"] for batch in batches)
    return {name: [batch[name] for batch in batches] for name in ("weights", "alphas")}


def assert_same_halves(one, other):
    for name, batches in one.items():
        assert_same_batches(batches, other[name])


def test_the_halves_are_disjoint_together_everything_and_keep_people_whole(root):
    part = celeba(root)
    found = first(ready(part), 20)
    weights, alphas = (set(names_of(batches)) for batches in found.values())
    assert weights & alphas == set()
    everybody = part.photographs["train"]
    assert weights | alphas == {everybody.name(i) for i in range(len(everybody))}
    assert abs(len(weights) - len(alphas)) <= max(COUNTS["train"])
    seen = [{int(i) for batch in batches for i in batch["identity"]} for batches in found.values()]
    assert seen[0] & seen[1] == set()
    assert seen[0] | seen[1] == set(range(8))


def test_without_people_each_photograph_is_by_itself():
    one, other = halves(Made(11), seed=0)
    assert {len(one), len(other)} == {5, 6}
    assert {*one.positions, *other.positions} == {*range(11)}
    assert one.people is other.people is None
    assert one.name(0) == Made(11).name(one.positions[0])
    assert np.array_equal(other.picture(2), Made(11).picture(other.positions[2]))


def test_the_halves_hang_on_the_seed_alone(root):
    part = celeba(root)
    part.setup("fit")

    def positions(seed):
        return [half.positions.tolist() for half in halves(part.photographs["train"], seed)]

    assert positions(0) == positions(0)
    assert len({str(positions(seed)) for seed in range(4)}) > 1
    found = first(ready(celeba(root, seed=3)), 20)
    everybody = part.photographs["train"]
    for batches, half in zip(found.values(), positions(3), strict=True):
        assert set(names_of(batches)) == {everybody.name(i) for i in half}


@pytest.mark.parametrize(
    "selection", [Selection(references=2), Selection(subset=6), Selection(batches=PerPerson(2, 2))]
)
def test_training_goes_on_from_any_batch(root, selection):
    whole = first(ready(celeba(root, selection)))
    later = first(ready(celeba(root, selection), first_batch=5), 3)
    assert_same_halves({name: batches[5:] for name, batches in whole.items()}, later)


def test_the_number_of_workers_changes_nothing(root):
    alone = first(ready(celeba(root, Selection(references=1))), 4)
    assert_same_halves(alone, first(ready(celeba(root, Selection(references=1), workers=2)), 4))


def test_references_are_other_photographs_of_the_same_half(root):
    whole = ready(celeba(root, Selection(references=1)))
    for batches in first(whole, 20).values():
        targets = {t.numpy().tobytes() for batch in batches for t in batch["target"]}
        mirrored = {t.flip(-1).numpy().tobytes() for batch in batches for t in batch["target"]}
        shown = [r for batch in batches for refs in batch["references"] for r in refs]
        assert all(reference.numpy().tobytes() in targets | mirrored for reference in shown)


def test_the_halves_are_degraded_by_draws_of_their_own(tmp_path):
    class Grey:
        people, same = None, np.full((32, 32, 3), 100, np.uint8)

        def __len__(self):
            return 8

        def name(self, i):
            return f"{i}"

        def picture(self, i):
            return self.same

    part = celeba(tmp_path, batch_size=4)
    part.photographs = {"train": Grey()}
    found = first(Alternating(part), 1)
    assert not torch.equal(found["weights"][0]["image"], found["alphas"][0]["image"])
    assert torch.equal(found["weights"][0]["target"], found["alphas"][0]["target"])


def test_validation_and_testing_are_the_sets_own(root):
    data, alone = ready(celeba(root)), celeba(root)
    alone.setup("fit")
    for loader in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        assert_same_batches(list(getattr(data, loader)()), list(getattr(alone, loader)()))
    first(data, 1)
    assert len(data.train.photographs["train"]) == sum(COUNTS["train"])


def test_trees_of_people_and_portraits_without_people_are_halved_too(tmp_path):
    tree = write_people(tmp_path / "people", {f"p{k}": 3 for k in range(12)})
    people = VGGFace2(str(tree), 16, 2, HeldOut(0.1, 0.1), loading=Loading(0))
    (tmp_path / "ffhq" / "images1024x1024").mkdir(parents=True)
    for number in (*range(6), 60000, 65000):
        path = tmp_path / "ffhq" / "images1024x1024" / f"{number:05d}.png"
        Image.fromarray(picture(16, 16, seed=number)).save(path)
    for part in (people, FFHQ(str(tmp_path / "ffhq"), 16, 2, loading=Loading(0))):
        weights, alphas = (set(names_of(some)) for some in first(ready(part), 12).values())
        everybody = part.photographs["train"]
        assert weights & alphas == set()
        assert len(weights | alphas) == len(everybody)


def test_a_set_in_shards_is_halved_and_not_streamed_whole(root, tmp_path):
    pytest.importorskip("webdataset")
    part = celeba(root)
    part.setup("test")
    write_shards(tmp_path / "packed", part.packed_as, part.photographs, per_shard=3)
    packed = first(ready(celeba(tmp_path / "packed")), 20)
    folder = first(ready(celeba(root)), 20)
    for name, batches in packed.items():
        assert set(names_of(batches)) == set(names_of(folder[name]))


def test_the_ranks_of_the_trainer_share_both_halves(root):
    def names(rank):
        data = Alternating(celeba(root))
        data.trainer = type("Ranks", (), {"global_rank": rank, "world_size": 2})()
        data.setup("fit")
        return {name: names_of(batches) for name, batches in first(data, 1).items()}

    one = first(ready(celeba(root, batch_size=6)), 1)
    wanted = {name: names_of(batches) for name, batches in one.items()}
    assert wanted == {name: names(0)[name] + names(1)[name] for name in wanted}


class Seen(pl.LightningModule):
    """Keeps the names of what it gets."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.names = []

    def training_step(self, batch):
        self.names.append({half: some["name"] for half, some in batch.items()})
        return self.weight.sum()

    def validation_step(self, batch):
        assert "image" in batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_trainer_takes_both_halves_at_a_time(root, tmp_path):
    data = Alternating(celeba(root))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=5,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Seen()
    trainer.fit(module, datamodule=data)
    assert data.train.trainer is trainer
    wanted = islice(ready(celeba(root)).train_dataloader(), 5)
    assert module.names == [{k: v["name"] for k, v in batch.items()} for batch in wanted]


def test_one_person_cannot_be_halved(tmp_path):
    write_celeba(tmp_path, {"train": [4], "val": [2], "test": [2]})
    with pytest.raises(ValueError, match="need two people or more for training, and there are 1"):
        ready(celeba(tmp_path))
    with pytest.raises(ValueError, match=r"need two photographs or more .* there are 1"):
        halves(Made(1), 0)


def test_pairs_cannot_be_halved(tmp_path):
    with pytest.raises(ValueError, match="FFHQR cannot be halved, for it has no photographs"):
        Alternating(FFHQR(str(tmp_path)))


def test_loaders_side_by_side_end_with_the_first_of_them():
    assert list(SideBySide({"a": [1, 2, 3], "b": "xy"})) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_the_seed_of_the_run_is_that_of_the_set():
    told = """
    class_path: datamodules.alternating.Alternating
    init_args:
      train:
        class_path: datamodules.vggface2.VGGFace2
        init_args: {root: somewhere, size: 64}
    """
    data = parsed(yaml.safe_load(told), seed=7)
    assert (type(data.train), data.train.seed, data.size) == (VGGFace2, 7, 64)
