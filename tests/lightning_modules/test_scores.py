import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lightning_modules.measures import Measures, People
from lightning_modules.scores import Scores
from ops.kernels.component import ComponentBasis, PatchPCA


def images(seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 3, 24, 24, generator=generator)
    image = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    output = (target + 0.02 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    region = (torch.rand(2, 1, 24, 24, generator=generator) > 0.7).float()
    return image, output, target, region


@pytest.fixture
def table() -> dict[str, dict[str, float]]:
    scores = Scores(masked=True)
    for seed in (0, 1):
        image, output, target, region = images(seed)
        scores.update(image, output, target, region, (region, region), seconds=0.5)
    return scores.table()


def test_the_rows_agree_with_scikit_image(table: dict[str, dict[str, float]]) -> None:
    psnr, ssim = [], []
    for seed in (0, 1):
        _, output, target, _ = (part.double().numpy() for part in images(seed))
        for a, b in zip(output, target, strict=True):
            psnr.append(peak_signal_noise_ratio(b, a, data_range=1))
            planes = zip(a, b, strict=True)
            ssim.append(np.mean([_ssim(plane, other) for plane, other in planes]))
    assert table["output"]["psnr"] == pytest.approx(np.mean(psnr), abs=1e-4)
    assert table["output"]["ssim"] == pytest.approx(np.mean(ssim), abs=1e-6)
    assert table["output"]["ssim"] == pytest.approx(0.9975427, abs=1e-6)


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Scikit-image leaves the five pixels out that a mirrored image adds."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    a, b = (np.pad(each, 5, mode="reflect") for each in (a, b))
    return float(structural_similarity(a, b, data_range=1, **settings))


def test_errors_inside_and_outside_the_region_are_pooled(
    table: dict[str, dict[str, float]],
) -> None:
    inside, outside = [], []
    for seed in (0, 1):
        image, _, target, region = images(seed)
        error = (image - target).square().mean(1, keepdim=True)
        inside.append(error[region == 1])
        outside.append(error[region == 0])
    for name, parts in (("inside", inside), ("outside", outside)):
        expected = -10 * torch.cat(parts).mean().log10()
        assert table["identity"][name] == pytest.approx(float(expected), abs=1e-4)


def test_the_identity_row_has_no_mask_and_takes_no_time(
    table: dict[str, dict[str, float]],
) -> None:
    assert table["output"]["soft_iou"] == 1.0
    assert table["output"]["seconds"] == pytest.approx(0.25)
    assert not {"soft_iou", "seconds", "lpips"} & table["identity"].keys()


def test_scores_start_anew_after_a_reset() -> None:
    scores = Scores()
    scores.update(*images(0), None, seconds=1.0)
    scores.reset()
    scores.update(*images(1), None, seconds=1.0)
    fresh = Scores()
    fresh.update(*images(1), None, seconds=1.0)
    assert scores.table() == fresh.table()


def test_scores_leave_nothing_in_a_checkpoint() -> None:
    assert not Scores().state_dict()


def test_an_image_that_equals_its_target_counts_as_rounded_to_eight_bits() -> None:
    scores = Scores()
    image, _, target, region = images(0)
    scores.update(image, target, target, region, None, seconds=1.0)
    assert scores.table()["output"]["psnr"] == pytest.approx(58.92, abs=0.005)
    assert scores.table()["output"]["n"] == 2


@pytest.fixture
def basis() -> ComponentBasis:
    pca = PatchPCA(patch_size=3)
    image, _, target, _ = images(0)
    pca.update(target - image)
    return pca.basis()


def test_ari_is_the_number_of_components_for_the_target_and_0_for_the_input(
    basis: ComponentBasis,
) -> None:
    scores = Scores(basis=basis)
    image, _, target, region = images(1)
    scores.update(image, target, target, region, None, seconds=1.0)
    table = scores.table()
    assert table["output"]["ari"] == pytest.approx(9)
    assert table["identity"]["ari"] == 0
    assert table["output"]["ari_n"] == table["identity"]["ari_n"] == 9


def test_ari_sums_what_each_component_got_back(basis: ComponentBasis) -> None:
    scores = Scores(basis=basis)
    before, after = np.zeros(9), np.zeros(9)
    for seed in (1, 2):
        image, output, target, region = images(seed)
        scores.update(image, output, target, region, None, seconds=1.0)
        for sums, made in ((before, image), (after, output)):
            patches = torch.nn.functional.unfold((target - made).flatten(0, 1)[:, None], 3)
            sums += np.square(basis.vectors.numpy() @ patches.numpy()).sum((0, 2))
    expected = (1 - after / before).sum()
    assert 0 < expected < 9
    assert scores.table()["output"]["ari"] == pytest.approx(expected, rel=1e-4)


def test_without_a_basis_there_is_no_ari(
    basis: ComponentBasis, table: dict[str, dict[str, float]]
) -> None:
    assert not {"ari", "ari_n"} & table["output"].keys()
    assert "ari" not in Scores().definitions
    assert "ari" in Scores(basis=basis).definitions


def test_the_basis_is_no_part_of_the_scores(basis: ComponentBasis) -> None:
    scores = Scores(basis=basis)
    assert not scores.state_dict()
    assert not [module for module in scores.modules() if module is basis]
    assert not [*scores.buffers(), *scores.parameters()]


def test_a_basis_that_is_filled_later_counts(basis: ComponentBasis) -> None:
    later = ComponentBasis.empty(patch_size=3)
    filled, fitted, never = Scores(basis=later), Scores(basis=basis), Scores(basis=later)
    never.update(*images(1), None, seconds=1.0)
    later.load_state_dict(basis.state_dict())
    for scores in (filled, fitted):
        scores.update(*images(1), None, seconds=1.0)
    assert filled.table() == fitted.table()
    assert never.table()["output"]["ari"] != fitted.table()["output"]["ari"]


def test_the_improvement_of_a_row_adds_up_to_its_ari(basis: ComponentBasis) -> None:
    scores = Scores(basis=basis)
    scores.update(*images(1), None, seconds=1.0)
    assert scores.identity.improvement().tolist() == [0] * 9
    improvement = scores.output.improvement()
    assert float(improvement.sum()) == pytest.approx(scores.table()["output"]["ari"], rel=1e-12)


def test_without_a_basis_there_is_no_improvement() -> None:
    with pytest.raises(ValueError, match="without a basis have no improvement"):
        Scores().output.improvement()


class MeanColour(torch.nn.Module):
    """A judge that sees the mean colour."""

    dimensions, comparable = 3, True

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean((2, 3)) - 0.5


def shades(first: int = 0) -> tuple[torch.Tensor, People]:
    """Three people of a colour each, each on the image and on two photographs beside it."""
    shade = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    pictures = shade[:, :, None, None].expand(-1, -1, 16, 16)
    references = torch.stack([0.9 * pictures, 0.8 * pictures + 0.1], dim=1)
    numbers = first + torch.arange(9).view(3, 3)
    return pictures, People(torch.tensor([7, 3, 5]), numbers[:, 0], references, numbers[:, 1:])


def test_faces_are_looked_up_among_the_references_of_all() -> None:
    scores = Scores(Measures(judges={"colour": MeanColour()}))
    nowhere = torch.zeros(3, 1, 16, 16)
    for target, people in (shades(), shades(9)):
        scores.update(target.roll(1, 0), target, target, nowhere, None, 1.0, people)
    table = scores.table()
    assert (table["output"]["top1_colour"], table["output"]["top5_colour"]) == (1.0, 1.0)
    assert (table["identity"]["top1_colour"], table["identity"]["top5_colour"]) == (0.0, 1.0)
    assert "top1_x" in scores.definitions


def test_without_references_nobody_is_looked_up() -> None:
    target, _ = shades()
    scores = Scores(Measures(judges={"colour": MeanColour()}))
    scores.update(target, target, target, torch.zeros(3, 1, 16, 16), None, 1.0)
    assert not [name for name in scores.table()["output"] if name.startswith("top")]


def test_a_rival_has_a_row_of_its_own_before_the_output() -> None:
    image, output, target, region = images(0)
    scores = Scores(rivals={"flipped": lambda image: 1 - image})
    scores.update(image, output, target, region, None, 1.0)
    table, inverse = scores.table(), Scores()
    inverse.update(1 - image, output, target, region, None, 1.0)
    assert list(table) == ["identity", "flipped", "output"]
    assert table["flipped"]["psnr"] == inverse.table()["identity"]["psnr"]
