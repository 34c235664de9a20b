from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ops.kernels.adain import adain
from ops.nets.fusion import FusionNetwork, Res2Fusion
from ops.nets.genotype import Genotype
from ops.nets.nasfe import NASFE, Likeness, identity_information

SMALL: dict[str, Any] = {
    "widths": (4, 8, 8, 12),
    "encoder_blocks": (1, 1, 1, 1),
    "decoder_blocks": (1, 1, 1),
}


def small(labels: bool = True, identity: int | None = 5, channels: int = 8) -> NASFE:
    torch.manual_seed(0)
    return NASFE(nn.Conv2d(channels, channels, 1), channels, labels, identity, **SMALL)


def inputs(size: tuple[int, int] = (16, 24), b: int = 2) -> tuple[torch.Tensor, ...]:
    return torch.rand(b, 3, *size), torch.rand(b, 3), torch.randn(b, 5, 3, 4)


def millions(network: nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize("size", [(8, 8), (13, 19), (176, 144)])
def test_any_size_is_restored_at_that_size(size: tuple[int, int]) -> None:
    made, (image, label, identity) = small(), inputs(size)
    assert made(image, label, identity).shape == image.shape


def test_an_untrained_network_gives_all_but_grey() -> None:
    made, (image, label, identity) = small(), inputs()
    away = (made(image, label, identity) - 0.5).square().mean().sqrt()
    assert 0 < float(away.detach()) < 0.3


def test_noise_of_single_pixels_does_not_get_through() -> None:
    made, (_, label, identity) = small(), inputs()
    noise = 0.2 * torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    noisy, clean = (made(0.5 + part, label, identity).detach() for part in (noise, 0 * noise))
    through = torch.corrcoef(torch.stack([(noisy - clean).flatten(), noise.flatten()]))[0, 1]
    assert abs(float(through)) < 0.2


def test_features_are_a_quarter_of_the_padded_size_when_they_are_fused() -> None:
    made, (image, label, identity) = small(), inputs((17, 20))
    seen = []
    made.fusion.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    made(image, label, identity)
    assert seen == [(2, 8, 24 // 4, 24 // 4)]


def test_classes_change_what_comes_out() -> None:
    made, (image, label, identity) = small(), inputs()
    assert not torch.allclose(made(image, label, identity), made(image, 1 - label, identity))


def test_the_identity_changes_what_comes_out() -> None:
    made, (image, label, identity) = small(), inputs()
    assert not torch.allclose(made(image, label, identity), made(image, label, -identity))


def test_the_scale_and_the_mean_of_a_face_network_do_not_matter() -> None:
    made, (image, label, identity) = small(), inputs()
    again = made(image, label, 40 * identity + 7)
    torch.testing.assert_close(again, made(image, label, identity), atol=1e-4, rtol=0)


def test_dropped_references_equal_the_learned_vector_that_stands_for_none() -> None:
    made, (image, label, identity) = small(), inputs()
    nn.init.normal_(made.likeness.absent)
    without = made(image, label)
    every = torch.tensor([True, True])
    torch.testing.assert_close(made(image, label, identity, every), without)
    mixed = made(image, label, identity, torch.tensor([True, False]))
    torch.testing.assert_close(mixed[0], without[0])
    torch.testing.assert_close(mixed[1], made(image, label, identity)[1])
    assert not torch.allclose(mixed[1], without[1])


def test_the_learned_vector_is_the_same_at_every_pixel() -> None:
    made = Likeness(5, 3)
    nn.init.normal_(made.absent)
    found = made((2, 4, 6), None, None)
    assert found.shape == (2, 3, 4, 6)
    assert torch.equal(found, made.absent.view(1, 3, 1, 1).expand_as(found))


def test_every_weight_has_a_gradient_where_some_references_are_dropped() -> None:
    made, (image, label, identity) = small(), inputs()
    made(image, label, identity, torch.tensor([True, False])).square().sum().backward()
    assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_learns_to_brighten() -> None:
    made, (target, label, identity) = small(), inputs((8, 8))
    target = target.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8)
    optimizer = torch.optim.Adam(made.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(made(0.3 * target, label, identity), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0], losses


def test_what_is_missing_or_not_taken_is_refused() -> None:
    image, label, identity = inputs()
    with pytest.raises(ValueError, match=r"labels is True and the classes .* got none"):
        small()(image)
    with pytest.raises(ValueError, match=r"labels is False and the classes .* got some"):
        small(labels=False)(image, label)
    with pytest.raises(ValueError, match="has 5 maps and this network takes none"):
        small(identity=None)(image, label, identity)
    with pytest.raises(ValueError, match="has 5 maps and this network takes 7"):
        small(identity=7)(image, label, identity)
    with pytest.raises(ValueError, match="4x24 is too short"):
        small()(image[:, :, :4], label, identity)


def test_the_baseline_takes_nothing_but_the_image() -> None:
    made = small(labels=False, identity=None)
    assert made(inputs()[0]).shape == (2, 3, 16, 24)
    assert made.likeness is None


def test_identity_information_is_the_mean_of_the_references_in_the_images_style() -> None:
    image, references = torch.rand(2, 4, 5, 6), torch.rand(2, 3, 4, 7, 8)
    styled = [adain(references[:, i], image) for i in range(3)]
    torch.testing.assert_close(identity_information(image, references), sum(styled) / 3)


def test_the_order_of_the_references_does_not_matter() -> None:
    image, references = torch.rand(2, 4, 5, 6), torch.rand(2, 3, 4, 7, 8)
    shuffled = references[:, torch.tensor([2, 0, 1])]
    found = identity_information(image, shuffled)
    torch.testing.assert_close(found, identity_information(image, references))


def test_its_maps_have_the_images_means() -> None:
    image, references = torch.rand(2, 4, 5, 6), torch.rand(2, 3, 4, 7, 8)
    found = identity_information(image, references)
    torch.testing.assert_close(found.mean((2, 3)), image.mean((2, 3)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("searched", "labels", "identity", "printed"),
    [
        (False, False, None, 6.00),
        (True, False, None, 6.25),
        (True, True, None, 6.25),
        (True, True, 256, 6.40),
    ],
)
def test_variants_have_as_many_parameters_as_table_6_has(
    searched: bool, labels: bool, identity: int | None, printed: float
) -> None:
    shipped = Path(__file__).parents[3] / "configs" / "nasfe_genotype.json"
    genotype = Genotype.from_json(shipped.read_text())
    fusion = FusionNetwork(genotype, 32) if searched else Res2Fusion(32)
    ours = millions(NASFE(fusion, labels=labels, identity=identity))
    assert ours == pytest.approx(printed, rel=0.15)


def test_identity_information_costs_as_much_as_in_table_6() -> None:
    cost = millions(NASFE(nn.Identity())) - millions(NASFE(nn.Identity(), identity=None))
    assert cost == pytest.approx(6.40 - 6.25, abs=0.005)
