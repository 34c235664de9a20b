import hashlib
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from lightning_modules.measures import Measures
from lightning_modules.scores import Scores
from ops.metrics.convention import SUPER_RESOLUTION
from ops.metrics.frechet import Moments, frechet_distance
from ops.metrics.niqe import FEATURES, NiqeModel, gaussian_window


class MeanColour(nn.Module):
    """A judge to whom a face is its mean colour; it counts how often it is asked."""

    dimensions = 3

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.asked.append(image)
        return image.mean((2, 3))


def some(side: int = 40, count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    target = torch.rand(count, 3, side, side)
    output = (target + 0.1 * torch.rand_like(target)).clamp(0, 1)
    return output, target, torch.ones(count, 1, side, side)


def table_of(measures: Measures, side: int = 40) -> dict[str, float]:
    scores = Scores(measures)
    output, target, region = some(side)
    scores.update(output, output, target, region, None, 1.0)
    return scores.table()["output"]


def niqe_file(folder: Path) -> str:
    path = folder / "niqe.npz"
    NiqeModel(
        torch.zeros(FEATURES, dtype=torch.float64),
        torch.eye(FEATURES, dtype=torch.float64),
        gaussian_window(),
    ).write(str(path))
    return str(path)


def test_without_files_there_are_no_further_columns():
    assert Measures().each == ()
    assert not {"lpips", "niqe", "fid", "ms_ssim"} & table_of(Measures()).keys()


def test_each_judge_has_its_own_columns():
    measures = Measures(judges={"colour": MeanColour(), "again": MeanColour()})
    table = table_of(measures)
    output, target, _ = some()
    apart = (output.mean((2, 3)) - target.mean((2, 3))).norm(dim=1).mean()
    assert table["fed_colour"] == table["fed_again"] == pytest.approx(float(apart), rel=1e-5)
    assert table["identity_colour"] > 0.99
    assert "identity_x" in Scores(measures).definitions


def test_a_judge_looks_at_each_image_once_and_at_a_target_for_both_rows():
    judge, features = MeanColour(), MeanColour()
    measures = Measures(judges={"colour": judge})
    measures.__dict__["features"] = features  # in place of Inception's, whose file nobody has
    output, target, region = some()
    Scores(measures).update(target.flip(0), output, target, region, None, 1.0)
    for network in (judge, features):
        assert len(network.asked) == 3
        assert [sum(x is image for x in network.asked) for image in (target, output)] == [1, 0]
        wanted = {float(image.sum()) for image in (target, target.flip(0), output)}
        assert {float(image.sum()) for image in network.asked} == wanted


def test_judges_see_how_far_the_set_of_outputs_is_from_that_of_targets():
    output, target, region = some(count=9)
    scores = Scores(Measures(judges={"colour": MeanColour()}))
    for part in (slice(0, 4), slice(4, 9)):
        image = target[part] if part.start else target[part].flip(0)
        scores.update(image, output[part], target[part], region[part], None, 1.0)
    a, b = (x.mean((2, 3)).double() for x in (output, target))
    expected = frechet_distance(*(Moments(x.mean(0), x.T.cov()) for x in (a, b)))
    table = scores.table()
    assert table["output"]["frechet_colour"] == pytest.approx(float(expected), rel=1e-6)
    assert table["output"]["frechet_colour"] > 1e-4
    # The same set of images in another order is no other set.
    assert table["identity"]["frechet_colour"] == pytest.approx(0, abs=1e-9)


def test_one_image_is_no_set():
    scores = Scores(Measures(judges={"colour": MeanColour()}))
    output, target, region = some(count=1)
    scores.update(output, output, target, region, None, 1.0)
    assert math.isnan(scores.table()["output"]["frechet_colour"])
    assert scores.table()["output"]["n"] == 1


def scores_of_a_rank(rank: int) -> dict[str, float]:
    scores = Scores(Measures(judges={"colour": MeanColour()}))
    part = (slice(0, 2), slice(2, 9))[rank]
    output, target, region = (each[part] for each in some(count=9))
    scores.update(output, output, target, region, None, 1.0)
    return scores.table()["output"]


def test_two_processes_judge_as_one_does(two_processes):
    scores = Scores(Measures(judges={"colour": MeanColour()}))
    output, target, region = some(count=9)
    scores.update(output, output, target, region, None, 1.0)
    alone = scores.table()["output"]
    for found in two_processes(scores_of_a_rank):
        assert found["n"] == 9
        for name in ("ssim", "fed_colour", "identity_colour", "frechet_colour"):
            assert found[name] == pytest.approx(alone[name], rel=1e-9)


@pytest.mark.parametrize("name", ["type", "keys", "update"])
def test_a_judge_may_be_called_as_a_method_of_dictionaries_is(name: str):
    assert f"frechet_{name}" in table_of(Measures(judges={name: MeanColour()}))


def test_an_untrained_judge_forbids_comparison():
    judge = MeanColour()
    assert "untrained" in Scores(Measures(judges={"colour": judge})).caveat
    judge.comparable = True
    assert Scores(Measures(judges={"colour": judge})).caveat == ""


def test_judges_are_no_part_of_a_checkpoint():
    judge = MeanColour()
    judge.weight = nn.Parameter(torch.zeros(3))
    scores = Scores(Measures(judges={"colour": judge}))
    assert not scores.state_dict()
    assert not list(scores.parameters())


def test_niqe_is_of_the_output_alone(tmp_path: Path):
    measures = Measures(niqe=niqe_file(tmp_path))
    (measure,) = measures.each
    output, target, _ = some(200)
    assert torch.equal(measure(output, target)["niqe"], measure(output, output)["niqe"])
    assert table_of(measures, 200)["niqe"] > 0
    digest = hashlib.sha256((tmp_path / "niqe.npz").read_bytes()).hexdigest()
    assert f"MATLAB's form, niqe.npz (sha256 {digest[:8]})." in measures.definition


def test_a_convention_changes_psnr_and_what_the_table_says():
    plain, other = Measures(), Measures(convention=SUPER_RESOLUTION)
    assert table_of(plain)["psnr"] != table_of(other)["psnr"]
    assert SUPER_RESOLUTION.sentence in Scores(other).definitions
    output, target, _ = some()
    a, b = SUPER_RESOLUTION.prepare(output), SUPER_RESOLUTION.prepare(target)
    expected = -10 * (a - b).square().mean((1, 2, 3)).log10()
    assert table_of(other)["psnr"] == pytest.approx(float(expected.mean()), abs=1e-3)


def test_five_scales_need_room():
    measures = Measures(ms_ssim=True)
    output, target, _ = some(176)
    expected = multiscale_structural_similarity_index_measure(output, target, data_range=1.0)
    assert table_of(measures, 176)["ms_ssim"] == pytest.approx(float(expected), abs=1e-5)
    with pytest.raises(ValueError, match="five scales needs at least 176 pixels a side, got 40"):
        table_of(measures)


def test_images_too_small_for_a_measure_are_told_before_anything_is_scored(tmp_path: Path):
    plain, five = Scores(), Scores(Measures(ms_ssim=True))
    plain.check(6, 400)
    with pytest.raises(ValueError, match="SSIM needs at least 6 pixels a side, got 5 x 400"):
        plain.check(5, 400)
    five.check(176, 176)
    with pytest.raises(ValueError, match="at least 176 pixels a side, got 176 x 175"):
        five.check(176, 175)
    natural = Scores(Measures(niqe=niqe_file(tmp_path)))
    natural.check(96, 192)
    with pytest.raises(ValueError, match="at least two blocks of 96 x 96 pixels"):
        natural.check(128, 128)
    assert not natural.output.count.update_called


def test_the_border_that_a_convention_cuts_counts_as_too_small_as_well():
    scores = Scores(Measures(convention=SUPER_RESOLUTION))
    scores.check(14, 14)
    with pytest.raises(ValueError, match="at least 6 pixels a side, got 5 x 5"):
        scores.check(13, 13)


@pytest.mark.parametrize("name", ["lpips", "niqe"])
def test_a_missing_file_is_named(name: str):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Scores(Measures(**{name: "nowhere"}))


def test_fid_of_equal_sets_is_0_and_grows_with_their_distance():
    measures = Measures()
    measures.__dict__["features"] = MeanColour()  # in place of Inception's, whose file nobody has
    output, target, region = some()
    scores = Scores(measures)
    scores.update(target, output, target, region, None, 1.0)
    table = scores.table()
    assert table["identity"]["fid"] == pytest.approx(0, abs=1e-9)
    assert table["output"]["fid"] > 1e-4
