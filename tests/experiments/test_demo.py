import builtins
import gc
import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
import torch

from experiments import demo, networks
from experiments.__main__ import main
from experiments.settings import SettingsError
from lightning_modules.base import Restored
from tests.experiments.tiny import TinyTraining

# event loops that gradio leaves to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
VARIABLES = ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "NO_PROXY", "no_proxy")


class Darker(TinyTraining):
    def restore(self, batch):
        return Restored(batch["image"] * 0.5, torch.ones_like(batch["image"][:, :1]))


@pytest.fixture(autouse=True)
def darker(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("VISAGIST_YUNET", raising=False)
    monkeypatch.setattr(networks, "trained_network", lambda _: Darker())
    yield
    gc.collect()  # what was left open is told of here and not in another test


def call(*words):
    return main(["demo", "--ckpt=a.ckpt", "--size=32", *words])


def stop_when_served(folder: Path, port: int, number: int, seen: dict):
    """Sends this process a signal once the page answers, and notes what there was by then."""
    end = time.monotonic() + 50
    while time.monotonic() < end:
        try:
            seen["page"] = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text
            break
        except httpx.TransportError:
            time.sleep(0.1)
    seen["folders"] = list(folder.glob("visagist_*"))
    time.sleep(1)  # gradio looks at its own page first
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_page_is_served_until_a_signal_and_leaves_no_files(number, code, tmp_path, capsys):
    port, seen = demo._free_port("127.0.0.1", 0), {}
    stop = threading.Thread(target=stop_when_served, args=(tmp_path, port, number, seen))
    before = signal.getsignal(signal.SIGTERM)
    # what a terminal's programmes have, and those that a shell put into the background have not
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop.start()
    try:
        ended = call("--aligned", f"--port={port}")
    except SystemExit as left:
        ended = left.code
    finally:
        stop.join()
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupted)
    assert ended == code
    assert 'content="Restore portraits (Visagist)"' in seen["page"]
    assert len(seen["folders"]) == 1
    assert list(tmp_path.glob("visagist_*")) == []
    assert f"the page is at http://127.0.0.1:{port}/" in capsys.readouterr().err
    assert demo._free_port("127.0.0.1", port) == port  # nobody listens any more


def test_a_port_that_is_taken_is_told_in_a_sentence(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert call(f"--port={port}") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: cannot serve at 127.0.0.1, port {port} (")
    assert "give another --port" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size=3"], "--size must be 16 up, got 3"),
        (["--port=70000"], "--port must be 0 to 65535, got 70000"),
        (["--max-megapixels=0"], "--max-megapixels must be above 0, got 0"),
        (["--max-megabytes=inf"], "--max-megabytes must be above 0"),
        (["--aligned", "--detector=x"], "--aligned looks for no faces; leave --detector out"),
        (["--detector=nowhere", "--port=0"], r"no face detector at nowhere.* or say --aligned"),
        (["--host=nowhere.invalid"], "cannot serve at nowhere.invalid, port"),
        (["--hots=x"], "unrecognized arguments: --hots=x"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(words, message):
    with pytest.raises(SettingsError, match=message):
        demo.main(["--ckpt=a.ckpt", "--size=32", *words])


def test_missing_gradio_is_told_with_the_extra(monkeypatch):
    imported = builtins.__import__

    def without(name, *rest):
        if name == "gradio":
            raise ModuleNotFoundError("No module named 'gradio'")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=r"pip install -e '\.\[demo\]'"):
        demo.main(["--ckpt=a.ckpt", "--aligned", "--port=0"])


def test_without_a_detector_pictures_are_crops_and_that_is_said(capsys):
    options = demo._parser().parse_args(["--ckpt=a.ckpt", "--size=32"])
    assert demo._studio(options).crops.detect is None
    assert "pictures must be crops of one face" in capsys.readouterr().err


def test_other_computers_reach_the_page_only_if_the_host_says_so():
    assert demo._parser().parse_args(["--ckpt=a"]).host == "127.0.0.1"
    assert demo._is_this_computer("127.0.0.1")
    assert demo._is_this_computer("localhost")
    assert demo._is_this_computer("::1")
    assert not demo._is_this_computer("0.0.0.0")
    assert not demo._is_this_computer("example.org")
