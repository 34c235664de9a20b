"""Trained weights from files that others made: read as tensors alone, and only if untampered."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# The start of a file's hash in its name, as PyTorch's model zoo has it: vgg19-dcbb9e9d.pth. A
# letter tells it from a date.
_IN_NAME = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8,64})\.")


def read_weights(path: str | Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; nothing that a file brings along is run.

    Args:
        path: of a .safetensors file, or of one that torch.save wrote.
        sha256: what the file must hash to, in 64 hexadecimal digits; without it, the digits that
            the file's name promises, if it does.

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
    promised = _IN_NAME.search(path.name)
    expected = sha256.lower() if sha256 else promised.group(1) if promised else ""
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == expected or (not sha256 and found.startswith(expected)):
        return
    which = expected if sha256 else f"{expected}... as its name says"
    raise ValueError(
        f"{path} has sha256 {found}, expected {which}: it is damaged or another file, replace it"
    )


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(str(path))
    return torch.load(path, map_location="cpu", weights_only=True)
