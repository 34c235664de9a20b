"""Which form of an operator runs: plain torch, Triton where a GPU has it, or one to export."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


class Form(Enum):
    """The forms that an operator of ours may have."""

    TORCH = "torch"
    TRITON = "triton"


_TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_forced: Form | None = None


def form_for(x: Tensor) -> Form:
    """TRITON for float32, bfloat16 and float16 on CUDA with Triton installed, else TORCH.

    Inside `forced` it is what was asked for.
    """
    if _forced is not None:
        return _forced
    fits = x.device.type == "cuda" and x.dtype in _TRITON_DTYPES and _has_triton()
    return Form.TRITON if fits else Form.TORCH


def exporting() -> bool:
    """Whether a program is being written down, for which every operator takes its plainest form.

    That form has no operator of ours, no Fourier transform, no loop over a size and no branch on a
    number or a size, so that one program serves every image, and ONNX knows all of its operators.
    ONNX and TorchScript are made of the program of torch.export too, so it is the one to ask for.
    """
    return torch.compiler.is_exporting()


@contextmanager
def forced(form: Form) -> Iterator[None]:
    """Every operator with two forms runs in this one, in all threads of the process."""
    # Not a context variable: gradients on a GPU are computed in another thread.
    global _forced  # noqa: PLW0603
    before, _forced = _forced, form
    try:
        yield
    finally:
        _forced = before


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
