import torch

from ops.losses.consistency import consistency, perceptual


def halves(image: torch.Tensor) -> list[torch.Tensor]:
    """Two feature maps of different size."""
    return [image.square(), 3 * image[..., ::2, ::2]]


def test_the_loss_is_the_weighted_l1_and_the_squared_distances_of_the_features() -> None:
    output, target = torch.rand(2, 2, 3, 8, 6)
    pixels = (output - target).abs().sum() / output.numel()
    first = (output**2 - target**2).pow(2).sum() / output.numel()
    second = (3 * (output - target)[..., ::2, ::2]).pow(2).sum() / (output.numel() / 4)
    loss = consistency(output, target, halves, weight=7.0)
    torch.testing.assert_close(loss, 7 * pixels + first + second)


def test_a_perfect_output_has_no_loss() -> None:
    image = torch.rand(1, 3, 8, 8)
    assert consistency(image, image.clone(), halves).item() == 0.0


def test_the_loss_does_not_depend_on_the_size_of_the_image() -> None:
    output, target = torch.rand(2, 1, 3, 8, 8)
    larger = [x.repeat(1, 1, 3, 3) for x in (output, target)]
    torch.testing.assert_close(
        consistency(*larger, features=halves), consistency(output, target, halves)
    )


def test_only_the_output_receives_a_gradient() -> None:
    output, target = (torch.rand(1, 3, 8, 8, requires_grad=True) for _ in range(2))
    perceptual(output, target, halves).backward()
    assert output.grad is not None
    assert target.grad is None
