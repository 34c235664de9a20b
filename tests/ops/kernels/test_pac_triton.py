"""Triton reads its kernels' sources: they run in a process without pytest's checks of types."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None,
    reason="Triton is not installed; it comes with torch for CUDA (pip install triton==3.7.1)",
)

# Largest error of each result, in parts of its largest number, against the torch form in float64.
AGREEMENT = """
import json, sys
import torch
from ops.kernels import pac_torch, pac_triton
from ops.kernels.bands import sliding_window
from ops.kernels.dispatch import Form, forced
from ops.kernels.pac import pixel_adaptive_conv2d
torch.set_num_threads(1)
torch.manual_seed(0)
torch.backends.cudnn.allow_tf32 = False
device, dtypes = sys.argv[1], sys.argv[2].split(",")
settings = {
    "plain": ((2, 5, 9, 11), 3, {"padding": 1}),
    "settings": ((1, 3, 12, 10), 3, {"stride": (2, 3), "padding": (2, 1), "dilation": (2, 1)}),
    "channels": ((1, 35, 4, 3), 70, {"padding": "same"}),
    "pixel": ((1, 2, 1, 1), 4, {"padding": 1}),
}

def results(given, others):
    out = pixel_adaptive_conv2d(*given, **others)
    return [out, *torch.autograd.grad(out, given, slope.to(out))]

errors = {}
for name, (size, outputs, others) in settings.items():
    window = sliding_window(size[2:], 3, **others)
    sizes = [size, (size[0], 9, *window.output), (outputs, size[1], 3, 3), (outputs,)]
    slope = torch.randn(size[0], outputs, *window.output, device=device)
    exact = [torch.randn(*one, device=device) for one in sizes]
    for dtype in dtypes if name == "plain" else dtypes[:1]:
        given = [one.to(getattr(torch, dtype)).requires_grad_() for one in exact]
        with forced(Form.TRITON):
            found = results(given, others)
        assert all(one.dtype == given[0].dtype for one in found)
        with forced(Form.TORCH):
            theirs = results([one.detach().double().requires_grad_() for one in given], others)
        pairs = zip(("out", "x", "kernel", "weight", "bias"), found, theirs)
        errors[f"{name} {dtype}"] = {
            key: ((a - b).abs().max() / b.abs().max()).item() for key, a, b in pairs
        }
empty = [torch.zeros(*one, device=device) for one in ((0, 3, 5, 5), (0, 9, 5, 5), (4, 3, 3, 3))]
window = sliding_window((5, 5), 3, padding=1)
out = pac_triton.convolve(*empty, None, window)
found = pac_triton.convolve_backward(out, *empty, window, pac_torch.Wanted(kernel=False))
shapes = [list(out.shape), *(None if one is None else list(one.shape) for one in found)]
print(json.dumps([errors, shapes]))
"""

# What the interpreter does not see: whether a GPU's compiler takes the kernels.
COMPILING = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ops.kernels import pac_triton
maps = "*bf16"
kernels = {
    pac_triton._convolve: ("x", "kernel", "weight", "bias", "out"),
    pac_triton._backward_x: ("grad", "kernel", "weight", "found"),
    pac_triton._backward_kernel: ("grad", "x", "weight", "found"),
    pac_triton._backward_weight: ("grad", "x", "kernel", "found"),
}
numbers = {
    "SIZE": (64, 128, 128, 64, 128, 128), "WINDOW": (3, 3, 1, 1, 1, 1, 1, 1),
    "TILE": (*pac_triton._TILE, 1),
}
for kernel, names in kernels.items():
    types = {**dict.fromkeys(names, maps), **dict.fromkeys(numbers, "constexpr")}
    given = dict(numbers)
    if kernel is pac_triton._backward_weight:
        types["parts"], given["parts"] = "constexpr", 1
    source = ASTSource(kernel, types, given)
    print("mma" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"])
"""


def run(script, folder, *arguments, **environment):
    """What a script prints that runs in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**kept, "TRITON_CACHE_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def check(printed, bounds):
    errors, shapes = json.loads(printed)
    assert {key: max(of_all.values()) for key, of_all in errors.items()} == {
        key: pytest.approx(0, abs=bounds[key.split()[1]]) for key in errors
    }
    assert shapes == [[0, 4, 5, 5], [0, 3, 5, 5], None, [4, 3, 3, 3]]


@needs_triton
def test_both_passes_agree_with_the_torch_form_in_the_interpreter(tmp_path):
    # Not bfloat16, whose products the interpreter takes for those of integers.
    printed = run(AGREEMENT, tmp_path, "cpu", "float32,float16", TRITON_INTERPRET="1")
    check(printed, {"float32": 1e-6, "float16": 3e-3})


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_both_passes_agree_with_the_torch_form_on_a_gpu(tmp_path):
    printed = run(AGREEMENT, tmp_path, "cuda", "float32,float16,bfloat16")
    check(printed, {"float32": 1e-5, "float16": 3e-3, "bfloat16": 2e-2})


@needs_triton
def test_a_gpu_compiler_takes_the_kernels_and_puts_them_on_tensor_cores(tmp_path):
    assert run(COMPILING, tmp_path).split() == ["True"] * 4


@pytest.mark.skipif(find_spec("triton") is not None, reason="Triton is installed")
def test_without_triton_the_error_names_the_package_and_the_way_around():
    with pytest.raises(ImportError, match=r"pip install triton==.*, or use .*dispatch\.forced"):
        from ops.kernels import pac_triton  # noqa: F401
