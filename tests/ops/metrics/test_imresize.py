import numpy as np
import pytest
import torch
from PIL import Image

from ops.metrics.imresize import imresize, mirrored


def by_pillow(plane: torch.Tensor, factor: int) -> torch.Tensor:
    """Pillow's cubic reduction of a plane mirrored by whole periods, without its own border."""
    reach = 4 * factor
    around = np.pad(plane.numpy(), reach, mode="symmetric").astype(np.float32)
    height, width = (side // factor for side in around.shape)
    small = np.array(Image.fromarray(around).resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(small[4:-4, 4:-4].copy())


@pytest.mark.parametrize(("factor", "size"), [(2, (96, 50)), (3, (30, 63)), (4, (32, 44))])
def test_whole_parts_are_pillows_of_the_mirrored_image(factor, size):
    plane = torch.rand(size)
    found = imresize(plane[None, None], factor)[0, 0]
    torch.testing.assert_close(found, by_pillow(plane, factor), rtol=0, atol=2e-6)


def keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def by_sums(line, factor):
    """MATLAB's sum for each output: the kernel widened, its weights normalised, ends mirrored."""
    n, out = len(line), []
    for i in range(-(-n // factor)):
        centre = factor * (i + 0.5) - 0.5
        total = weights = 0.0
        for j in range(int(centre) - 2 * factor - 1, int(centre) + 2 * factor + 3):
            cubic = keys((j - centre) / factor)
            place = j % (2 * n)
            total += cubic * line[place if place < n else 2 * n - 1 - place]
            weights += cubic
        out.append(total / weights)
    return out


@pytest.mark.parametrize(("factor", "size"), [(2, 9), (2, 10), (2, 4), (3, 10), (3, 11), (5, 23)])
def test_every_output_is_matlabs_sum_up_to_the_border_at_odd_sizes_too(factor, size):
    line = torch.rand(size, dtype=torch.float64)
    wanted = torch.tensor(by_sums(line.tolist(), factor), dtype=torch.float64)
    image = line.expand(2 * factor, -1)
    across, down = (imresize(each[None, None], factor)[0, 0] for each in (image, image.T))
    torch.testing.assert_close(across[0], wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(down[:, 0], wanted, rtol=0, atol=1e-12)


def test_a_constant_stays_what_it_is():
    found = imresize(torch.full((2, 3, 17, 12), 0.7, dtype=torch.float64), 2)
    assert found.shape == (2, 3, 9, 6)
    torch.testing.assert_close(found, torch.full_like(found, 0.7), rtol=0, atol=1e-14)


def test_inside_a_ramp_each_output_is_the_middle_of_its_pixels():
    ramp = torch.arange(40, dtype=torch.float64).expand(1, 1, 8, -1)
    inner = imresize(ramp, 2)[0, 0, 0, 2:-2]
    torch.testing.assert_close(inner, 2 * torch.arange(2, 18).double() + 0.5, rtol=0, atol=1e-12)


def test_the_mirror_image_repeats_the_border_pixel():
    assert mirrored(torch.tensor([1.0, 2.0, 3.0]), 2, 0).tolist() == [2, 1, 1, 2, 3, 3, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kind_of_numbers_is_kept(dtype):
    assert imresize(torch.rand(1, 1, 8, 8, dtype=dtype), 2).dtype == dtype


@pytest.mark.parametrize(("factor", "side"), [(1, 9), (0, 9), (3, 5)])
def test_what_cannot_be_reduced_is_refused(factor, side):
    with pytest.raises(ValueError, match=rf"2 or more and both sides .* got {factor} for"):
        imresize(torch.rand(1, 1, side, 9), factor)
