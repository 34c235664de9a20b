import hashlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from experiments import weights
from experiments.__main__ import main
from experiments.external import TABLE, External
from experiments.settings import ROOT, SettingsError
from experiments.weights import ACCEPTED, HANDLERS, download, fetch, listed

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A server of one file, and how it behaves."""

    url: str = ""
    content: bytes = CONTENT
    resumes: bool = True
    cut: int | None = None  # bytes after which it hangs up
    asked: list[str | None] = field(default_factory=list)


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            span = self.headers.get("Range")
            server.asked.append(span)
            start = int(span[len("bytes=") : -1]) if span and server.resumes else 0
            if self.path == "/gone":
                return self.send_error(404)
            if start >= len(server.content):
                return self.send_error(416)
            body = server.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.cut])
            return None

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(weights, "HANDLERS", [*HANDLERS[1:], urllib.request.HTTPHandler])
    served = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(served)) as running:
        served.url = f"http://127.0.0.1:{running.server_port}/net.pth"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        running.shutdown()
        thread.join()


def entry(server: Server, sha256: str | None = DIGEST) -> External:
    return External("net", "a test", "CC0", server.url, "net.pth", sha256)


def test_a_file_is_downloaded_and_its_licence_told(server, tmp_path, capsys):
    fetch(entry(server), tmp_path / "weights")
    assert (tmp_path / "weights" / "net.pth").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["net.pth"]
    assert "licence: CC0" in capsys.readouterr().out
    assert server.asked == [None]


def test_a_download_that_was_cut_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 1000
    with pytest.raises(SettingsError, match="broke off 9240 bytes before the end; try again"):
        fetch(entry(server), tmp_path)
    assert (tmp_path / "net.pth.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "net.pth").exists()
    server.cut = None
    fetch(entry(server), tmp_path)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]


def test_a_server_that_cannot_resume_sends_all_again(server, tmp_path):
    (tmp_path / "net.pth.part").write_bytes(b"some of it")
    server.resumes = False
    fetch(entry(server), tmp_path)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_whole_part_only_needs_its_hash_checked(server, tmp_path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT)
    fetch(entry(server), tmp_path)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_tampered_file_is_refused_with_both_hashes_and_not_kept(server, tmp_path):
    server.content = CONTENT[:-1] + b"!"
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(SettingsError, match=f"has sha256 {found}, expected {DIGEST}"):
        fetch(entry(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_overwritten(server, tmp_path, capsys):
    path = tmp_path / "net.pth"
    path.write_bytes(b"mine")
    with pytest.raises(SettingsError, match="it is another file"):
        fetch(entry(server), tmp_path)
    assert path.read_bytes() == b"mine"
    path.write_bytes(CONTENT)
    fetch(entry(server), tmp_path)
    assert "is there already" in capsys.readouterr().out
    assert server.asked == []


def test_a_hash_that_nobody_publishes_is_told_and_has_to_be_accepted(server, tmp_path):
    unknown = entry(server, None)
    with pytest.raises(SettingsError, match=f"--accept={DIGEST}"):
        fetch(unknown, tmp_path)
    assert not (tmp_path / "net.pth").exists()
    fetch(unknown, tmp_path, accept=DIGEST)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert (tmp_path / ACCEPTED).read_text() == f"{DIGEST}  net.pth\n"
    (tmp_path / "net.pth").write_bytes(b"another")
    with pytest.raises(SettingsError, match=f"expected {DIGEST}"):
        fetch(unknown, tmp_path)


def test_a_published_hash_cannot_be_talked_over(server, tmp_path):
    with pytest.raises(SettingsError, match="do not --accept"):
        fetch(entry(server), tmp_path, accept="0" * 64)


def test_what_was_accepted_before_cannot_be_talked_over(server, tmp_path):
    unknown, other = entry(server, None), hashlib.sha256(b"another").hexdigest()
    fetch(unknown, tmp_path, accept=DIGEST.upper())
    (tmp_path / "net.pth").write_bytes(b"another")
    said = f"noted in .*{ACCEPTED} with sha256 {DIGEST}, --accept says {other}: take that line out"
    with pytest.raises(SettingsError, match=said):
        fetch(unknown, tmp_path, accept=other)
    assert (tmp_path / ACCEPTED).read_text() == f"{DIGEST}  net.pth\n"
    (tmp_path / "net.pth").write_bytes(CONTENT)
    fetch(unknown, tmp_path, accept=DIGEST)


def test_what_a_server_refuses_is_one_line(server, tmp_path):
    with pytest.raises(SettingsError, match="the server says 404"):
        download(server.url.replace("net.pth", "gone"), tmp_path / "net.part")


def test_only_https_is_spoken(tmp_path):
    with pytest.raises(SettingsError, match="unknown url type: http"):
        download("http://127.0.0.1:9/net.pth", tmp_path / "net.part")


def test_the_list_says_what_is_there(tmp_path, capsys):
    vgg, face, yunet = TABLE[0], TABLE[2], TABLE[7]
    (tmp_path / vgg.file).write_bytes(b"not that network")
    (tmp_path / face.file).write_bytes(b"no hash to compare with")
    (tmp_path / f"{yunet.file}.part").write_bytes(b"half")
    assert main(["weights", f"--to={tmp_path}"]) == 0
    told = capsys.readouterr().out
    assert told == listed(tmp_path)
    assert f"vgg19: WRONG FILE at {tmp_path / vgg.file}" in told
    assert f"vgg_face: at {tmp_path / face.file}, unverified" in told
    assert "yunet: 4 bytes in" in told
    assert "arcface: missing" in told
    assert all(item.licence in told and item.url in told for item in TABLE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vgg18"], "no weights 'vgg18': did you mean 'vgg19'?"),
        (["--accept=12", "vgg_face"], "--accept must be 64 hexadecimal digits, got '12'"),
        ([f"--accept={DIGEST}"], "--accept stands for one file"),
    ],
)
def test_what_the_user_got_wrong_is_one_line_and_code_2(arguments, said, capsys):
    assert main(["weights", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_nothing_heavy_is_imported():
    code = "import sys, experiments.weights; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
