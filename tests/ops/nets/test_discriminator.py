import torch

from ops.nets.discriminator import PixelDiscriminator


def test_there_is_one_logit_a_pixel_at_any_size() -> None:
    judge = PixelDiscriminator((4, 6, 8))
    for size in ((32, 32), (33, 47)):
        assert judge(torch.rand(2, 3, *size), torch.rand(2, 1, *size)).shape == (2, 1, *size)


def test_every_level_sees_the_mask() -> None:
    judge = PixelDiscriminator((4, 6, 8))
    seen = {}
    layers = {"stem": judge.stem, "head": judge.head}
    layers |= {f"down {i}": layer for i, layer in enumerate(judge.downs)}
    layers |= {f"up {i}": layer for i, layer in enumerate(judge.projections)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    mask = torch.rand(1, 1, 16, 16)
    judge(torch.rand(1, 3, 16, 16), mask)
    assert len(seen) == len(layers) == 6
    for x in seen.values():
        stride = 16 // x.shape[-1]
        torch.testing.assert_close(x[:, -1:], torch.nn.functional.avg_pool2d(mask, stride))


def test_every_layer_has_a_spectral_norm_of_about_one() -> None:
    judge = PixelDiscriminator((4, 6, 8))
    for _ in range(30):
        judge(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))
    for layer in (judge.stem, judge.head, *judge.downs, *judge.projections, *judge.ups):
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        torch.testing.assert_close(norm, torch.tensor(1.0), atol=0.05, rtol=0)


def test_the_power_iteration_is_in_the_state_so_that_a_resumed_run_goes_on_the_same() -> None:
    first, second = PixelDiscriminator((4, 6)), PixelDiscriminator((4, 6))
    image, mask = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    first(image, mask)
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        assert torch.equal(first(image, mask), second(image, mask))


def test_every_parameter_learns() -> None:
    judge = PixelDiscriminator((4, 6, 8))
    judge(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)).square().sum().backward()
    without = [n for n, p in judge.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
