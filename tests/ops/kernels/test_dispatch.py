import threading

import pytest
import torch

from ops.kernels import dispatch
from ops.kernels.dispatch import Form, exporting, forced, form_for


class Elsewhere:
    """Stands for a tensor on a device that this machine may not have."""

    def __init__(self, device, dtype):
        self.device, self.dtype = torch.device(device), dtype


@pytest.mark.parametrize(
    ("device", "dtype", "triton", "form"),
    [
        ("cuda", torch.float32, True, Form.TRITON),
        ("cuda", torch.bfloat16, True, Form.TRITON),
        ("cuda", torch.float64, True, Form.TORCH),
        ("cuda", torch.float32, False, Form.TORCH),
        ("cpu", torch.float32, True, Form.TORCH),
        ("mps", torch.float32, True, Form.TORCH),
    ],
)
def test_triton_runs_on_cuda_in_the_dtypes_it_multiplies_where_it_is_installed(
    unchecked_types, monkeypatch, device, dtype, triton, form
):
    monkeypatch.setattr(dispatch, "_has_triton", lambda: triton)
    assert form_for(Elsewhere(device, dtype)) is form


def test_a_forced_form_holds_in_all_threads_and_ends_with_its_block():
    x, seen = torch.zeros(1), []
    with forced(Form.TRITON):
        thread = threading.Thread(target=lambda: seen.append(form_for(x)))
        thread.start()
        thread.join()
        with forced(Form.TORCH):
            assert form_for(x) is Form.TORCH
        assert form_for(x) is Form.TRITON
    assert seen == [Form.TRITON]
    assert form_for(x) is Form.TORCH


def test_a_forced_form_ends_with_an_error_too():
    def fail():
        with forced(Form.TRITON):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert form_for(torch.zeros(1)) is Form.TORCH


class Told(torch.nn.Module):
    """Adds 1 while it is written down."""

    def forward(self, x):
        return x + 1 if exporting() else x


def test_a_program_that_is_written_down_takes_the_forms_for_it():
    x = torch.zeros(2)
    assert torch.equal(Told()(x), x)
    assert torch.equal(torch.export.export(Told(), (x,)).module()(x), x + 1)
    assert not exporting()
