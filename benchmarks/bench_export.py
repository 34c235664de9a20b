"""Exported networks against the network itself: a photograph of the demo's size, on one thread.

The networks are those of the demos, untrained. RetouchFormer's then takes every token for one to be
mended, which the ONNX file always does; a trained network is faster by itself than here.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.timing import Row, Work, compare
from experiments.export import FORMATS
from experiments.exportable import Exportable, Tensors, exportable
from experiments.networks import built
from experiments.settings import load_chain

NAMES = ("retouchformer_gamma0.1", "crn_mt", "ispl_full", "nasfe", "embedder_demo")


def network_of(name: str) -> Exportable:
    torch.manual_seed(0)
    return exportable(built(load_chain(name, "demo").settings).eval().requires_grad_(False))


def session(network: Exportable, folder: Path) -> Callable[[Tensors], object]:
    """onnxruntime on one thread."""
    import onnxruntime

    path = folder / "network.onnx"
    FORMATS["onnx"].write(network, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in found.get_inputs()]
    return lambda given: found.run(
        None, {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
    )


def program(network: Exportable, folder: Path) -> Callable[[Tensors], object]:
    path = folder / "network.pt2"
    FORMATS["pt2"].write(network, path)
    return FORMATS["pt2"].read(path)


def cases(name: str) -> dict[str, Work]:
    """The network itself, and its files, on the same picture."""
    network = network_of(name)
    side = network.size
    given = network.example(1, side, side)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        onnx, pt2 = (make(network, Path(folder)) for make in (session, program))
    return {
        name: lambda: network.answer(given),
        f"{name}, onnxruntime": lambda: onnx(given),
        f"{name}, pt2": lambda: pt2(given),
    }


def run() -> list[Row]:
    """Each network and its files, in turn; memory is not measured."""
    with torch.inference_mode(False), torch.no_grad():
        return [
            row
            for name in NAMES
            for row in compare("benchmarks.bench_export", cases(name), 15, name, memory=False)
        ]
