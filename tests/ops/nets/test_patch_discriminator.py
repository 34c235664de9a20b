import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ops.nets.patch_discriminator import MultiScaleDiscriminator, PatchDiscriminator


def small() -> MultiScaleDiscriminator:
    return MultiScaleDiscriminator(widths=(4, 6, 8, 8))


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (4, 4), (4, 50)])
def test_each_scale_has_a_map_a_layer_and_a_logit_a_patch(size: tuple[int, int]) -> None:
    judgements = small()(torch.rand(2, 3, *size), torch.rand(2, 3, *size))
    assert len(judgements) == 2
    for judgement in judgements:
        assert [m.shape[:2] for m in judgement.maps] == [(2, 4), (2, 6), (2, 8), (2, 8)]
        assert judgement.logits.shape[:2] == (2, 1)
        assert min(m.shape[-2:].numel() for m in judgement.maps) > 1
        assert torch.isfinite(judgement.logits).all()


def test_the_published_one_has_three_halvings_and_five_and_a_half_million_parameters() -> None:
    with torch.device("meta"):
        plain = nn.ModuleList(
            nn.Conv2d(a, b, 4, bias=bias)
            for a, b, bias in ((6, 64, True), (64, 128, False), (128, 256, False))
        )
        plain.extend([nn.Conv2d(256, 512, 4, bias=False), nn.Conv2d(512, 1, 4)])
    wanted = sum(p.numel() for p in plain.parameters())
    judge = MultiScaleDiscriminator()
    assert sum(p.numel() for p in judge.parameters()) == 2 * wanted == 5_533_826
    judgements = judge(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    assert [m.shape[-1] for m in judgements[0].maps] == [33, 17, 9, 10]
    assert [m.shape[-1] for m in judgements[1].maps] == [17, 9, 5, 6]


def test_the_layers_are_convolutions_normalised_over_the_pixels_of_an_image() -> None:
    judge = PatchDiscriminator(3, (4, 6, 8)).eval()
    x = torch.rand(1, 3, 20, 20)
    first = F.leaky_relu(F.conv2d(x, judge.stem.weight, judge.stem.bias, 2, 2), 0.2)
    second = F.conv2d(first, judge.layers[0].weight, None, 2, 2)
    second = (second - second.mean((2, 3), keepdim=True)) / torch.sqrt(
        second.var((2, 3), correction=0, keepdim=True) + 1e-5
    )
    judgement = judge(x)
    torch.testing.assert_close(judgement.maps[0], first)
    torch.testing.assert_close(judgement.maps[1], F.leaky_relu(second, 0.2))


def test_the_second_scale_sees_half_the_size() -> None:
    judge, seen = small(), []
    judge.judges[1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image, condition = torch.rand(2, 1, 3, 16, 16)
    judge(image, condition)
    both = torch.cat([2 * image - 1, 2 * condition - 1], 1)
    wanted = F.unfold(both, 3, padding=1, stride=2).view(1, 6, 9, 8, 8)
    inside = F.unfold(torch.ones_like(both), 3, padding=1, stride=2).view(1, 6, 9, 8, 8)
    torch.testing.assert_close(seen[0], wanted.sum(2) / inside.sum(2))


def test_image_and_condition_both_count_and_in_their_order() -> None:
    judge = small().eval()
    image, condition = torch.rand(2, 1, 3, 32, 32)
    first = judge(image, condition)
    for other in (judge(image, image), judge(condition, condition), judge(condition, image)):
        for a, b in zip(first, other, strict=True):
            assert not torch.allclose(a.logits, b.logits, atol=1e-3)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    judge = small().eval()
    image, condition = torch.rand(2, 3, 3, 32, 32)
    whole, alone = judge(image, condition), judge(image[1:2], condition[1:2])
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a.logits[1:2], b.logits)


def test_every_layer_has_a_spectral_norm_of_about_one() -> None:
    judge = small()
    for _ in range(30):
        judge(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))
    layers = [layer for layer in judge.modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == 10
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        torch.testing.assert_close(norm, torch.tensor(1.0), atol=0.05, rtol=0)


def test_evaluation_gives_what_training_gave_and_moves_nothing() -> None:
    judge = small()
    image, condition = torch.rand(2, 1, 3, 32, 32)
    for _ in range(30):
        trained = judge(image, condition)
    judge.eval()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    first, second = judge(image, condition), judge(image, condition)
    for a, b, c in zip(trained, first, second, strict=True):
        torch.testing.assert_close(a.logits, b.logits, atol=1e-3, rtol=1e-3)
        assert torch.equal(b.logits, c.logits)
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())


def test_the_power_iteration_is_in_the_state_so_that_a_resumed_run_goes_on_the_same() -> None:
    first, second = small(), small()
    image, condition = torch.rand(2, 1, 3, 16, 16)
    first(image, condition)
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        a, b = first(image, condition), second(image, condition)
        assert torch.equal(a[0].logits, b[0].logits)


def test_every_parameter_learns_from_the_first_step_on() -> None:
    judge = small()
    judgements = judge(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    sum(judgement.logits.sub(1).square().mean() for judgement in judgements).backward()
    without = [n for n, p in judge.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_it_runs_in_bfloat16_and_channels_last() -> None:
    judge = small().eval()
    image, condition = torch.rand(2, 1, 3, 32, 32)
    plain = judge(image, condition)
    last = judge.to(memory_format=torch.channels_last)(
        image.to(memory_format=torch.channels_last), condition
    )
    with torch.autocast("cpu", torch.bfloat16):
        half = judge(image, condition)
    for a, b, c in zip(plain, last, half, strict=True):
        torch.testing.assert_close(a.logits, b.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(a.logits, c.logits.float(), atol=0.1, rtol=0.1)


def test_an_image_too_small_for_the_scales_is_refused() -> None:
    with pytest.raises(ValueError, match="sides of 4 pixels or more, got 3x40"):
        small()(torch.rand(1, 3, 3, 40), torch.rand(1, 3, 3, 40))


@pytest.mark.parametrize(("scales", "widths"), [(0, (4, 6)), (2, (4,))])
def test_a_discriminator_without_scales_or_layers_is_refused(scales, widths) -> None:
    with pytest.raises(ValueError, match="needs a scale and two widths"):
        MultiScaleDiscriminator(scales, widths)
