import pytest
import torch
import torch.nn.functional as F

from ops.kernels.second_moment import (
    SecondMoment,
    as_planes,
    channels_of,
    fast_length,
    second_moment,
)


def by_unfolding(planes, patch_size):
    """The moment from every patch, cut out one by one."""
    patches = F.unfold(planes.double(), patch_size).movedim(1, -1).flatten(0, 1)
    return patches.mT @ patches


@pytest.mark.parametrize(
    ("k", "patch_size", "h", "w"),
    [(1, 11, 30, 37), (1, 11, 11, 11), (1, 11, 12, 19), (3, 5, 9, 7), (1, 1, 4, 5), (1, 2, 2, 2)],
)
def test_the_moment_is_that_of_all_patches_cut_out(k, patch_size, h, w):
    planes = torch.rand(3, k, h, w, dtype=torch.float64)
    moment = second_moment(planes, patch_size)
    torch.testing.assert_close(moment, by_unfolding(planes, patch_size), rtol=1e-10, atol=0)


def test_the_moment_of_many_maps_is_the_sum_over_them(monkeypatch):
    planes = torch.randn(5, 1, 9, 8)
    whole = second_moment(planes, 3)
    monkeypatch.setattr("ops.kernels.second_moment._CHUNK", 1)
    torch.testing.assert_close(second_moment(planes, 3), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_sums_are_of_float64_whatever_the_maps_and_autocast_are(dtype):
    planes = torch.randn(2, 1, 12, 9).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        moment = second_moment(planes, 4)
    assert moment.dtype == torch.float64
    torch.testing.assert_close(moment, by_unfolding(planes, 4), rtol=1e-10, atol=1e-10)


def test_no_maps_have_the_moment_0_and_no_gradient_is_recorded():
    assert not second_moment(torch.zeros(0, 1, 7, 7), 3).any()
    assert not second_moment(torch.rand(1, 1, 7, 7, requires_grad=True), 3).requires_grad


def test_a_map_of_one_value_gives_its_square_times_the_patches():
    moment = second_moment(torch.full((2, 1, 10, 12), 0.5), 3)
    torch.testing.assert_close(moment, torch.full((9, 9), 2 * 8 * 10 * 0.25, dtype=torch.float64))


def test_maps_of_several_sizes_are_summed_and_their_patches_counted():
    meter = SecondMoment(3, "per_channel")
    batches = [torch.randn(2, 3, 8, 9), torch.randn(1, 3, 3, 5)]
    for maps in batches:
        meter.update(maps)
    expected = sum(by_unfolding(as_planes(maps, "per_channel"), 3) for maps in batches)
    assert int(meter.patches) == 6 * 6 * 7 + 3 * 3
    torch.testing.assert_close(meter.mean(), expected / int(meter.patches))


def test_joint_patches_run_over_the_channels_first():
    meter, maps = SecondMoment(2, "joint_rgb"), torch.randn(2, 3, 5, 4)
    meter.update(maps)
    torch.testing.assert_close(meter.total, by_unfolding(maps, 2))


def test_a_merged_moment_is_that_of_all_maps():
    maps = torch.randn(3, 3, 7, 6)
    whole, first, second = (SecondMoment(3, "per_channel") for _ in range(3))
    whole.update(maps)
    first.update(maps[:1])
    second.update(maps[1:])
    first.merge(second)
    assert first.patches == whole.patches
    torch.testing.assert_close(first.total, whole.total, rtol=1e-12, atol=1e-12)


def seen_in_parallel(rank):
    meter = SecondMoment(3, "per_channel")
    maps = torch.arange(3 * 5 * 6.0).view(1, 3, 5, 6).sin() + rank
    meter.update(maps)
    meter.sum_over_ranks()
    return meter.state_dict(), maps


def test_two_processes_end_with_the_sum_of_both(two_processes):
    (first, maps), (second, others) = two_processes(seen_in_parallel)
    whole = SecondMoment(3, "per_channel")
    whole.update(torch.cat([maps, others]))
    assert torch.equal(first["total"], second["total"])
    assert first["patches"] == second["patches"] == whole.patches
    torch.testing.assert_close(first["total"], whole.total, rtol=1e-12, atol=1e-12)


def test_without_other_processes_summing_changes_nothing():
    meter = SecondMoment(2, "per_channel")
    meter.update(torch.randn(1, 1, 4, 4))
    before = meter.total.clone()
    meter.sum_over_ranks()
    assert torch.equal(meter.total, before)


def test_a_saved_moment_goes_on_as_it_was():
    meter, copy = (SecondMoment(2, "per_channel") for _ in range(2))
    meter.update(torch.randn(1, 3, 4, 4))
    copy.load_state_dict(meter.state_dict())
    assert torch.equal(copy.mean(), meter.mean())


@pytest.mark.parametrize("length", [1, 4, 5, 58, 522, 1034])
def test_a_fast_length_is_long_enough_and_has_small_factors_only(length):
    rest = found = fast_length(length)
    for factor in (2, 3, 5, 7, 11):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1
    assert found % 4 == 0
    assert length <= found <= max(8, length * 1.3)


MAPS = torch.ones(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: second_moment(MAPS, 5), r"patch_size must be from 1 to .* \(4, 5\), got 5"),
        (lambda: second_moment(MAPS, 0), r"patch_size must be from 1 to .*, got 0"),
        (lambda: SecondMoment(0, "per_channel"), "patch_size must be at least 1, got 0"),
        (lambda: channels_of("grey"), "mode must be per_channel or joint_rgb, got grey"),
        (lambda: as_planes(MAPS[:, :2], "joint_rgb"), "maps of 3 channels, got 2"),
        (lambda: fast_length(0), "length must be at least 1, got 0"),
        (lambda: SecondMoment(2, "per_channel").mean(), "no patch was seen"),
        (lambda: SecondMoment(2, "per_channel").update(MAPS * torch.inf), "maps must be finite"),
        (
            lambda: SecondMoment(2, "per_channel").merge(SecondMoment(2, "joint_rgb")),
            "2 x 2 patches per_channel can be merged with this one, got 2 and joint_rgb",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(unchecked_types, call, message):
    with pytest.raises(ValueError, match=message):
        call()
