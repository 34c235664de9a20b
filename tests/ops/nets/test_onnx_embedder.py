import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from ops.nets.onnx_embedder import OnnxEmbedder
from ops.nets.weights import origin

SIDE = 8


def network(path: Path, batch: int | str = "b") -> np.ndarray:
    """Writes an ONNX file of one matrix over all pixels; the matrix."""
    matrix = np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, 5)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [batch, 5])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["vector"]),
    ]
    known = [numpy_helper.from_array(matrix, "matrix")]
    graph = helper.make_graph(nodes, "judge", [image], [vector], known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return matrix


@pytest.mark.parametrize("batch", ["b", 1])
def test_pixels_go_in_from_minus_one_to_one_and_vectors_come_out(batch, tmp_path):
    matrix = network(tmp_path / "net.onnx", batch)
    judge = OnnxEmbedder(str(tmp_path / "net.onnx"), size=SIDE)
    image = torch.rand(3, 3, SIDE, SIDE)
    pixels = (255 * image - 127.5) / 127.5
    expected = pixels.flatten(1) @ torch.from_numpy(matrix)
    torch.testing.assert_close(judge(image), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(judge.normalised(image), F.normalize(judge(image)))
    assert judge.dimensions == 5
    assert judge.origin == origin(tmp_path / "net.onnx")
    large = F.interpolate(image, (20, 24), mode="bilinear")
    small = F.interpolate(large, (SIDE, SIDE), mode="bilinear", antialias=True)
    torch.testing.assert_close(judge(large), judge(small))


def test_it_passes_no_gradients(tmp_path):
    network(tmp_path / "net.onnx")
    judge = OnnxEmbedder(str(tmp_path / "net.onnx"), size=SIDE)
    assert not judge(torch.rand(1, 3, SIDE, SIDE, requires_grad=True)).requires_grad


def test_a_wrong_file_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(FileNotFoundError, match=r"no ONNX network at .*net\.onnx"):
        OnnxEmbedder(str(path))
    network(path)
    with pytest.raises(ValueError, match="not images of 3 x 112 x 112"):
        OnnxEmbedder(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert OnnxEmbedder(str(path), sha256=digest, size=SIDE).comparable
    with pytest.raises(ValueError, match=f"has sha256 {digest}, expected {'0' * 64}"):
        OnnxEmbedder(str(path), sha256="0" * 64, size=SIDE)
    with pytest.raises(ValueError, match=r"expected 4c06341c[0-9a-f]{56} as the published"):
        OnnxEmbedder(str(path.rename(tmp_path / "w600k_r50.onnx")), size=SIDE)
    path.write_bytes(b"not a network")
    with pytest.raises(ValueError, match="is no ONNX network"):
        OnnxEmbedder(str(path))
