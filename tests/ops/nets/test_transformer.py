import pytest
import torch
from torch import nn

from ops.nets.transformer import (
    Detokenizer,
    GlobalBlock,
    SelectiveBlock,
    SharedMasks,
    Tokenizer,
    Transformer,
    WideMasks,
    position_waves,
)

LEVELS = [(3, 4), (5, 2), (6, 1)]


def maps() -> list[torch.Tensor]:
    return [torch.randn(2, width, 4 * stride, 6 * stride) for width, stride in LEVELS]


def test_every_level_is_brought_to_the_same_grid() -> None:
    assert Tokenizer(LEVELS, 8)(maps()).shape == (2, 3, 8, 4, 6)


def test_a_token_sees_its_own_cell_of_its_own_level_and_nothing_else() -> None:
    tokenizer, levels = Tokenizer(LEVELS, 8), maps()
    before = tokenizer(levels)
    levels[1][0, :, 2:4, 6:8] += 1.0
    changed = (tokenizer(levels) != before).any(dim=2).nonzero().tolist()
    assert changed == [[0, 1, 1, 3]]


def test_a_token_of_zero_leaves_its_cell_at_zero() -> None:
    detokenizer = Detokenizer(LEVELS, 8)
    tokens = torch.zeros(1, 3, 8, 4, 6)
    tokens[0, 0, :, 2, 5] = 1.0
    fine, middle, coarse = detokenizer(tokens)
    assert fine.shape == (1, 3, 16, 24)
    assert fine[..., 8:12, 20:24].ne(0).all()
    fine[..., 8:12, 20:24] = 0
    assert not any(x.any() for x in (fine, middle, coarse))


def test_all_levels_share_the_mean_of_the_mask_over_a_cell() -> None:
    mask = torch.rand(2, 1, 8, 12)
    weights = SharedMasks(3, 5, 4)(mask)
    assert weights.shape == (2, 3, 1, 2, 3)
    for level in range(3):
        torch.testing.assert_close(weights[1, level, 0, 1, 2], mask[1, 0, 4:8, 8:12].mean())


def test_wide_masks_select_no_token_that_the_mask_leaves_out() -> None:
    mask = torch.zeros(1, 1, 8, 12)
    mask[..., 5, 9] = 1.0
    weights = WideMasks(3, 5, 4)(mask)
    assert weights.shape == (1, 3, 5, 2, 3)
    assert (weights[..., 1, 2] > 0.3).all()
    weights[..., 1, 2] = 0
    assert not weights.any()


def test_position_waves_differ_at_every_place_and_fit_any_size() -> None:
    waves = position_waves(torch.zeros(1, 1, 10, 5, 7)).flatten(1).t()
    assert waves.shape == (35, 10)
    distances = torch.cdist(waves, waves) + torch.eye(35)
    assert distances.min() > 1e-3
    assert not waves[:, 8:].any()


class Recorder(nn.Module):
    """A block that keeps what it is given."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.seen = tokens, mask
        return tokens + 1


def test_a_token_keeps_its_own_channels_together() -> None:
    tokens = torch.randn(2, 3, 5, 4, 6)
    mask = torch.rand(2, 3, 1, 4, 6)
    transformer = Transformer(5, 1, Recorder)
    assert torch.equal(transformer(tokens, mask), tokens + 1)
    seen, weights = transformer.blocks[0].seen
    for level, row, column in ((0, 0, 0), (1, 2, 5), (2, 3, 4)):
        place = (level * 4 + row) * 6 + column
        assert torch.equal(seen[1, place], tokens[1, level, :, row, column])
        assert torch.equal(weights[1, place], mask[1, level, :, row, column])


def test_windows_shift_every_second_block_and_tokens_come_back_to_their_place() -> None:
    tokens, mask = torch.randn(1, 2, 5, 8, 8), torch.rand(1, 2, 1, 8, 8)
    transformer = Transformer(5, 2, Recorder, window=4)
    torch.testing.assert_close(transformer(tokens, mask), tokens + 2)
    first, second = (block.seen[0] for block in transformer.blocks)
    assert first.shape == second.shape == (4, 2 * 16, 5)
    assert torch.equal(first[0, 0], tokens[0, 0, :, 0, 0])
    assert torch.equal(second[0, 0], tokens[0, 0, :, 2, 2] + 1)


def test_a_grid_that_fits_into_one_window_is_treated_whole() -> None:
    transformer = Transformer(5, 1, Recorder, window=16)
    transformer(torch.randn(1, 2, 5, 3, 7), torch.rand(1, 2, 1, 3, 7))
    assert transformer.blocks[0].seen[0].shape == (1, 2 * 21, 5)


def test_a_grid_that_the_window_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="window must divide"):
        Transformer(5, 1, Recorder, window=4)(torch.randn(1, 2, 5, 6, 8), torch.rand(1, 2, 1, 6, 8))


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1 and -1"):
        Transformer(5, 1, Recorder, window=-1)


def test_a_selective_block_returns_unmasked_tokens_bit_for_bit() -> None:
    tokens, mask = torch.randn(2, 9, 16), torch.zeros(2, 9, 1)
    mask[:, 3] = 0.7
    out = SelectiveBlock(16, heads=2)(tokens, mask)
    kept = [i for i in range(9) if i != 3]
    assert torch.equal(out[:, kept], tokens[:, kept])
    assert not torch.equal(out[:, 3], tokens[:, 3])


def test_under_a_mask_of_one_a_selective_block_does_not_see_keys_and_values() -> None:
    block = SelectiveBlock(16, heads=2)
    tokens, mask = torch.randn(1, 9, 16), torch.ones(1, 9, 1)
    other = tokens.clone()
    other[:, 1:] = torch.randn(1, 8, 16)
    # Keys and values are their biases, so nothing of the tokens is left in the output.
    torch.testing.assert_close(block(tokens, mask), block(other, mask))


def test_a_global_block_ignores_the_mask_and_equals_attention_written_out() -> None:
    block = GlobalBlock(6, heads=2)
    tokens = torch.randn(1, 4, 6)
    query, key, value = block.project(block.norm(tokens)).chunk(3, dim=-1)
    found = torch.zeros(1, 4, 6)
    for part in (slice(0, 3), slice(3, 6)):
        scores = query[..., part] @ key[..., part].transpose(1, 2) / 3**0.5
        found[..., part] = scores.softmax(-1) @ value[..., part]
    expected = block.mlp(tokens + block.output(found))
    for mask in (torch.zeros(1, 4, 1), torch.ones(1, 4, 1)):
        torch.testing.assert_close(block(tokens, mask), expected)


def test_heads_that_do_not_divide_the_dimension_are_refused() -> None:
    for block in (SelectiveBlock, GlobalBlock):
        with pytest.raises(ValueError, match="multiple of heads"):
            block(10, heads=4)
