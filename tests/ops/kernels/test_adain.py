import pytest
import torch

from ops.kernels.adain import adain


@pytest.mark.parametrize("size", [(8, 8), (5, 3), (1, 2)])
def test_every_channel_is_what_equation_7_says(size):
    content, style = torch.randn(2, 3, 4, *size).double(), torch.randn(2, 4, 6, 7).double()
    found = adain(content, style, eps=1e-12)
    for image in range(2):
        for reference in range(3):
            for channel in range(4):
                clean, dark = content[image, reference, channel], style[image, channel]
                normalised = (clean - clean.mean()) / clean.std(correction=0)
                wanted = dark.std(correction=0) * normalised + dark.mean()
                torch.testing.assert_close(found[image, reference, channel], wanted)


def test_the_result_has_the_mean_and_the_deviation_of_the_style():
    content, style = 3 * torch.randn(2, 5, 4, 9, 9) + 1, 0.2 * torch.randn(2, 4, 8, 6) - 2
    found = adain(content, style)
    mean, deviation = (
        measure.unsqueeze(1).expand(-1, 5, -1)
        for measure in (style.mean((-2, -1)), style.std((-2, -1), correction=0))
    )
    torch.testing.assert_close(found.mean((-2, -1)), mean)
    torch.testing.assert_close(found.std((-2, -1), correction=0), deviation, rtol=1e-3, atol=0)


def test_a_map_in_its_own_style_is_itself():
    maps = torch.randn(2, 4, 7, 5)
    torch.testing.assert_close(adain(maps, maps), maps)


def test_the_style_that_the_content_had_before_does_not_matter():
    content, style = torch.randn(1, 2, 3, 8, 8).double(), torch.randn(1, 3, 8, 8).double()
    first = adain(content, style, eps=1e-14)
    torch.testing.assert_close(adain(7 * content - 3, style, eps=1e-14), first)


def test_one_clean_map_may_come_without_an_axis_of_its_own():
    content, style = torch.randn(2, 1, 3, 8, 8), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(adain(content[:, 0], style), adain(content, style)[:, 0])


def test_no_image_depends_on_another_of_its_batch():
    content, style = torch.randn(3, 2, 4, 6, 6), torch.randn(3, 4, 6, 6)
    alone = adain(content[1:2], style[1:2])
    torch.testing.assert_close(adain(content, style)[1:2], alone)


def test_flat_content_becomes_the_mean_of_the_style():
    style = torch.randn(1, 2, 8, 8)
    found = adain(torch.ones(1, 2, 4, 4), style)
    torch.testing.assert_close(found, style.mean((2, 3), keepdim=True).expand_as(found))


def test_the_gradients_are_those_of_finite_differences():
    content = torch.randn(1, 2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    style = torch.randn(1, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adain, (content, style))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_type_and_takes_its_statistics_in_single(dtype):
    content, style = (100 * torch.randn(2, 1, 3, 64, 64) + 200).to(dtype)
    found = adain(content, style)
    assert found.dtype == dtype
    torch.testing.assert_close(found, adain(content.float(), style.float()).to(dtype))


@pytest.mark.parametrize("which", ["content", "style"])
def test_a_single_pixel_is_refused(which):
    maps = {"content": torch.zeros(1, 2, 4, 4), "style": torch.zeros(1, 2, 4, 4)}
    maps[which] = torch.zeros(1, 2, 1, 1)
    with pytest.raises(ValueError, match=f"{which} needs two pixels"):
        adain(**maps)


def test_an_eps_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"eps must be positive.*got 0"):
        adain(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), eps=0.0)
