"""`weights`: what others trained and this suite can use, and the download of it.

Nothing else in the suite downloads anything; every network takes the path of a file.
"""

import hashlib
import os
import re
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError

from experiments.external import TABLE, External, find, hashes_in
from experiments.options import COMMANDS, Parser
from experiments.settings import SettingsError

FOLDER = Path("weights")
ACCEPTED = "sha256.txt"  # in the folder: hashes that the user stands for, as sha256sum writes them
_CHUNK = 1 << 20
_SECONDS = 60  # without a byte, until a server counts as lost
# No handler for http: neither a URL nor a redirection leaves TLS.
HANDLERS: list[type[urllib.request.BaseHandler]] = [
    urllib.request.ProxyHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
]


def main(arguments: Sequence[str]) -> int:
    """Lists the table, or downloads what is named; the exit code.

    Raises:
        SettingsError: if a name is unknown, a file is a wrong one or a download fails.
    """
    parser = Parser("weights", f"{COMMANDS['weights'].capitalize()}.")
    parser.add_argument("names", nargs="*", help="what to download; without, the list")
    parser.add_argument("--to", type=Path, default=FOLDER, help=f"the folder, default {FOLDER}/")
    parser.add_argument(
        "--accept", metavar="SHA256", help="of one file whose hash nobody published"
    )
    told = parser.parse_args(arguments)
    if told.accept and len(told.names) != 1:
        raise SettingsError("--accept stands for one file: name it, and no other")
    if told.accept and not re.fullmatch(r"[0-9a-fA-F]{64}", told.accept):
        raise SettingsError(f"--accept must be 64 hexadecimal digits, got '{told.accept}'")
    items = [find(name) for name in told.names]
    if not items:
        sys.stdout.write(listed(told.to))
    for item in items:
        fetch(item, told.to, told.accept)
    return 0


def listed(folder: Path) -> str:
    """The table in words, with what is there of it in `folder`."""
    parts = [
        f"{item.name}: {_state(item, folder)}\n"
        f"  for      {item.purpose}\n"
        f"  licence  {item.licence}\n"
        f"  from     {item.url}\n"
        f"  sha256   {item.sha256 or 'published nowhere; --accept=SHA256 stands for one'}\n"
        for item in TABLE
    ]
    return "\n".join(parts)


def _state(item: External, folder: Path) -> str:
    path, part = folder / item.file, _part(folder / item.file)
    if path.is_file():
        expected = expected_hash(item, folder)
        if expected is None:
            return f"at {path}, unverified"
        return f"at {path}" if sha256_of(path) == expected else f"WRONG FILE at {path}"
    return f"{part.stat().st_size} bytes in {part}" if part.is_file() else "missing"


def expected_hash(item: External, folder: Path) -> str | None:
    """The hash that a file must have: published, or accepted before; None where there is none."""
    return item.sha256 or hashes_in(folder / ACCEPTED).get(item.file)


def fetch(item: External, folder: Path, accept: str | None = None) -> None:
    """Downloads a file unless it is there; what was half downloaded goes on where it stopped.

    Args:
        item: what.
        folder: where to; nothing in it is ever overwritten.
        accept: the hash that the user stands for, where none is published.

    Raises:
        SettingsError: if another file is in its place, the download fails or has another hash, or
            no hash is known, or `accept` is not the one that is.
    """
    path, expected = folder / item.file, _wanted_hash(item, folder, accept)
    sys.stdout.write(f"{item.name}: {item.purpose}\nlicence: {item.licence}\n")
    if path.exists():
        check(path, expected, item)
        _note(item, folder, expected)
        sys.stdout.write(f"{path} is there already\n")
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    download(item.url, part)
    try:
        check(part, expected, item)
    except SettingsError:
        if expected:
            part.unlink()  # going on from a wrong file would never end in the right one
        raise
    part.rename(path)
    _note(item, folder, expected)
    sys.stdout.write(f"{path}: {path.stat().st_size} bytes, sha256 as expected\n")


def _wanted_hash(item: External, folder: Path, accept: str | None) -> str | None:
    """The hash that is known, or else the accepted one."""
    known = expected_hash(item, folder)
    if not accept:
        return known
    if known in (None, accept.lower()):
        return accept.lower()
    if item.sha256:
        raise SettingsError(f"the hash of {item.name} is published, {known}: do not --accept")
    notes = folder / ACCEPTED
    raise SettingsError(
        f"{item.file} is noted in {notes} with sha256 {known}, --accept says {accept.lower()}: "
        "take that line out if the other file is the one to trust"
    )


def check(path: Path, expected: str | None, item: External) -> None:
    """Nothing, for the file that was expected.

    Raises:
        SettingsError: if it has another hash, or there is none to compare with; it is told.
    """
    found = sha256_of(path)
    if expected is None:
        raise SettingsError(
            f"nobody publishes the hash of {item.name}; {path} has {found}. If you trust it: "
            f'make weights ARGS="{item.name} --accept={found}"'
        )
    if found != expected:
        raise SettingsError(f"{path} has sha256 {found}, expected {expected}: it is another file")


def sha256_of(path: Path) -> str:
    """The hash of a file, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, part: Path) -> None:
    """Fills `part` from `url`, from where it ends; complete when this returns.

    Raises:
        SettingsError: if the server cannot be reached, refuses or breaks off.
    """
    done = part.stat().st_size if part.is_file() else 0
    try:
        with _open(url, done) as answer, part.open("ab") as file:
            if answer.status != 206:  # the server sends all of it
                file.truncate(0)
            _copy(answer, file)
    except HTTPError as error:
        if error.code != 416 or not done:  # 416: there is nothing behind what we have
            raise SettingsError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise SettingsError(f"{url} cannot be downloaded: {error}; try again to go on") from error


def _open(url: str, start: int) -> HTTPResponse:
    opener = urllib.request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    headers = {"User-Agent": "visagist", **({"Range": f"bytes={start}-"} if start else {})}
    answer = opener.open(urllib.request.Request(url, headers=headers), timeout=_SECONDS)
    assert isinstance(answer, HTTPResponse)
    return answer


def _copy(answer: HTTPResponse, file: BinaryIO) -> None:
    missing = int(answer.headers.get("Content-Length", -1))
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        missing -= len(chunk)
    file.flush()
    os.fsync(file.fileno())
    if missing > 0:
        raise ConnectionError(f"it broke off {missing} bytes before the end")


def _note(item: External, folder: Path, accepted: str | None) -> None:
    """Writes down an accepted hash, so that the file is verified from now on."""
    if accepted and item.sha256 is None and expected_hash(item, folder) is None:
        with (folder / ACCEPTED).open("a", encoding="utf-8") as notes:
            notes.write(f"{accepted}  {item.file}\n")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")
