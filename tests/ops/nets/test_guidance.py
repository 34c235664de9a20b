import pytest
import torch

from ops.nets.guidance import EP16x, EPMap, Guidance, Implicit, mosaic_tiles
from ops.nets.hifacegan import LipPrior
from ops.nets.subspace import Concat, plain_convolution

WIDTHS = (4, 6, 8)


def guidance() -> Guidance:
    return Guidance(
        torch.rand(1, 8, 4, 4), [torch.rand(1, 3, 4 * 2**i, 4 * 2**i) for i in range(3)]
    )


def test_strength_multiplies_the_maps_and_not_the_start() -> None:
    given = guidance()
    scaled = given.scaled(0.25)
    assert scaled.start is given.start
    assert all(torch.equal(a, b / 4) for a, b in zip(scaled.maps, given.maps, strict=True))
    assert given.scaled(1.0) is given


def test_held_levels_are_one_half_everywhere() -> None:
    given = guidance()
    held = given.held({1, 2})
    assert torch.equal(held.maps[0], given.maps[0])
    assert all((guide == 0.5).all() for guide in held.maps[1:])
    assert held.start is given.start


def test_holding_the_innermost_level_holds_the_start() -> None:
    assert (guidance().held([0]).start == 0.5).all()


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there_cannot_be_held(level: int) -> None:
    with pytest.raises(ValueError, match=r"levels to hold must be in 0\.\.2"):
        guidance().held([level])


def test_the_implicit_prior_starts_at_y0_and_guides_by_the_fused_embeddings() -> None:
    prior = Implicit(WIDTHS, Concat, plain_convolution)
    image = torch.rand(2, 3, 16, 16)
    seen = prior(image)
    ys = prior.embedding(2 * image - 1)
    assert torch.equal(seen.start, ys[0])
    assert prior.channels == tuple(guide.shape[1] for guide in seen.maps) == (18, 18, 18)
    for guide, wanted in zip(seen.maps, Concat((8, 6, 4))(ys), strict=True):
        assert torch.equal(guide, wanted)


def test_the_mosaic_is_the_mean_of_each_tile() -> None:
    prior, image = EP16x(WIDTHS, block=4), torch.rand(1, 3, 16, 24)
    mosaic = prior(image).maps[-1]
    for row in range(0, 16, 4):
        for column in range(0, 24, 4):
            tile = (slice(None), slice(None), slice(row, row + 4), slice(column, column + 4))
            wanted = 2 * image[tile].mean((2, 3), keepdim=True) - 1
            torch.testing.assert_close(mosaic[tile], wanted.expand(1, 3, 4, 4))


def test_a_mosaic_stays_as_it_is() -> None:
    image = torch.rand(1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(EP16x(WIDTHS, block=4)(image).maps[-1], 2 * image - 1)


def test_tiles_at_the_border_may_be_smaller() -> None:
    image = torch.full((1, 3, 20, 12), 0.75)
    mosaic = EP16x(WIDTHS, block=8)(image).maps[-1]
    torch.testing.assert_close(mosaic, torch.full((1, 3, 20, 12), 0.5))


@pytest.mark.parametrize("prior", [EP16x(WIDTHS, block=4), EPMap(WIDTHS, classes=3)])
def test_an_explicit_prior_guides_every_level_by_itself_at_its_size(prior) -> None:
    given = torch.rand(2, 3, 16, 24)
    seen = prior(given, given)
    assert [tuple(guide.shape[1:]) for guide in seen.maps] == [(3, 4, 6), (3, 8, 12), (3, 16, 24)]
    assert seen.start.shape == (2, 8, 4, 6)
    for coarse, fine in zip(seen.maps, seen.maps[1:], strict=False):
        torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(fine, 2))
    torch.testing.assert_close(seen.start, prior.start(seen.maps[0]))


def test_the_parsing_map_alone_guides() -> None:
    prior, parsing = EPMap(WIDTHS, classes=2), torch.rand(1, 2, 16, 16)
    first, second = (prior(torch.rand(1, 3, 16, 16), parsing) for _ in range(2))
    assert torch.equal(first.start, second.start)
    assert torch.equal(first.maps[-1], parsing)


def test_only_the_prior_of_parsing_maps_needs_one() -> None:
    priors = (Implicit, EP16x, EPMap, LipPrior)
    assert [prior.needs_parsing for prior in priors] == [False, False, True, False]


def test_a_missing_parsing_map_is_named() -> None:
    with pytest.raises(ValueError, match="guided by a face parsing map and got none"):
        EPMap(WIDTHS)(torch.rand(1, 3, 16, 16))


def test_a_parsing_map_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="19 classes wanted, got 7"):
        EPMap(WIDTHS)(torch.rand(1, 3, 16, 16), torch.rand(1, 7, 16, 16))


class Tiles(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return mosaic_tiles(image, 8)


def test_exported_tiles_at_the_end_are_means_of_what_is_there(unchecked_types: None) -> None:
    sides = {2: torch.export.Dim("h", min=8), 3: torch.export.Dim("w", min=8)}
    given = (torch.rand(2, 3, 20, 27),)
    program = torch.export.export(
        Tiles(), given, dynamic_shapes=(sides,), prefer_deferred_runtime_asserts_over_guards=True
    ).module()
    for size in ((16, 24), (17, 30)):
        image = torch.rand(2, 3, *size)
        torch.testing.assert_close(program(image), Tiles()(image))
    torch.testing.assert_close(Tiles()(image)[..., 2, 3], image[..., 16:, 24:].mean((2, 3)))
