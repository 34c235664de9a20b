import pytest
import torch
import torch.nn.functional as F

from ops.kernels.mirrored_filter import divide, gain, gain_on_grid, multiply, nearest_filter


def falling_gain(contrast=100.0, filters=2, steps=64):
    """From `contrast` at frequency 0 down to 1 at the corner, as scales of components fall."""
    frequency = torch.arange(steps + 1, dtype=torch.float64) * torch.pi / steps
    near = (2 + torch.cos(frequency)[:, None] + torch.cos(frequency)) / 4
    return (1 + (contrast - 1) * near**4).expand(filters, -1, -1).clone()


def test_a_filter_has_the_gains_of_its_own_transform():
    kernel = torch.rand(2, 5, 5, dtype=torch.float64)
    kernel = kernel + kernel.flip(-1)
    kernel = kernel + kernel.flip(-2)
    frequency = 2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
    around = torch.roll(F.pad(kernel, (0, 11, 0, 11)), (-2, -2), (-2, -1))
    expected = torch.fft.fft2(around)
    torch.testing.assert_close(gain(kernel, frequency, frequency), expected.real)
    assert expected.imag.abs().max() < 1e-12


def test_only_the_even_part_of_a_kernel_counts_on_the_grid():
    kernel = torch.rand(1, 5, 5, dtype=torch.float64)
    kernel = kernel + kernel.flip(-1, -2)
    torch.testing.assert_close(gain_on_grid(kernel), gain_on_grid(kernel.flip(-1)))
    frequency = torch.arange(65, dtype=torch.float64) * torch.pi / 64
    even = (kernel + kernel.flip(-1)) / 2
    torch.testing.assert_close(gain_on_grid(kernel), gain(even, frequency, frequency))


def test_the_nearest_filter_finds_a_filter_of_its_own_size():
    taps = torch.zeros(1, 11, 11, dtype=torch.float64)
    taps[0, 5, 5], taps[0, 5, [4, 6]], taps[0, [0, 10], 5] = 3.0, 0.5, 0.25
    torch.testing.assert_close(nearest_filter(gain_on_grid(taps)), taps)


def test_small_gains_are_met_as_well_as_large_ones():
    wanted = falling_gain()
    found = gain_on_grid(nearest_filter(wanted))
    assert (found / wanted - 1).abs().max() < 0.02


def test_a_filter_that_cannot_follow_its_gains_is_lifted_to_stay_positive():
    wanted = torch.ones(1, 65, 65, dtype=torch.float64)
    wanted[:, :3] = 1e6
    found = gain_on_grid(nearest_filter(wanted))
    assert found.min() >= 0.499


@pytest.mark.parametrize(("h", "w"), [(16, 21), (5, 3), (1, 2), (1, 1)])
def test_a_filter_is_undone_at_every_pixel(h, w):
    taps, planes = nearest_filter(falling_gain()), torch.randn(3, 2, h, w)
    torch.testing.assert_close(multiply(divide(planes, taps), taps), planes, rtol=0, atol=2e-5)
    exact = planes.double()
    torch.testing.assert_close(divide(multiply(exact, taps), taps), exact, rtol=0, atol=1e-12)


def test_a_convolution_continues_the_picture_by_its_mirror_image():
    taps, planes = nearest_filter(falling_gain(filters=1)), torch.randn(1, 1, 6, 7).double()
    wide = torch.cat([planes.flip(-1), planes, planes.flip(-1)], -1)
    wide = torch.cat([wide.flip(-2), wide, wide.flip(-2)], -2)
    expected = F.conv2d(wide, taps.unsqueeze(1), padding=5)[..., 6:12, 7:14]
    torch.testing.assert_close(multiply(planes, taps), expected)


def test_each_channel_has_its_filter():
    taps = torch.zeros(2, 11, 11)
    taps[0, 5, 5], taps[1, 5, 5] = 2.0, 3.0
    planes = torch.rand(1, 2, 4, 4)
    expected = planes * torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(multiply(planes, taps), expected)
    torch.testing.assert_close(divide(expected, taps), planes)


def test_no_planes_stay_none():
    taps = nearest_filter(falling_gain(filters=1))
    for way in (multiply, divide):
        assert way(torch.zeros(0, 1, 4, 5), taps).shape == (0, 1, 4, 5)


def test_gradients_are_those_of_finite_differences():
    taps = nearest_filter(falling_gain(4.0, filters=1))
    planes = torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    for way in (multiply, divide):
        assert torch.autograd.gradcheck(lambda x, way=way: way(x, taps), planes)


def test_gains_that_are_not_positive_are_refused_by_value():
    with pytest.raises(ValueError, match=r"gains must be positive, got 0\.0"):
        nearest_filter(torch.zeros(1, 65, 65, dtype=torch.float64))
