"""Trained weights from files that others made: read as tensors alone, and only if untampered."""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

# The hashes that their publishers give for the files of these names, as sha256sum writes and
# checks them. Text, for `make weights` reads it too and must not wait for torch.
_KNOWN: Final = Path(__file__).with_name("known.sha256")
# The start of a file's hash in its name, as PyTorch's model zoo has it: vgg19-dcbb9e9d.pth. A
# letter tells it from a date.
_IN_NAME: Final = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8,64})\.")
_DIGITS: Final = 8  # of a hash, in a table


def read_weights(path: str | Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; nothing that a file brings along is run.

    Args:
        path: of a .safetensors file, or of one that torch.save wrote.
        sha256: what the file must hash to, in 64 hexadecimal digits; without it, what the
            published file of this name does, or else the digits that the name promises, if any.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has another hash, or holds anything but tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights at {path}: put the file there, give its path, or see make weights"
        )
    verify(path, sha256)
    try:
        state = _read(path)
    except Exception as error:  # whatever a foreign file provokes, the remedy is the same
        raise ValueError(
            f"{path} cannot be read as weights: it must hold tensors by name and nothing else"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise ValueError(f"{path} holds no state dict, which is tensors by name and nothing else")
    return state


def verify(path: Path, sha256: str | None = None) -> None:
    """Nothing, for a file whose hash is the one expected; see `read_weights`.

    Raises:
        ValueError: if it is another one; both are told.
    """
    expected, why = _expected(path.name, sha256)
    if not expected:
        return
    found = sha256_of(path)
    if found == expected or (not sha256 and found.startswith(expected)):
        return
    raise ValueError(
        f"{path} has sha256 {found}, expected {expected}{why}: it is damaged or another file; get "
        "it again (make weights), or, if it is the one that you want, give its own sha256 or name"
    )


def origin(path: str | Path) -> str:
    """A file's name and the first 8 digits of its hash, so that a table says which weights it is.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    return f"{Path(path).name} (sha256 {sha256_of(Path(path))[:_DIGITS]})"


def sha256_of(path: Path) -> str:
    """The hash of a file, in 64 hexadecimal digits.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def known_hashes() -> dict[str, str]:
    """The hash of each published file by its name, as far as anybody publishes it."""
    lines = _KNOWN.read_text(encoding="ascii").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _expected(name: str, sha256: str | None) -> tuple[str, str]:
    """What a file's hash has to start with, and why."""
    if sha256:
        return sha256.lower(), ""
    if name in known_hashes():
        return known_hashes()[name], " as the published file of this name has"
    promised = _IN_NAME.search(name)
    return (promised.group(1), "... as its name says") if promised else ("", "")


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(str(path))
    return torch.load(path, map_location="cpu", weights_only=True)
