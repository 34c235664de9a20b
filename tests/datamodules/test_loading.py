import pickle
from itertools import chain, islice
from types import SimpleNamespace

import albumentations as A
import cv2
import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import IterableDataset

from datamodules.loading import Feed, Loading, as_floats
from datamodules.stream import StepSampler


class Keys:
    """A data set of any size whose items are their keys."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        return torch.tensor(key)


class Threads(Keys):
    def __getitem__(self, key):
        return torch.tensor([torch.get_num_threads(), cv2.getNumThreads()])


class Counting(IterableDataset):
    def __iter__(self):
        yield from ({"image": torch.full((2, 3), float(k))} for k in range(3))


class Module(pl.LightningDataModule):
    first_batch = 0


def feed(batch_size=2, seed=3, rank=None, world=1, first_batch=0, **loading):
    module = Module()
    module.first_batch = first_batch
    if rank is not None:
        module.trainer = SimpleNamespace(global_rank=rank, world_size=world)
    return Feed(module, batch_size, seed, Loading(**({"workers": 0} | loading)))


def keys(loader, count=None):
    return [[tuple(key) for key in batch.tolist()] for batch in islice(loader, count)]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"workers": -1}, "workers must be 0 or more, got -1"),
        ({"eval_limit": 0}, "eval_limit must be 1 or more, or null, got 0"),
    ],
)
def test_loading_out_of_range_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Loading(**wrong)


def test_loading_is_read_from_yaml_with_its_types():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loading", type=Loading)
    told = """
    workers: 2
    cache: true
    verify: header
    transform:
      class_path: albumentations.Compose
      init_args:
        transforms: [{class_path: albumentations.VerticalFlip, init_args: {p: 1.0}}]
    """
    loading = parser.instantiate(parser.parse_args([f"--loading={told}"])).loading
    assert (loading.workers, loading.cache, loading.verify) == (2, True, "header")
    assert isinstance(loading.transform.transforms[0], A.VerticalFlip)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"seed": -1}])
def test_a_feed_out_of_range_is_refused_with_what_it_was_given(wrong):
    given = {"batch_size": 2, "seed": 3} | wrong
    told = f"1 or more and seed 0 or more, got {given['batch_size']} and {given['seed']}"
    with pytest.raises(ValueError, match=told):
        feed(**given)


def test_training_follows_the_stream_without_end():
    order = StepSampler(5, 2, seed=3, rank=0, world=1)
    given = keys(feed().training(Keys(5)), 11)
    assert given == [order.batch(step) for step in range(11)]
    assert max(epoch for batch in given for epoch, _ in batch) == 4


def test_training_goes_on_from_the_first_batch_of_the_module():
    whole = keys(feed().training(Keys(5)), 9)
    assert keys(feed(first_batch=4).training(Keys(5)), 5) == whole[4:]


def test_the_first_batch_is_the_one_set_when_the_loader_is_made():
    one = feed()
    one._module.first_batch = 2
    assert one.first_batch == 2
    assert keys(one.training(Keys(5)), 1) == keys(feed(first_batch=2).training(Keys(5)), 1)


def test_processes_share_one_stream_by_the_ranks_of_the_trainer():
    ranks = [keys(feed(rank=rank, world=2).training(Keys(7)), 6) for rank in range(2)]
    assert list(chain(*zip(*ranks, strict=True))) == keys(feed().training(Keys(7)), 12)


def test_workers_change_nothing():
    assert keys(feed(workers=2).training(Keys(5)), 8) == keys(feed().training(Keys(5)), 8)


def test_training_on_nothing_is_refused():
    with pytest.raises(ValueError, match=r"must be 1 or more .*got 0"):
        feed().training(Keys(0))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_gives_each_sample_once_over_all_processes(world):
    given = []
    for rank in range(world):
        loader = feed(rank=rank, world=world).evaluation(Keys(7), "test")
        batches = keys(loader)
        assert len(batches) == len(loader)
        given += chain(*batches)
    assert sorted(given) == [(0, index) for index in range(7)]


def test_a_limit_keeps_the_first_samples():
    loader = feed(eval_limit=3).evaluation(Keys(7), "val")
    assert keys(loader) == [[(0, 0), (0, 1)], [(0, 2)]]
    assert len(keys(feed(eval_limit=30).evaluation(Keys(7), "val"))) == 4


@pytest.mark.parametrize("rank", [0, 3])
def test_fewer_samples_than_processes_are_refused_in_every_process(rank):
    told = r"4 processes cannot share 3 photographs of val: .*at most 3 processes .*\(now 3\)"
    with pytest.raises(ValueError, match=told):
        feed(rank=rank, world=4, eval_limit=3).evaluation(Keys(7), "val")
    with pytest.raises(ValueError, match="1 processes cannot share 0 photographs of test"):
        feed().evaluation(Keys(0), "test")


def test_a_stream_of_batches_comes_as_it_is():
    batches = list(feed().streamed(Counting()))
    assert [batch["image"].shape for batch in batches] == [(2, 3)] * 3
    assert [batch["image"][0, 0].item() for batch in batches] == [0, 1, 2]


def test_pictures_come_out_as_floats_and_all_else_as_it_is():
    picture = torch.arange(3, dtype=torch.uint8).reshape(1, 3, 1, 1)
    batch = {"paired": {"image": picture, "name": ["a"]}, "label": torch.ones(1, 3)}
    told = as_floats(batch)
    assert torch.equal(told["paired"]["image"], picture / torch.tensor(255.0))
    assert told["paired"]["name"] == ["a"]
    assert told["label"] is batch["label"]


def test_workers_keep_to_one_thread_each_and_stay():
    loader = feed(workers=1).evaluation(Threads(2), "val")
    assert next(iter(loader)).tolist() == [[1, 1], [1, 1]]
    assert loader.persistent_workers
    assert not feed().evaluation(Threads(2), "val").persistent_workers


def test_settings_of_loading_can_be_sent_to_another_process():
    loading = Loading(workers=1, verify="header", eval_limit=3)
    assert pickle.loads(pickle.dumps(loading)) == loading
