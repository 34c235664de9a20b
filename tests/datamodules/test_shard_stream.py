import functools
import http.server
import itertools
import shutil
import sys
import threading
from collections import Counter
from dataclasses import replace

import pytest
from torch.utils.data import DataLoader

from datamodules.shard_stream import BLOCK, DamagedShard, Shard, ShardStream, read_shard
from tests.datamodules.packed import unequal_shards

SIZES = (70, 3, 130, 64, 1)  # blocks that are cut off, whole and single


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return unequal_shards(tmp_path_factory.mktemp("shards"), SIZES)


def key(packed, epoch):
    """What a test tells samples by: each shard numbers its own from 0."""
    return {"key": f"{epoch} {packed.place.split('/')[-2]} {packed.number}"}


def stream(shards, batch_size=3, *, rank=0, world=1, first_batch=0, lanes=8, seed=0):
    return ShardStream(
        shards,
        key,
        batch_size,
        seed=seed,
        rank=rank,
        world=world,
        first_batch=first_batch,
        lanes=lanes,
    )


def first(batches, count):
    return [batch["key"] for batch in itertools.islice(iter(batches), count)]


def keys(shards, epoch):
    return {f"{epoch} {k} {i}" for k, shard in enumerate(shards) for i in range(shard.samples)}


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_every_sample_comes_once_in_an_epoch_over_all_processes_and_lanes(shards, lanes):
    several = [stream(shards, rank=rank, world=2, lanes=lanes) for rank in range(2)]
    seen = Counter(sample for one in several for batch in first(one, 400) for sample in batch)
    assert set(seen.values()) == {1}
    for epoch in range(2):
        assert keys(shards, epoch) <= seen.keys()


def test_an_epoch_ends_before_another_begins_in_one_lane(shards):
    seen = [
        sample.split()[0] for batch in first(stream(shards, 1, lanes=1), 400) for sample in batch
    ]
    assert seen == sorted(seen)
    assert Counter(seen)["0"] == sum(SIZES)


def test_samples_are_shuffled_within_blocks_otherwise_in_each_epoch(shards):
    seen = [batch[0] for batch in first(stream([shards[2]], 1, lanes=1), 2 * SIZES[2])]
    epochs = [[int(word.split()[2]) for word in seen[k : k + SIZES[2]]] for k in (0, SIZES[2])]
    assert epochs[0] != epochs[1]
    for order in epochs:
        blocks = [order[k : k + BLOCK] for k in range(0, SIZES[2], BLOCK)]
        assert [sorted(block) for block in blocks] == [
            list(range(k, min(k + BLOCK, SIZES[2]))) for k in range(0, SIZES[2], BLOCK)
        ]
        assert blocks[0] != sorted(blocks[0])


def test_shards_come_in_another_order_in_each_epoch_and_for_each_seed(shards):
    def order(seed, epoch):
        seen = first(stream(shards, 1, lanes=1, seed=seed), 2 * sum(SIZES))
        found = [batch[0].split()[:2] for batch in seen]
        return [shard for told, shard in dict.fromkeys(map(tuple, found)) if told == str(epoch)]

    orders = {(seed, epoch): tuple(order(seed, epoch)) for seed in range(3) for epoch in range(2)}
    assert len(set(orders.values())) > 3


@pytest.mark.parametrize("first_batch", [1, 7, 8, 23, 130])
def test_a_run_goes_on_at_any_batch_as_if_it_had_never_stopped(shards, first_batch):
    whole = first(stream(shards), first_batch + 20)
    assert first(stream(shards, first_batch=first_batch), 20) == whole[first_batch:]


def test_a_run_that_goes_on_reads_no_shard_that_it_has_had(shards):
    seen = first(stream(shards, 1, lanes=1), sum(SIZES))
    last_shard = int(seen[-1][0].split()[1])
    gone = [
        shard if k == last_shard else replace(shard, place=shard.place.with_name("gone.tar"))
        for k, shard in enumerate(shards)
    ]
    at = sum(SIZES) - SIZES[last_shard]
    assert first(stream(gone, 1, lanes=1, first_batch=at), SIZES[last_shard]) == seen[at:]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("first_batch", [0, 5])
def test_any_number_of_workers_that_divides_the_lanes_gives_the_same(shards, workers, first_batch):
    one = stream(shards, first_batch=first_batch)
    loader = DataLoader(one, batch_size=None, num_workers=workers)
    assert first(loader, 30) == first(one, 30)


def test_a_number_of_workers_that_does_not_divide_the_lanes_is_refused(shards):
    with pytest.raises(ValueError, match="one of 0, 1, 2, 4, 8, got 3"):
        stream(shards).check_workers(3)


def test_a_stream_from_an_address_is_that_from_the_disk(shards):
    if shutil.which("curl") is None:
        pytest.skip("webdataset opens addresses with curl, which is not there")
    folder = shards[0].place.parents[1]
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        far = [Shard(f"{base}/{s.place.relative_to(folder)}", s.samples) for s in shards]
        found = first(stream(far, lanes=2), 40)
        with pytest.raises(DamagedShard, match=r"none\.tar cannot be read"):
            list(read_shard(Shard(f"{base}/none.tar", 1)))
        server.shutdown()
    assert found == first(stream(shards, lanes=2), 40)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *told):
        pass


def test_a_missing_shard_is_named(shards):
    gone = Shard(shards[0].place.with_name("gone.tar"), 3)
    with pytest.raises(DamagedShard, match=r"gone\.tar cannot be read \(No such file"):
        list(read_shard(gone))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.75])
def test_a_shard_that_was_cut_off_is_named(shards, tmp_path, share):
    data = shards[0].place.read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamagedShard, match=r"cut\.tar"):
        list(read_shard(Shard(cut, 70)))


@pytest.mark.parametrize("samples", [69, 71])
def test_a_shard_of_another_number_of_samples_is_named(shards, samples):
    with pytest.raises(DamagedShard, match=f"holds 70 samples, its manifest says {samples}"):
        list(read_shard(Shard(shards[0].place, samples)))


def test_without_webdataset_the_error_says_how_to_get_it(shards, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[shards\]'"):
        next(read_shard(shards[0]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch_size": 0}, "got 0, 8, 0"),
        ({"lanes": 0}, "got 3, 0, 0"),
        ({"first_batch": -1}, "got 3, 8, -1"),
        ({"rank": 2, "world": 2}, "2 of 2"),
    ],
)
def test_numbers_out_of_range_are_refused(shards, changed, said):
    with pytest.raises(ValueError, match=said):
        stream(shards, **changed)


@pytest.mark.parametrize("none", [[], [Shard("x", 0)]])
def test_a_stream_of_nothing_is_refused(none):
    with pytest.raises(ValueError, match="needs shards with samples"):
        stream(none)
