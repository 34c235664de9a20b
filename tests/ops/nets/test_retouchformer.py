import copy

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ops.nets.prior import SeparatePrior, SharedPrior
from ops.nets.retouchformer import MaskSize, RetouchFormer, TokenSize
from ops.nets.transformer import GlobalBlock, SelectiveBlock, WideMasks

WIDTHS = (4, 6, 8, 8, 8, 8)
TOKENS = TokenSize(16, blocks=2, window=0)


def small_prior(width: int) -> SharedPrior:
    return SharedPrior(width, codes=16, code_dim=4, widths=(4, 4, 4, 4))


def two_heads(dim: int) -> SelectiveBlock:
    return SelectiveBlock(dim, heads=2)


def network(tokens: TokenSize = TOKENS) -> RetouchFormer:
    """A small network whose zero initialisations are replaced by noise."""
    net = RetouchFormer(WIDTHS, 3, tokens, two_heads, small_prior, MaskSize(base=4))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


def sparse_mask(size: int = 32) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size)
    mask[..., 3:9, 10:15] = 0.8
    return mask


def test_a_mask_of_zero_returns_the_image_bit_for_bit() -> None:
    net, image = network(), torch.rand(2, 3, 32, 40)
    assert torch.equal(net.retouch(image, net.encode(image), torch.zeros(2, 1, 32, 40)), image)


def test_pixels_below_the_threshold_keep_their_bits_and_the_others_change() -> None:
    net, image, mask = network(), torch.rand(1, 3, 32, 32), sparse_mask()
    out = net.retouch(image, net.encode(image), mask + 0.9 / 255)
    touched = (mask > 0).expand_as(image)
    assert torch.equal(out[~touched], image[~touched])
    assert (out != image)[touched].float().mean() > 0.9


def test_an_untrained_network_returns_its_input() -> None:
    net = RetouchFormer(WIDTHS, 3, TokenSize(16), prior=small_prior, masks=MaskSize(base=4))
    image = torch.rand(1, 3, 32, 32)
    retouched = net(image)
    assert torch.equal(retouched.restored, image)
    torch.testing.assert_close(retouched.mask, torch.full((1, 1, 32, 32), 0.1))


def test_the_output_blends_the_residual_by_the_mask() -> None:
    net, image, mask = network(), torch.rand(1, 3, 32, 32), sparse_mask()
    features = net.encode(image)
    residual = net.decoder(net.transformed(features, mask))
    expected = image * (1 - mask) + (image + residual) * mask
    torch.testing.assert_close(net.retouch(image, features, mask), expected)


def test_features_outside_the_masks_cells_are_those_of_the_encoder() -> None:
    net, image, mask = network(), torch.rand(1, 3, 32, 32), sparse_mask()
    features = net.encode(image)
    cells = torch.nn.functional.max_pool2d(mask, 8) > 0
    for before, after in zip(features, net.transformed(features, mask), strict=True):
        inside = torch.nn.functional.interpolate(cells.float(), size=before.shape[-2:]) > 0
        inside = inside.expand_as(before)
        assert torch.equal(before[~inside], after[~inside])
        assert (before != after)[inside].float().mean() > 0.9


def test_under_a_mask_of_one_the_tokens_do_not_depend_on_each_other() -> None:
    net, image = network(), torch.rand(1, 3, 32, 32)
    other, ones = image.clone(), torch.ones(1, 1, 32, 32)
    other[..., 16:] = torch.rand(1, 3, 32, 16)
    changes = []
    for features in (net.encode(image), net.encode(other)):
        tokens = net.tokenizer([features[level] for level in net.levels])
        mask = ones[:, :, :4, :4].unsqueeze(1).expand(-1, 6, -1, -1, -1)
        changes.append(net.transformer(tokens, mask))
    # Keys and values are their biases: what comes out holds nothing of either image.
    torch.testing.assert_close(*changes)


@pytest.mark.parametrize("size", [(33, 47), (32, 32), (41, 64)])
def test_an_image_of_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    retouched = network()(torch.rand(1, 3, *size))
    assert retouched.restored.shape == retouched.reconstruction.shape == (1, 3, *size)
    assert retouched.mask.shape == (1, 1, *size)


def test_an_image_larger_than_a_window_is_padded_to_whole_windows() -> None:
    net = network(TokenSize(16, blocks=2, window=4))
    assert (net.multiple(32), net.multiple(40)) == (8, 32)
    assert net(torch.rand(1, 3, 33, 47)).restored.shape == (1, 3, 33, 47)


def test_restoring_gives_an_image_in_its_range() -> None:
    net = network()
    with torch.no_grad():
        net.decoder.head.weight.mul_(100)
    image = torch.rand(1, 3, 32, 32)
    assert net(image).restored.max() > 1
    restored = net.restore(image)
    assert restored.min() >= 0
    assert restored.max() <= 1


def training_loss(net: RetouchFormer, image: torch.Tensor) -> torch.Tensor:
    features = net.encode(image)
    found = net.reconstruct(image, features)
    mask = sparse_mask()
    terms = (
        net.retouch(image, features, mask),
        found.image,
        net.mask_logits(image, found.image),
    )
    return found.quantized.loss + sum(term.square().mean() for term in terms)


def test_every_parameter_but_the_teachers_learns() -> None:
    net = network()
    training_loss(net, torch.rand(1, 3, 32, 32)).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias shifts all scores of a query alike, which softmax does not notice.
    learning = [n for n in without if not n.startswith("masks.teacher.")]
    assert [n for n in learning if not n.endswith("attention.key.bias")] == []
    assert [n for n in without if n.startswith("masks.teacher.")] == [
        f"masks.teacher.{n}" for n, _ in net.masks.teacher.named_parameters()
    ]


def test_the_teacher_follows_the_student() -> None:
    net = network()
    student, teacher = (copy.deepcopy(x) for x in (net.masks.student, net.masks.teacher))
    net.update_teacher(0.9)
    moved = zip(
        net.masks.teacher.parameters(), teacher.parameters(), student.parameters(), strict=True
    )
    for now, before, other in moved:
        torch.testing.assert_close(now, 0.9 * before + 0.1 * other)


@pytest.mark.parametrize("levels", [(5,), (0, 5)])
def test_tokens_may_come_from_some_levels_alone(levels: tuple[int, ...]) -> None:
    net, image, mask = network(TokenSize(16, levels, 1, 0)), torch.rand(1, 3, 32, 32), sparse_mask()
    features = net.encode(image)
    after = net.transformed(features, mask)
    changed = tuple(i for i in range(6) if not torch.equal(features[i], after[i]))
    assert changed == levels


@pytest.mark.parametrize("levels", [(6,), ()])
def test_a_level_that_is_not_there_is_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"token levels must be in 0\.\.5"):
        network(TokenSize(16, levels, 1, 0))


def test_the_weights_come_back_from_a_state_dict() -> None:
    first, second = network(), network()
    image = torch.rand(1, 3, 32, 32)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(image), second(image), strict=True):
        assert torch.equal(a, b)


def test_the_published_size_costs_less_than_restoreformer() -> None:
    net = RetouchFormer()
    # One window of the 4x4 that a 512 px image has; nothing in the network sees further.
    image, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)
    mask[..., :64, :64] = 1.0
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        features = net.encode(image)
        net.soft_mask(image, net.reconstruct(image, features).image)
        net.retouch(image, features, mask)
    assert 0.5e12 < 16 * counter.get_total_flops() <= 0.683e12


def test_export_gives_the_same_image() -> None:
    net, image = network().eval(), torch.rand(1, 3, 33, 47)
    with torch.no_grad():
        exported = torch.export.export(net, (image,)).module()
        for a, b in zip(exported(image), net(image), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_settings_choose_block_and_prior_by_class_path() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(RetouchFormer, "net")
    parsed = parser.parse_object(
        {
            "net": {
                "widths": list(WIDTHS),
                "tokens": {"dim": 16, "blocks": 1},
                "block": {
                    "class_path": "ops.nets.transformer.GlobalBlock",
                    "init_args": {"heads": 4},
                },
                "prior": {
                    "class_path": "ops.nets.prior.SeparatePrior",
                    "init_args": {"encoder": [4, 4], "codes": 8, "code_dim": 4, "widths": [4, 4]},
                },
                "masks": {"base": 4, "sees_prior": False},
                "token_masks": "ops.nets.transformer.WideMasks",
            }
        }
    )
    net = parser.instantiate(parsed).net
    assert isinstance(net.transformer.blocks[0], GlobalBlock)
    assert net.transformer.blocks[0].heads == 4
    assert isinstance(net.prior, SeparatePrior)
    assert not net.masks.sees_prior
    assert isinstance(net.token_masks, WideMasks)


@pytest.mark.parametrize("sides", [(16, 32), (33, 512)])
def test_a_program_serves_all_sizes_of_one_window_or_all_larger_ones(
    sides: tuple[int, int], unchecked_types: None
) -> None:
    net = network(TokenSize(16, blocks=2, window=4)).eval()
    assert net.window == 32
    least, most = sides
    free = {n: torch.export.Dim(name, min=least, max=most) for n, name in ((2, "h"), (3, "w"))}
    given = (torch.rand(2, 3, least + 9, least + 3),)
    with torch.no_grad():
        program = torch.export.export(
            net, given, dynamic_shapes=(free,), prefer_deferred_runtime_asserts_over_guards=True
        ).module()
        for size in ((least + 1, least + 1), (min(most, 40), min(most, 70))):
            image = torch.rand(2, 3, *size)
            for found, wanted in zip(program(image), net(image), strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
