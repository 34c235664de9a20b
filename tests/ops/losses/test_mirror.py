import pytest
import torch

from ops.losses.mirror import mirror_asymmetry


def test_it_is_the_distance_of_each_image_from_its_mirror_image() -> None:
    image = torch.randn(2, 3, 4, 5)
    result = mirror_asymmetry(image)
    for i in range(2):
        pairs = [(y, x) for y in range(4) for x in range(5)]
        squares = sum(
            float(image[i, c, y, x] - image[i, c, y, 4 - x]) ** 2
            for c in range(3)
            for y, x in pairs
        )
        assert result[i].item() == pytest.approx(squares**0.5, rel=1e-5)


@pytest.mark.parametrize("width", [1, 6, 7])
def test_a_symmetric_image_has_none_and_no_gradient(width: int) -> None:
    image = torch.rand(2, 3, 4, width)
    image = (image + image.flip(-1)).requires_grad_()
    result = mirror_asymmetry(image)
    assert torch.equal(result, torch.zeros(2))
    result.sum().backward()
    assert torch.equal(image.grad, torch.zeros_like(image))


def test_an_image_upside_down_is_no_less_symmetric() -> None:
    image = torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(mirror_asymmetry(image.flip(-2)), mirror_asymmetry(image))
    assert (mirror_asymmetry(image.mT) - mirror_asymmetry(image)).abs().min() > 1e-3


def test_its_pull_does_not_fade() -> None:
    pulls = []
    for strength in (1.0, 1e-3):
        image = (strength * torch.arange(4.0).expand(1, 1, 4, 4)).requires_grad_()
        pulls.append(torch.autograd.grad(mirror_asymmetry(image).sum(), image)[0])
    torch.testing.assert_close(pulls[0], pulls[1])


def test_its_derivative_is_right() -> None:
    image = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mirror_asymmetry, image)


def test_half_precision_is_summed_in_float32() -> None:
    image = torch.rand(2, 3, 16, 16).bfloat16()
    assert mirror_asymmetry(image).dtype == torch.float32
    torch.testing.assert_close(mirror_asymmetry(image), mirror_asymmetry(image.float()))
