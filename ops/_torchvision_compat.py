"""Declares the two operators that torchvision's CUDA build cannot register beside a CPU torch.

torchvision publishes no CPU build for torch 2.13 on the package index. Its CUDA build fails at
import beside CPU torch ("operator torchvision::nms does not exist"), and with it everything that
imports torchvision: torchmetrics, timm, lpips, pytorch_lightning. Nothing here calls these
operators; declaring their signatures is enough for the import. On a CUDA torch, and where the
extension loads, this does nothing.
"""

import importlib.util
from pathlib import Path

import torch

_library: torch.library.Library | None = None  # keeps the declarations alive


def declare_missing_operators() -> None:
    """Torchvision's `nms` and `qnms` declared, if its extension does not load here."""
    global _library  # noqa: PLW0603 - a second declaration would raise
    spec = importlib.util.find_spec("torchvision")  # does not import it
    on_gpu = torch.version.cuda is not None or torch.version.hip is not None
    if _library is not None or spec is None or spec.origin is None or on_gpu:
        return
    try:
        torch.ops.load_library(next(Path(spec.origin).parent.glob("_C*.so")))
    except (OSError, StopIteration):
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
