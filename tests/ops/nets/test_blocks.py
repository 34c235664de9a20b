import pytest
import torch
import torch.nn.functional as F

from ops.nets.blocks import (
    Encoder,
    Merge,
    ResidualBlock,
    centred,
    cropped,
    enlarge,
    pad_to_multiple,
    shrink,
)


def test_the_encoder_of_the_paper_gives_six_levels_and_halves_the_size_three_times() -> None:
    encoder = Encoder((2, 3, 4, 5, 5, 5))
    maps = encoder(torch.rand(1, 3, 32, 48))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (2, 32, 48),
        (3, 16, 24),
        (4, 8, 12),
        (5, 4, 6),
        (5, 4, 6),
        (5, 4, 6),
    ]
    assert encoder.stride == 8


def test_a_centred_image_reaches_from_minus_one_to_one() -> None:
    image = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    assert centred(image).flatten().tolist() == [-1.0, 0.0, 1.0]


def test_more_halvings_than_steps_between_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2"):
        Encoder((4, 4), downs=2)


def test_no_block_depends_on_the_other_images_of_the_batch() -> None:
    block = ResidualBlock(6, 3)
    images = torch.randn(3, 6, 5, 7)
    torch.testing.assert_close(block(images)[1:2], block(images[1:2]))


def test_a_fresh_residual_block_is_close_to_the_identity() -> None:
    x = torch.randn(1, 16, 8, 8)
    change = ResidualBlock(16, 16)(x) - x
    assert 0 < change.std() < 0.5


def test_a_merge_is_the_sum_of_the_fine_map_and_the_projected_enlarged_coarse_one() -> None:
    merge = Merge(4, 2)
    coarse, fine = torch.randn(1, 4, 3, 5), torch.randn(1, 2, 6, 10)
    large = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    expected = fine + F.conv2d(large, merge.project.weight, merge.project.bias)
    torch.testing.assert_close(merge(coarse, fine), expected)


def test_enlarging_to_the_same_size_is_nothing() -> None:
    x = torch.randn(1, 2, 3, 4)
    assert enlarge(x, torch.empty(1, 1, 3, 4)) is x


def test_shrinking_keeps_the_mean() -> None:
    mask = torch.rand(1, 1, 16, 24)
    small = shrink(mask, 4, 6)
    torch.testing.assert_close(small[0, 0, 1, 2], mask[0, 0, 4:8, 8:12].mean())
    torch.testing.assert_close(small.mean(), mask.mean())


def test_padding_reflects_at_the_lower_and_right_border_and_keeps_the_image() -> None:
    image = torch.rand(1, 3, 33, 47)
    padded = pad_to_multiple(image, 8)
    assert padded.shape == (1, 3, 40, 48)
    assert torch.equal(padded[..., :33, :47], image)
    assert torch.equal(padded[..., 33, :47], image[..., 31, :])


def test_an_image_of_the_right_size_is_not_padded() -> None:
    image = torch.rand(1, 3, 32, 48)
    assert pad_to_multiple(image, 8) is image


def test_an_image_too_small_to_reflect_is_refused_with_its_size() -> None:
    with pytest.raises(ValueError, match="3x20"):
        pad_to_multiple(torch.rand(1, 3, 3, 20), 8)


class Padded(torch.nn.Module):
    """A padded image, and the image again."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        padded = pad_to_multiple(image, 8)
        return padded, cropped(padded, *image.shape[-2:])


def test_one_exported_program_pads_and_crops_every_size(unchecked_types: None) -> None:
    sides = {2: torch.export.Dim("h", min=8), 3: torch.export.Dim("w", min=8)}
    given = (torch.rand(1, 3, 24, 19),)
    program = torch.export.export(Padded(), given, dynamic_shapes=(sides,)).module()
    for height, width in ((32, 48), (33, 47), (9, 16)):
        image = torch.rand(1, 3, height, width)
        for found, wanted in zip(program(image), Padded()(image), strict=True):
            assert torch.equal(found, wanted)
        assert torch.equal(wanted, image)
