import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ops.kernels.moving_average import update_moving_average


def networks(dtype=torch.float64):
    """A teacher and a student that differ in parameters, running statistics and counters."""
    teacher, student = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    student(torch.randn(8, 3))
    return teacher.to(dtype), student.to(dtype)


@settings(max_examples=30, deadline=None)
@given(decay=st.floats(0, 1), steps=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_after_n_steps_the_average_is_the_closed_form(decay, steps, seed):
    torch.manual_seed(seed)
    teacher, student = networks()
    expected = {name: decay**steps * x for name, x in teacher.state_dict().items()}
    for step in range(1, steps + 1):
        with torch.no_grad():
            for value in (*student.parameters(), student[1].running_mean):
                value.normal_()
        for name, value in student.state_dict().items():
            expected[name] = expected[name] + (1 - decay) * decay ** (steps - step) * value
        update_moving_average(teacher, student, decay)
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_the_closed_form_holds_bit_for_bit_where_it_has_no_rounding():
    teacher, student = nn.Linear(1, 1), nn.Linear(1, 1)
    for value, number in ((teacher.weight, 64.0), (student.weight, 0.0)):
        nn.init.constant_(value, number)
    for _ in range(6):
        update_moving_average(teacher, student, 0.5)
    assert teacher.weight.item() == 1.0


def test_it_does_what_torchs_averaged_model_does_after_its_first_copy():
    _, student = networks()
    reference = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    reference.update_parameters(student)
    teacher = copy.deepcopy(student)
    for _ in range(3):
        with torch.no_grad():
            student[0].weight.normal_()
        student(torch.randn(8, 3, dtype=torch.float64))
        reference.update_parameters(student)
        update_moving_average(teacher, student, 0.9)
    for name, value in reference.module.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(teacher.state_dict()[name], value)


def test_running_statistics_are_averaged_and_counters_copied():
    teacher, student = networks()
    mean = 0.75 * teacher[1].running_mean + 0.25 * student[1].running_mean
    update_moving_average(teacher, student, 0.75)
    torch.testing.assert_close(teacher[1].running_mean, mean)
    assert teacher[1].num_batches_tracked == student[1].num_batches_tracked == 1


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_limits_copy_the_source_or_keep_the_average(decay):
    teacher, student = networks()
    expected = copy.deepcopy((student, teacher)[int(decay)])
    update_moving_average(teacher, student, decay)
    for ours, theirs in zip(teacher.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_source_stays_and_no_gradient_is_recorded():
    teacher, student = networks()
    before = copy.deepcopy(student.state_dict())
    update_moving_average(teacher, student, 0.9)
    assert all(torch.equal(before[name], x) for name, x in student.state_dict().items())
    assert all(x.is_leaf and x.grad is None for x in teacher.parameters())


def test_a_float32_average_follows_a_bf16_source_and_keeps_its_dtype():
    teacher, student = networks(torch.float32)
    student.to(torch.bfloat16)
    expected = 0.99 * teacher[0].weight + 0.01 * student[0].weight.float()
    update_moving_average(teacher, student, 0.99)
    assert teacher[0].weight.dtype == torch.float32
    torch.testing.assert_close(teacher[0].weight, expected)


@pytest.mark.parametrize(("dtype", "arrives"), [(torch.float32, True), (torch.bfloat16, False)])
def test_an_average_in_bf16_stops_short_of_its_source(dtype, arrives):
    teacher, student = (nn.Linear(1, 1, bias=False, dtype=dtype) for _ in range(2))
    nn.init.constant_(teacher.weight, 1.0)
    nn.init.constant_(student.weight, 1.125)
    for _ in range(1000):
        update_moving_average(teacher, student, 0.99)
    assert (abs(teacher.weight.item() - 1.125) < 1e-3) is arrives


def test_a_module_without_parameters_is_left_alone():
    update_moving_average(nn.ReLU(), nn.ReLU(), 0.5)


@pytest.mark.parametrize("decay", [-0.1, 1.01])
def test_a_decay_outside_the_unit_interval_is_refused(decay):
    with pytest.raises(ValueError, match=rf"decay must be in \[0, 1\], got {decay}"):
        update_moving_average(nn.Linear(1, 1), nn.Linear(1, 1), decay)


def test_networks_of_other_structure_are_refused_before_anything_changes():
    teacher = nn.Linear(2, 3)
    before = teacher.weight.detach().clone()
    with pytest.raises(ValueError, match="got bias in only one of them"):
        update_moving_average(teacher, nn.Linear(2, 3, bias=False), 0.5)
    with pytest.raises(ValueError, match=r"weight must have the same shape .* \(3, 4\)"):
        update_moving_average(teacher, nn.Linear(4, 3), 0.5)
    assert torch.equal(teacher.weight, before)
