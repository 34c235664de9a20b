import os
import random
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import Process
from pathlib import Path

import pytest
import torch

from lightning_modules.checkpoints import (
    CheckpointError,
    keep_as,
    read_checkpoint,
    write_checkpoint,
)
from tests.lightning_modules.tiny import Tiny, TinyData, numbers, train, trainer

STATE = {"weights": torch.arange(3000.0), "step": 7, "names": ["a", "b"]}


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    write_checkpoint(STATE, tmp_path / "last.ckpt")
    loaded = read_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(loaded["weights"], STATE["weights"])
    assert loaded["step"] == 7


def test_torch_and_unzip_read_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(STATE, path)
    assert torch.load(path, weights_only=True)["step"] == 7
    import zipfile

    assert zipfile.ZipFile(path).comment.startswith(b"sha256:")


def test_each_of_a_hundred_flipped_bits_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(STATE, path)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(100):
        place = draw.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"last\.ckpt") as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 1, 50, 1000, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(STATE, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.ckpt")


class Payload:
    def __init__(self, call: tuple) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("place", ["state_dict", "hyper_parameters"])
@pytest.mark.parametrize("way", ["system", "eval", "exec"])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(
    tmp_path: Path, place: str, way: str
) -> None:
    path, marker = tmp_path / "evil.ckpt", tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')"
    calls = {"system": (os.system, (f"touch {marker}",)), "eval": (eval, (code,))}
    write_checkpoint({place: Payload(calls.get(way, (exec, (code,))))}, path)
    with pytest.raises(CheckpointError, match=r"evil\.ckpt holds more than tensors"):
        read_checkpoint(path)
    assert not marker.exists()


def test_no_source_file_asks_torch_to_unpickle_anything() -> None:
    root = Path(__file__).parents[2]
    folders = ("ops", "lightning_modules", "datamodules", "experiments", "benchmarks")
    sources = [path for folder in folders for path in (root / folder).rglob("*.py")]
    assert sources
    wanted = "weights_only" + "=False"
    assert not [path for path in sources if wanted in path.read_text().replace(" ", "")]


def _write_with_little_space(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        write_checkpoint(STATE, path)
    except OSError as error:
        os._exit(9 if "could not write" in str(error) else 1)
    os._exit(0)


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint({"step": 1}, path)
    writer = Process(target=_write_with_little_space, args=(path,))
    writer.start()
    writer.join()
    assert writer.exitcode == 9
    assert read_checkpoint(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


WRITER = """
import sys, itertools, torch
from pathlib import Path
from lightning_modules.checkpoints import write_checkpoint
for step in itertools.count():
    weights = torch.full((200_000,), float(step))
    write_checkpoint({"step": step, "weights": weights}, Path(sys.argv[1]))
    print(step, flush=True)
"""


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path, draw = tmp_path / "last.ckpt", random.Random(1)
    command = [sys.executable, "-c", WRITER, str(path)]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(draw.uniform(0, 0.2))
            process.kill()
        state = read_checkpoint(path)
        assert torch.equal(state["weights"], torch.full((200_000,), float(state["step"])))


def test_saving_takes_no_second_copy_in_memory(tmp_path: Path) -> None:
    state = {"weights": torch.zeros(25_000_000)}  # 100 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_checkpoint(state, tmp_path / "large.ckpt")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000  # kB; Lightning's own saving needs as much again as the state


def test_a_metric_that_is_not_logged_cannot_choose_the_best_checkpoint(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.callbacks[0].monitor = "val/pnsr"
    with pytest.raises(CheckpointError, match=r"monitor=val/pnsr is not logged; there are .*psnr"):
        run.fit(Tiny(8), TinyData())


def test_the_best_checkpoint_is_that_of_the_best_validation(tmp_path: Path) -> None:
    train(tmp_path)
    table = [row for row in numbers(tmp_path) if row["val/psnr"]]
    best = max(table, key=lambda row: float(row["val/psnr"]))
    saved = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["visagist"]["batches_done"]
    assert saved == int(best["step"])


def test_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    train(tmp_path, batches=5)
    previous = read_checkpoint(tmp_path / "checkpoints" / "previous.ckpt")
    assert previous["visagist"]["batches_done"] == 4


@pytest.mark.parametrize("links", [True, False])
def test_a_kept_file_stays_when_its_first_name_is_taken(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Path) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for step in (1, 2, 3):
        if last.exists():
            keep_as(last, previous)
        write_checkpoint({"step": step}, last)
    assert (read_checkpoint(last), read_checkpoint(previous)) == ({"step": 3}, {"step": 2})
